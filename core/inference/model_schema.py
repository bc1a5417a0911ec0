"""Rules for the files of a saved model. Digests detect damage, but not a file that was changed with its digest.

Each function returns what it has checked, or raises CorruptionError with the file, the place, the rule and the value.
"""

import json
import math
import re
import reprlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.calibration import LIMITS, CoverageRow
from core.config import MAX_EMBEDDING_DIM
from core.data.vocabulary import Vocabulary
from core.errors import CorruptionError, DataError, is_number, is_whole
from core.io.text import quoted

if TYPE_CHECKING:
    from torch import Tensor

_MEMBER = re.compile(r"model|trial-[0-9]+|plain-baseline")
PLAIN_TENSORS = {"ngrams": "int32", "idf": "float32", "coefficients": "float32", "intercepts": "float32"}
"""Fields of PlainBaseline with the types of their numbers."""


def parse_json(name: str, data: bytes) -> Any:
    """Return the content of a JSON file of this name.

    Raises:
        CorruptionError: It is no JSON.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptionError(f"{name} is not JSON ({quoted(str(error), 80)})") from None


def check_settings(settings: Any, layout: int) -> dict[str, Any]:
    """Check config.json of this layout, but not the settings of its LSTMs."""
    found = _object("config.json", settings, ("layout", "tokenizer", "embedding_dim", "temperature", "members"))
    _check("config.json: layout", found["layout"], f"{layout}", lambda x: x == layout)
    _check("config.json: tokenizer", found["tokenizer"], "a text", lambda x: isinstance(x, str))
    _check("config.json: text_column", found.get("text_column"), "a text or null", lambda x: isinstance(x, str | None))
    rule = f"a whole number from 1 to {MAX_EMBEDDING_DIM}"
    _check("config.json: embedding_dim", found["embedding_dim"], rule, lambda x: is_whole(x, 1, MAX_EMBEDDING_DIM))
    low, high = LIMITS
    rule = f"a number from {low:g} to {high:g}"
    _check("config.json: temperature", found["temperature"], rule, lambda x: is_number(x) and low <= x <= high)
    _check("config.json: members", found["members"], "a list with a member", lambda x: isinstance(x, list) and x)
    for place, entry in enumerate(found["members"]):
        _check_member(f"config.json: members.{place}", entry)
    names, total = [each["name"] for each in found["members"]], math.fsum(each["weight"] for each in found["members"])
    _check("config.json: the members' names", names, "different", lambda x: len(set(x)) == len(x))
    _check("config.json: the sum of the weights", total, "1", lambda x: abs(x - 1) < 1e-6)
    return found


def _check_member(where: str, entry: Any) -> None:
    found = _object(where, entry, ("name", "file", "kind", "weight"))
    rule = "model, trial-NUMBER or plain-baseline"
    _check(f"{where}.name", found["name"], rule, lambda x: isinstance(x, str) and _MEMBER.fullmatch(x))
    expected = f"{found['name']}.safetensors"
    _check(f"{where}.file", found["file"], expected, lambda x: x == expected)
    _check(f"{where}.weight", found["weight"], "above 0 and at most 1", lambda x: is_number(x) and 0 < x <= 1)
    _check(f"{where}.kind", found["kind"], "a text", lambda x: isinstance(x, str))
    if found["kind"] in ("lstm", "plain"):
        expected = "plain" if found["name"] == "plain-baseline" else "lstm"
        _check(f"{where}.kind", found["kind"], expected, lambda x: x == expected)
    if found["kind"] == "lstm":
        _check(f"{where}.config", found.get("config"), "an object", lambda x: isinstance(x, dict))


def check_words(words: Any) -> Vocabulary:
    """Check vocabulary.json."""
    found = _texts("vocabulary.json", words)
    try:
        return Vocabulary(found)
    except DataError as error:
        raise CorruptionError(f"vocabulary.json: {error}") from None


def check_classes(names: Any) -> tuple[str, ...]:
    """Check labels.json."""
    found = _texts("labels.json", names)
    if not found:
        raise CorruptionError("labels.json has no label")
    if twice := [name for name, count in Counter(found).items() if count > 1]:
        raise CorruptionError(f"labels.json has the label {quoted(twice[0])} twice")
    return found


def check_coverage(metrics: Any) -> tuple[CoverageRow, ...]:
    """Check the coverage table in metrics.json; there may be none."""
    rows = _object("metrics.json", metrics, ()).get("coverage", [])
    _check("metrics.json: coverage", rows, "a list", lambda x: isinstance(x, list))
    return tuple(_coverage_row(f"metrics.json: coverage.{place}", row) for place, row in enumerate(rows))


def _coverage_row(where: str, row: Any) -> CoverageRow:
    found = _object(where, row, ("min_probability", "sentences", "correct"))
    minimum, sentences, correct = found["min_probability"], found["sentences"], found["correct"]
    _check(f"{where}.min_probability", minimum, "from 0 to 1", lambda x: is_number(x) and 0 <= x <= 1)
    _check(f"{where}.sentences", sentences, "a whole number from 1", lambda x: is_whole(x, 1, 2**53))
    _check(f"{where}.correct", correct, f"from 0 to {sentences}", lambda x: is_whole(x, 0, sentences))
    return CoverageRow(min_probability=minimum, sentences=sentences, correct=correct)


def check_tensors(file: str, tensors: "Mapping[str, Tensor]", types: Mapping[str, str] | None = None) -> None:
    """Check the types of a member's tensors, and that they are numbers.

    Args:
        file: Name of the file for errors.
        tensors: Tensors by name.
        types: Names and types of all tensors; None for any names and float32.
    """
    if types is not None and tensors.keys() != types.keys():
        raise CorruptionError(f"{file} must hold {', '.join(types)}, got {quoted(', '.join(tensors), 80)}")
    for name, tensor in tensors.items():
        kind, expected = str(tensor.dtype).removeprefix("torch."), types[name] if types else "float32"
        where = f"{file}: {quoted(name)}"
        if kind != expected:
            raise CorruptionError(f"{where} must be {expected}, got {kind}")
        # A sum needs no memory, and is not finite if a number is not. The plain baseline's intercept of a class without
        # a training sentence is minus infinity.
        value = tensor.max() if name == "intercepts" and tensor.numel() else tensor.sum()
        if not math.isfinite(value):
            raise CorruptionError(f"{where} contains a value that is no number, or is too large")


def _object(where: str, value: Any, keys: Sequence[str]) -> dict[str, Any]:
    _check(where, value, "an object", lambda x: isinstance(x, dict))
    missing = [key for key in keys if key not in value]
    if missing:
        raise CorruptionError(f"{where} has no {missing[0]}")
    found: dict[str, Any] = value
    return found


def _texts(file: str, value: Any) -> tuple[str, ...]:
    _check(file, value, "a list of texts", lambda x: isinstance(x, list) and all(isinstance(each, str) for each in x))
    return tuple(value)


def _check(where: str, value: Any, rule: str, holds: Callable[[Any], Any]) -> None:
    if not holds(value):
        shown = json.dumps(value) if isinstance(value, str) else reprlib.repr(value)  # "3" is not 3
        raise CorruptionError(f"{where} must be {rule}, got {quoted(shown)}")
