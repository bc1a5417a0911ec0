"""Read the journal, with a schema of its attributes that detects damage and foreign records.

A shape is a type; a range of integers; a rule, which is a function; a list of one shape; or a dict of shapes by name,
where a name that ends in `?` is optional and further names are ignored.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from core.config import METRIC_NAMES
from core.errors import UserError
from core.io.atomic import read_regular
from core.io.text import quoted
from tuning.journal.file import parse_lines
from tuning.journal.folder import STUDY_FORMAT
from tuning.journal.predictions import CUT, DAMAGE, copied_from, journal_damage

N_EPOCHS = "n_epochs"
"""User attribute of a closed trial: the number of its epochs that count, if it has more. Later epochs were trained when
the study had fewer trials."""

TEST_EVALUATION = "test_evaluation:"
"""Start of the names of the study's user attributes with an evaluation on a test split; a number follows."""

Shape = Any
MAX_JOURNAL_INT = 2**53
"""Upper bound of integers and finite numbers in the journal; sentune writes none that are larger."""


def is_real(value: Any) -> bool:
    """Return whether a value is a number, such as a loss, which may be infinite or NaN."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < MAX_JOURNAL_INT)


def is_finite(value: Any) -> bool:
    """Return whether a value is a finite number, such as seconds; sums of such numbers are finite, too."""
    return is_real(value) and abs(value) < MAX_JOURNAL_INT


def is_fraction(value: Any) -> bool:
    """Return whether a value is a number in [0, 1]."""
    return is_real(value) and 0 <= value <= 1


def is_metric(value: Any) -> bool:
    """Return whether it is the name of a metric."""
    return value in METRIC_NAMES


def is_shares(value: Any) -> bool:
    """Return whether it is an object of at least one number in [0, 1]."""
    return isinstance(value, dict) and bool(value) and all(map(is_fraction, value.values()))


def is_texts(value: Any) -> bool:
    """Return whether it is a list of at least one text."""
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


COUNT, POSITIVE = range(MAX_JOURNAL_INT), range(1, MAX_JOURNAL_INT)


def is_positive_or_null(value: Any) -> bool:
    """Return whether a value is None or an integer from 1."""
    return value is None or (isinstance(value, int) and value in POSITIVE)


PACKED = {"type": str, "data": str, "crc32": int}
EPOCH = {
    "epoch": POSITIVE, "train_loss": is_real, "val_loss": is_real, "val_accuracy": is_fraction,
    "score": is_finite, "seconds": is_finite, "val_predictions?": PACKED,
}  # fmt: skip
RESULT = {
    "error?": str,
    "n_parameters?": COUNT,
    "weights_sha256?": str,
    "environment?": dict,
    "worker?": str,
    "since?": is_finite,
    "until?": is_finite,
}
SEGMENT = {"worker?": str, "since": is_finite, "until": is_finite, "paused?": POSITIVE}
BIN = {**dict.fromkeys(("low", "high", "confidence", "accuracy"), is_fraction), "sentences": POSITIVE}
DIAGRAM = {"error": is_fraction, "log_loss?": is_finite, "bins": [BIN]}
EVALUATION = {
    "verb": str, "trial": (int, type(None)), "seed": (int, type(None)), "on": str, "split": (str, type(None)),
    "test_accuracy": is_fraction, "test_metric?": is_finite, "test_sentences": POSITIVE, "test_fingerprint?": str,
    "epochs?": POSITIVE, "members?": is_shares,
    "calibration?": {"before": DIAGRAM, "after": DIAGRAM},
}  # fmt: skip
TEXT = (str, type(None))
DATA = {
    **dict.fromkeys(("dataset?", "vectors?", "tokenizer?", "split?", "validation?"), str),
    **dict.fromkeys(("text_column?", "label_column?", "split_column?", "probability_columns?"), TEXT),
    **dict.fromkeys(("drop_missing?", "allow_leak?"), bool),
    "encoding?": TEXT,
    "embedding_dim?": (int, type(None)), "seed?": COUNT,
}  # fmt: skip
STOPPING = {"rule?": str, "grace?": is_positive_or_null, "reduction?": POSITIVE}
SPEC = {
    "fingerprint?": str, "data?": DATA, "embedding_dim?": POSITIVE, "space?": dict, "epochs?": POSITIVE,
    "epoch_sentences?": is_positive_or_null, "patience?": is_positive_or_null, "seed?": COUNT,
    "metric?": is_metric, "parallelism?": POSITIVE, "lag?": is_finite, "sampler?": dict,
    "stopping?": (dict, type(None)),
    "first_trials?": (dict, type(None)), "warm_start?": (dict, type(None)),
    **dict.fromkeys(("baseline?", "retry_oom?"), bool),
    "threads?": POSITIVE, "device?": str, "precision?": str, "versions?": dict,
}  # fmt: skip
AUDIT = {
    "majority_baseline?": {"class": str, "train_shares?": [is_fraction], "val?": is_fraction, "test?": is_fraction},
    "splits?": {"test?": COUNT},
}
STUDY_SHAPE = {
    "spec?": SPEC, "validation?": {"labels": PACKED, "classes": is_texts}, "vocabulary?": POSITIVE,
    "inputs?": {"data?": {"encoding?": TEXT}}, "audit?": AUDIT, "command?": str,
    "gpu_share?": {"share": is_fraction, "peak_bytes": COUNT, "smallest_bytes": COUNT},
    "goal?": {"trials?": POSITIVE}, "test_fingerprint?": str, "id?": str,
    "plain_baseline?": {"val_predictions": PACKED, "val_metric?": is_finite, "train_sentences?": POSITIVE},
}  # fmt: skip
"""Shapes of the user attributes of the study, except `early_end` and those with a number in their name."""
EARLY_END = {"reason": str, "n_trials": is_positive_or_null}
FRESH_RUN = {
    **dict.fromkeys(("trial?", "seed?", "fold?", "folds?"), (int, type(None))),
    "error?": str, "val_accuracy?": is_fraction, "test_accuracy?": is_fraction, "seconds?": is_finite,
    "n_parameters?": COUNT, "correct?": PACKED, "pseudo_values?": [is_finite], "class_sentences?": [COUNT],
    "majority_val?": is_finite, "majority_test?": is_finite, "val_sentences?": POSITIVE, "test_sentences?": POSITIVE,
    "train_sentences?": POSITIVE,
    **{f"{split}_{name}?": is_finite for split in ("val", "test") for name in METRIC_NAMES if name != "accuracy"},
}  # fmt: skip
DISTILLED = {"epochs": [EPOCH], "weights_sha256": str, "environment": dict}
TRIAL_SHAPE = {
    "config?": {"metric?": is_metric},
    "origin?": str,
    "result?": RESULT,
    "segments?": [SEGMENT],
    "n_epochs?": POSITIVE,
}
"""Shapes of the user attributes of a trial, except its epochs."""


class StrictDict(dict[str, Any]):
    """A part of the journal that raises CorruptionError for a missing name."""

    def __missing__(self, name: str) -> NoReturn:
        raise journal_damage("the study's journal", f"{name!r} is missing")


def strict(value: Any) -> Any:
    """Return the JSON value with StrictDict for each object."""
    if isinstance(value, dict):
        return StrictDict({name: strict(item) for name, item in value.items()})
    return [strict(item) for item in value] if isinstance(value, list) else value


def check_schema(value: Any, shape: Shape, where: str) -> None:
    """Check that a JSON value has a shape.

    Raises:
        ValueError: The value has another shape; the message names the place within `where`.
    """
    if isinstance(shape, dict):
        check_schema(value, dict, where)
        for name, below in shape.items():
            key = name.removesuffix("?")
            if key in value:
                check_schema(value[key], below, f"{where}.{key}")
            elif key == name:
                raise ValueError(f"{where} has no {key!r}")
    elif isinstance(shape, list):
        check_schema(value, list, where)
        for item in value:
            check_schema(item, shape[0], where)
    else:
        if isinstance(shape, range):
            fits = isinstance(value, int) and value in shape
        else:
            fits = isinstance(value, shape) if isinstance(shape, type | tuple) else shape(value)
        if not fits or isinstance(value, bool) != (shape is bool):  # True is an int
            raise ValueError(f"{where} is {str(value)[:40]!r}")


def check_study(attributes: Mapping[str, Any]) -> None:
    """Check user attributes of the study; raise ValueError as `check_schema` does. Another format is not checked."""
    if attributes.get("spec", {}).get("format", STUDY_FORMAT) != STUDY_FORMAT:
        return
    check_schema(attributes, STUDY_SHAPE, "study")
    if stopping := attributes.get("spec", {}).get("stopping"):
        check_schema(stopping, STOPPING, "study.spec.stopping")
    for name, value in attributes.items():
        if name == "early_end" and value is not None:
            check_schema(value, EARLY_END, name)
        elif name.startswith("confirm:"):
            check_schema(value, FRESH_RUN, name)
        elif name.startswith("distill:"):
            check_schema(value, DISTILLED, name)
        elif name.startswith(TEST_EVALUATION):
            check_schema(value, EVALUATION, name)


def check_trial(attributes: Mapping[str, Any]) -> None:
    """Check some or all user attributes of a trial; raise ValueError as `check_schema` does."""
    check_schema(attributes, TRIAL_SHAPE, "trial")
    for name, value in attributes.get("config", {}).items():
        if isinstance(value, dict | list):
            raise ValueError(f"trial.config.{name} is {str(value)[:40]!r}")
    if not re.fullmatch(r"(?!copy of ).*|copy of \d{1,9}", attributes.get("origin", ""), re.DOTALL):
        raise ValueError(f"trial.origin is {attributes['origin'][:40]!r}")
    for name, value in attributes.items():
        if name.startswith("epoch:"):
            check_schema(value, EPOCH, name)


NEEDED: Mapping[TrialState, Shape] = {
    TrialState.COMPLETE: {"result": RESULT},
    TrialState.FAIL: {"result": {"error": str}},
}
"""Further user attributes that a trial of this state has."""


def check_written_trial(state: TrialState, attributes: Mapping[str, Any]) -> None:
    """Check all user attributes of a trial; raise ValueError as `check_schema` does."""
    check_schema(attributes, {"config": dict, "origin": str, **NEEDED.get(state, {})}, "trial")
    check_trial(attributes)


def data_arguments(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of load_corpus that a study's spec records.

    Raises:
        UserError: A later version of sentune recorded one that this version lacks.
    """
    if unknown := sorted(spec["data"].keys() - {name.removesuffix("?") for name in DATA}):
        raise UserError(
            f"the study's data have the option {quoted(unknown[0])}, which this version of sentune lacks; install the "
            "version that made the study"
        )
    return dict(spec["data"])


