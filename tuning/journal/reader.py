"""What the journal's attributes look like: what is written there by others, or damaged, is found when it is read.

A shape is a type; a rule, which is a function; a list of one shape; or a dict of shapes by name, where a name that
ends in `?` may be missing and further names do not matter.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from core.errors import CorruptionError

Shape = Any
MOST = 2**53
"""Larger whole numbers are none of ours."""


def number(value: Any) -> bool:
    """A loss, which may be beyond all bounds."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < MOST)


def finite(value: Any) -> bool:
    """Seconds, or a moment."""
    return number(value) and math.isfinite(value)


def share(value: Any) -> bool:
    """An accuracy."""
    return number(value) and 0 <= value <= 1


def count(value: Any) -> bool:
    """A whole number from 0."""
    return isinstance(value, int) and 0 <= value < MOST


def some(value: Any) -> bool:
    """A whole number from 1."""
    return count(value) and value > 0


PACKED = {"type": str, "data": str, "crc32": int}
EPOCH = {
    "epoch": some, "train_loss": number, "val_loss": number, "val_accuracy": share,
    "seconds": finite,
    "val_predictions?": PACKED,
}  # fmt: skip
OUTCOME = {
    "error?": str,
    "n_parameters?": count,
    "weights_sha256?": str,
    "environment?": dict,
    "worker?": str,
    "since?": finite,
}
SPELL = {"worker?": str, "since": finite, "until": finite}
READING = {
    "verb": str, "trial": int, "seed": int, "on": str, "split": (str, type(None)), "test_accuracy": share,
    "test_sentences": some,
}  # fmt: skip
STOPPING = {"rule?": str, "grace?": some, "reduction?": some}
SPEC = {
    "fingerprint?": str, "data?": dict, "embedding_dim?": some, "space?": dict, "epochs?": some, "seed?": count,
    "window?": some, "stopping?": (dict, type(None)), "sampler?": dict, "warm_start?": (dict, type(None)),
    "threads?": some, "device?": str, "precision?": str, "versions?": dict,
}  # fmt: skip
STUDY = {
    "spec?": SPEC, "validation?": {"labels": PACKED, "classes": [str]}, "vocabulary?": some, "readings?": [READING],
    "inputs?": dict, "audit?": dict, "command?": str, "gpu_share?": dict,
}  # fmt: skip
"""User attributes of the study, beside how it ended and its fresh runs."""
ENDED = {"reason": str, "last": (int, type(None))}
FRESH_RUN = {
    "error?": str, "val_accuracy?": share, "test_accuracy?": share, "seconds?": finite, "n_parameters?": count,
    "correct?": PACKED,
}  # fmt: skip
TRIAL = {"config?": dict, "origin?": str, "outcome?": OUTCOME, "spells?": [SPELL]}
"""User attributes of a trial, beside its epochs."""


class Kept(dict[str, Any]):
    """A part of the journal in which a name that is missing is damage."""

    def __missing__(self, name: str) -> NoReturn:
        raise CorruptionError(f"the study's journal is damaged ({name!r} is missing): put back a copy of it")


def kept(value: Any) -> Any:
    """JSON whose objects are all `Kept`."""
    if isinstance(value, dict):
        return Kept({name: kept(item) for name, item in value.items()})
    return [kept(item) for item in value] if isinstance(value, list) else value


def check(value: Any, shape: Shape, where: str) -> None:
    """See that JSON has a shape.

    Raises:
        ValueError: it has not; the place is named, `where` and what is below it.
    """
    if isinstance(shape, dict):
        check(value, dict, where)
        for name, below in shape.items():
            key = name.removesuffix("?")
            if key in value:
                check(value[key], below, f"{where}.{key}")
            elif key == name:
                raise ValueError(f"{where} has no {key!r}")
    elif isinstance(shape, list):
        check(value, list, where)
        for item in value:
            check(item, shape[0], where)
    elif isinstance(value, bool) or not _fits(value, shape):
        raise ValueError(f"{where} is {str(value)[:40]!r}")


def _fits(value: Any, shape: Any) -> bool:
    return isinstance(value, shape) if isinstance(shape, type | tuple) else bool(shape(value))


def check_study(attributes: Mapping[str, Any]) -> None:
    """See that user attributes of the study have their shape; ValueError as from `check`."""
    check(attributes, STUDY, "study")
    if stopping := attributes.get("spec", {}).get("stopping"):
        check(stopping, STOPPING, "study.spec.stopping")
    for name, value in attributes.items():
        if name == "ended" and value is not None:
            check(value, ENDED, name)
        elif name.startswith("confirm:"):
            check(value, FRESH_RUN, name)


def check_trial(attributes: Mapping[str, Any]) -> None:
    """See that user attributes of a trial, all of them or some, have their shape; ValueError as from `check`."""
    check(attributes, TRIAL, "trial")
    for name, value in attributes.get("config", {}).items():
        if isinstance(value, dict | list):
            raise ValueError(f"trial.config.{name} is {str(value)[:40]!r}")
    if not re.fullmatch(r"(?!copy of ).*|copy of \d{1,9}", attributes.get("origin", ""), re.DOTALL):
        raise ValueError(f"trial.origin is {attributes['origin'][:40]!r}")
    for name, value in attributes.items():
        if name.startswith("epoch:"):
            check(value, EPOCH, name)
