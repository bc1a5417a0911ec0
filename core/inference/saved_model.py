"""A saved model: a folder that loads without the data, the study or Ray, and never through pickle.

model.safetensors   the weights of a single LSTM; in an ensemble one file per member instead:
                    trial-3.safetensors, plain-baseline.safetensors
config.json         members with their shares and settings, temperature, width of the word vectors, tokenizer,
                    text column, layout
vocabulary.json     the words, in id order
labels.json         the class names, in label order
metrics.json        figures, `coverage` among them
card.md             the model card, for readers
SHA256SUMS          digests of the files above; `sha256sum -c SHA256SUMS` checks them too
"""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.calibration import CoverageRow
from core.data.tokenizer import tokenizer_name
from core.data.vocabulary import Vocabulary
from core.errors import ConfigError, CorruptionError, UserError
from core.inference.members import MEMBER_FILES, Member, entry_of, file_of, member_of, tensors_of
from core.inference.model_schema import check_classes, check_coverage, check_settings, check_words, parse_json
from core.io.atomic import is_folder
from core.io.checked_folder import (
    CHECKSUMS,
    check_output_folder,
    read_checked_files,
    readable_json,
    replace_checked_folder,
)

if TYPE_CHECKING:
    from torch import Tensor

LAYOUT = 3
"""Version of the folder; raise it if a reader of the old layout cannot read the new one."""
SHARED_FILES = ("config.json", "vocabulary.json", "labels.json", "metrics.json", "card.md")
MODEL_FILES = (*MEMBER_FILES, *SHARED_FILES)
"""Names and patterns of the files in a model folder, except CHECKSUMS."""
check_model_folder = partial(check_output_folder, files=MODEL_FILES, kind="saved model")
"""Check before training that a model may be saved at a path; return the path without symbolic links."""
_GIVE = "pass a folder that `sentune retrain`, `ensemble` or `distill` wrote"


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ModelParts:
    """The parts of a model that prediction needs."""

    members: Sequence[Member]
    """Members whose weights have the sum 1, with tensors on the CPU."""
    temperature: float = 1.0
    """Temperature: the probabilities are softmax(log p / temperature), where p is the weighted mean of the members'."""
    vocabulary: Vocabulary
    """Vocabulary of all members."""
    classes: tuple[str, ...]
    """(C,) names in label order."""
    embedding_dim: int
    """Width of a word vector."""
    coverage: tuple[CoverageRow, ...] = ()
    """Result of core.calibration.coverage_table on the validation sentences; empty if unknown."""
    tokenizer: str
    """Result of core.data.tokenizer.tokenizer_version when the model was trained."""
    text_column: str | None = None
    """Column of the texts in the file that the model was trained on; None if that was no file."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Content of metrics.json; empty for a model that was not read."""
    digest: str = ""
    """SHA-256 (hex) of the digests of all files but metrics.json and card.md; empty for a model that was not read."""
    card: bytes = b""
    """Content of card.md; empty for a model that was not read."""


def save_model(path: Path, parts: ModelParts, *, metrics: Mapping[str, Any], card: str) -> None:
    """Write a model folder as a whole or not at all; it replaces an earlier model.

    Args:
        path: The folder.
        parts: The model, with members in any order. Its `coverage`, `metrics`, `digest` and `card` are not written.
        metrics: Figures, for JSON.
        card: Markdown, see core.inference.model_card.

    Raises:
        UserError: `path` contains something else, the disk is full, or the folder cannot be written.
        CorruptionError: `read_model` would refuse the members or the temperature.
    """
    path = check_model_folder(path)
    settings = {
        "layout": LAYOUT,
        "tokenizer": parts.tokenizer,
        "text_column": parts.text_column,
        "embedding_dim": parts.embedding_dim,
        "temperature": parts.temperature,
        "members": [entry_of(member) for member in parts.members],
    }
    check_settings(settings, LAYOUT)
    contents: dict[str, bytes | Mapping[str, Tensor]] = {
        **{file_of(member): tensors_of(member) for member in parts.members},
        "config.json": readable_json(settings),
        "vocabulary.json": readable_json(list(parts.vocabulary.words)),
        "labels.json": readable_json(list(parts.classes)),
        "metrics.json": readable_json(dict(metrics)),
        "card.md": card.encode(),
    }
    replace_checked_folder(path, contents, MODEL_FILES)