class Operation(IntEnum):
    """Optuna's numbers of the kinds of records that are read here."""

    DELETE_STUDY = 1
    SET_STUDY_USER_ATTR = 2
    CREATE_TRIAL = 4
    SET_TRIAL_STATE_VALUES = 6
    SET_TRIAL_USER_ATTR = 8


def read_journal(
    path: Path, *, trials: bool = True, part: bytes = b'"study_id"'
) -> tuple[dict[str, Any], list[FrozenTrial]]:
    """Return the study's user attributes and its trials by number; both are empty if there is no such file.

    The trials have no values and distributions. A partial last line is ignored. Writes nothing.

    Args:
        path: The journal.
        trials: False to read only the user attributes, which takes a tenth of the time.
        part: Without the trials, read only the lines that contain this.

    Raises:
        CorruptionError: The journal is damaged before its last line; the message names the line.
        UserError: The journal cannot be read.
    """
    study: dict[str, Any] = StrictDict()
    found: list[FrozenTrial] = []
    for at, record in _records(path, b"" if trials else part):
        try:
            if trials or record["op_code"] == Operation.SET_STUDY_USER_ATTR:
                _apply(record, study, found)
        except DAMAGE as error:
            raise journal_damage(f"line {at} of {path}", error, CUT) from error
    return study, found


