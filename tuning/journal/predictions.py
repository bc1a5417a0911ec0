"""Predicted classes in the journal: packed into a short text with a checksum. Loads neither torch nor Optuna."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import CorruptionError
from core.io.text import error_summary

Packed = Mapping[str, Any]
"""Result of `pack_labels`."""
MAX_PACKED_BYTES = 2**28
"""Upper bound of the unpacked size; anything larger is damage."""


def pack_labels(classes: NDArray[np.integer]) -> dict[str, Any]:
    """Return the classes as JSON; 1,000 sentences of two classes need up to 350 characters.

    Args:
        classes: (n,) indices into the corpus's `classes`, none negative.
    """
    small = np.min_scalar_type(int(classes.max(initial=0))).newbyteorder("<")
    raw = classes.astype(small).tobytes()
    data = base64.b64encode(zlib.compress(raw, 9)).decode()
    return {"type": small.str, "data": data, "crc32": zlib.crc32(raw)}


def unpack_labels(packed: Mapping[str, Any], where: str, n_classes: int | None = None) -> NDArray[np.int64]:
    """Return the (n,) classes that `pack_labels` packed.

    Args:
        packed: Result of `pack_labels`.
        where: Description of the labels for the message.
        n_classes: Number of classes; None to allow any class.

    Raises:
        CorruptionError: The packed classes are damaged.
    """
    try:
        raw = zlib.decompressobj().decompress(base64.b64decode(packed["data"], validate=True), MAX_PACKED_BYTES)
        if zlib.crc32(raw) != packed["crc32"] or packed["type"] not in ("|u1", "<u2", "<u4"):
            raise ValueError("its checksum differs")
        classes = np.frombuffer(raw, dtype=packed["type"]).astype(np.int64)
        if n_classes is not None and classes.max(initial=0) >= n_classes:
            raise ValueError(f"it has class {classes.max()} of {n_classes}")
        return classes
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise journal_damage(where, error) from error


def unpack_validation_labels(attributes: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return the (n,) labels of the study's validation split, from the study's user attributes.

    Raises:
        CorruptionError: The labels are damaged, or there are none.
    """
    where, validation = "the study's validation labels", attributes["validation"]
    labels = unpack_labels(validation["labels"], where, len(validation["classes"]))
    if not len(labels):
        raise journal_damage(where, "there are none")
    return labels


def copied_from(origin: str) -> int | None:
    """Return the trial whose result a trial with this origin copies; None if it is trained."""
    return int(origin.removeprefix("copy of ")) if origin.startswith("copy of ") else None


DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What reading a damaged record raises; RecursionError: a line of many brackets."""


NEW_STUDY = "or start a new study with another --name"
CUT = (
    "remove this line and all later ones (later runs of confirm and uses of the test split are then forgotten) and run "
    f"the study's command again, {NEW_STUDY}"
)
"""What to do about a damaged line: a journal without its last lines is one as after a kill."""


def journal_damage(what: str, reason: Exception | str, advice: str = NEW_STUDY) -> CorruptionError:
    """Return the error for a damaged part of the journal.

    Args:
        what: The part that is damaged.
        reason: Why it cannot be used.
        advice: What to do without a copy.
    """
    if isinstance(reason, Exception):
        reason = error_summary(reason) if isinstance(reason, ValueError) else "it is no record of a study"
    return CorruptionError(f"{what} is damaged ({reason}); restore a copy of the journal, {advice}")