def read_model(path: Path) -> ModelParts:
    """Verify every file of a model folder and read it; if it is replaced meanwhile, read the new one.

    Raises:
        UserError: There is no model at `path`, it cannot be read, or a newer version saved it.
        CorruptionError: A file is missing, changed, unreadable or breaks a rule; the message names it.
    """
    while True:
        _check_folder(path)
        before = _folder_identity(path)
        try:
            parts = _read_folder(path)
        except (OSError, UserError):
            if _folder_identity(path) == before:
                raise
        else:
            if _folder_identity(path) == before:
                return parts
        # `retrain` has replaced the folder meanwhile: what was read may be parts of two models.


def _folder_identity(path: Path) -> tuple[int, int] | None:
    """Return the identity of the folder at `path`, which changes if another folder replaces it; None without one."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def _read_folder(path: Path) -> ModelParts:
    try:
        digests, files = read_checked_files(path, SHARED_FILES, MEMBER_FILES, _parse)
        settings = files["config.json"]
        found = settings.get("layout") if isinstance(settings, dict) else None
        if isinstance(found, int) and found != LAYOUT:
            raise UserError(f"{path} has layout {found}, this version of sentune reads {LAYOUT}; retrain the trial")
        return _to_parts(check_settings(settings, LAYOUT), files, digests)
    except CorruptionError as error:
        raise CorruptionError(
            f"the model in {path} is damaged: {error}; run the command that saved it again"
        ) from error
    except ConfigError as error:
        raise UserError(f"{path} was saved by another version of sentune ({error}); retrain the trial") from error


def _check_folder(path: Path) -> None:
    """Raise UserError unless this is a folder with a file of a model."""
    try:
        path.stat()
    except PermissionError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {_GIVE}") from error
    except (OSError, ValueError):
        pass  # is_folder waits for a folder that is being replaced
    if not is_folder(path):
        raise UserError(f"there is no saved model at {path}; {_GIVE}")
    try:
        names = {each.name for each in path.iterdir()}
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {_GIVE}") from error
    if "model.onnx" in names:
        raise UserError(f"{path} is an ONNX export; run its example.py, or pass the model folder that was exported")
    if not names.intersection((*SHARED_FILES, CHECKSUMS)):
        raise UserError(f"{path} is not a saved model; {_GIVE}")


def _to_parts(settings: Mapping[str, Any], files: Mapping[str, Any], digests: Mapping[str, str]) -> ModelParts:
    """Return the model of checked settings, and of the parsed files and their digests by name."""
    tokenizer_name(settings["tokenizer"])  # raises ConfigError if it is unknown
    if files.keys() - set(SHARED_FILES) != {entry["file"] for entry in settings["members"]}:
        raise CorruptionError(f"{CHECKSUMS} has changed since it was saved")
    return ModelParts(
        members=tuple(member_of(entry, files[entry["file"]]) for entry in settings["members"]),
        temperature=settings["temperature"],
        vocabulary=check_words(files["vocabulary.json"]),
        classes=check_classes(files["labels.json"]),
        embedding_dim=settings["embedding_dim"],
        coverage=check_coverage(files["metrics.json"]),
        tokenizer=settings["tokenizer"],
        text_column=settings.get("text_column"),
        metrics=files["metrics.json"],
        digest=_digest(digests),
        card=files["card.md"],
    )


def _digest(digests: Mapping[str, str]) -> str:
    """Return a digest of those files on which the model's answers depend."""
    kept = sorted(f"{digest}  {name}" for name, digest in digests.items() if name not in ("card.md", "metrics.json"))
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()


def _parse(name: str, data: bytes) -> Any:
    """Return the content of a JSON file, the tensors of a member by name, or the bytes of another file.

    The tensors are a copy: memory that maps the file would change with it, or end the process if it became shorter.
    """
    if name.endswith(".json"):
        return parse_json(name, data)
    if not name.endswith(".safetensors"):
        return data
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    # KeyError: a type of numbers that torch lacks. RuntimeError, TypeError: an empty tensor with a size beyond int64.
    except (SafetensorError, KeyError, RuntimeError, TypeError) as error:
        raise CorruptionError(f"{name} cannot be read ({error})") from error