def _records(path: Path, part: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number from 1, and record, of the lines that contain `part`."""
    try:
        lines = read_regular(path).split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); make it a regular file that you may read") from error
    del lines[-1]  # the part after the last line break is incomplete or empty
    places = [at for at, line in enumerate(lines, 1) if part in line]
    try:
        yield from zip(places, parse_lines([lines[at - 1] for at in places]), strict=True)
    except (ValueError, RecursionError):
        for at in places:  # name the damaged line
            try:
                yield at, json.loads(lines[at - 1])
            except (ValueError, RecursionError) as error:
                raise journal_damage(f"line {at} of {path}", error, CUT) from error


def _apply(record: dict[str, Any], study: dict[str, Any], trials: list[FrozenTrial]) -> None:
    """Apply one record to the study and its trials."""
    if record.get("study_id", 0) != 0:
        raise ValueError("it is a record of another study")
    match record["op_code"]:
        case Operation.DELETE_STUDY:
            raise ValueError("it deletes the study")
        case Operation.SET_STUDY_USER_ATTR:
            check_study(record["user_attr"])
            study.update({name: strict(value) for name, value in record["user_attr"].items()})
        case Operation.CREATE_TRIAL:
            attributes = record["user_attrs"]
            check_trial(attributes)
            if (source := copied_from(attributes["origin"])) is not None and source >= len(trials):
                raise ValueError(f"trial.origin is {attributes['origin']!r}, which is no earlier trial")
            trials.append(
                FrozenTrial(
                    number=len(trials),
                    state=TrialState(record.get("state", TrialState.RUNNING)),
                    value=None,
                    params={
                        name: _parameter(_distribution(record["distributions"][name]), value)
                        for name, value in record.get("params", {}).items()
                    },
                    distributions={},
                    user_attrs={**attributes, "config": strict(attributes["config"])},
                    system_attrs={},
                    intermediate_values={},
                    datetime_start=_local(record.get("datetime_start")),
                    datetime_complete=None,
                    trial_id=len(trials),
                )
            )
        case Operation.SET_TRIAL_STATE_VALUES | Operation.SET_TRIAL_USER_ATTR as what:
            check_schema(record["trial_id"], COUNT, "trial_id")
            trial = trials[record["trial_id"]]
            if trial.state.is_finished():
                return  # Optuna ignores a change of a closed trial, too
            if what == Operation.SET_TRIAL_USER_ATTR:
                check_trial(record["user_attr"])
                trial.user_attrs.update(record["user_attr"])
            else:
                trial.state = TrialState(record["state"])
                trial.datetime_complete = _local(record.get("datetime_complete"))


def closes_trial(line: bytes) -> bool:
    """Return whether a line of the journal closes a trial, or limits the epochs of a closed one."""
    record = json.loads(line)
    attributes = record.get("user_attr", {})
    return record["op_code"] == Operation.SET_TRIAL_STATE_VALUES or (
        record["op_code"] == Operation.SET_TRIAL_USER_ATTR and N_EPOCHS in attributes
    )


def _local(moment: str | None) -> datetime | None:
    """Return local time without a zone, as Optuna reads it; since version 5 it writes UTC."""
    if not moment:
        return None
    local = datetime.fromtimestamp(datetime.fromisoformat(moment).timestamp())  # astimezone() would lose `fold`
    local.timestamp()  # ValueError for a time before the calendar
    return local


def _parameter(distribution: BaseDistribution, value: Any) -> Any:
    """Return the value of a parameter from the number in the journal; ValueError if it is outside the distribution."""
    if not distribution._contains(value):
        raise ValueError(f"{str(value)[:40]!r} is no value of {distribution}")
    return distribution.to_external_repr(value)


@functools.lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)
