"""Classes of sentences as a short checked text: what each trial said about the validation split, for the journal."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import CorruptionError

MAX_BYTES = 2**28
"""Unpacked; more is taken for damage."""


def pack_labels(classes: NDArray[np.integer]) -> dict[str, Any]:
    """As JSON can hold it: for 1,000 sentences of two classes some 200 characters.

    Args:
        classes: (n,) places in the corpus's `classes`, none negative.
    """
    small = np.min_scalar_type(int(classes.max(initial=0))).newbyteorder("<")
    raw = classes.astype(small).tobytes()
    data = base64.b64encode(zlib.compress(raw, 9)).decode()
    return {"type": small.str, "data": data, "crc32": zlib.crc32(raw)}


def unpack_labels(packed: Mapping[str, Any], where: str) -> NDArray[np.int64]:
    """(n,) what `pack` was given.

    Args:
        packed: from `pack`.
        where: what it is, for the message.

    Raises:
        CorruptionError: it is not what was packed.
    """
    try:
        raw = zlib.decompressobj().decompress(base64.b64decode(packed["data"], validate=True), MAX_BYTES)
        if zlib.crc32(raw) != packed["crc32"] or packed["type"] not in ("|u1", "<u2", "<u4"):
            raise ValueError("its checksum does not fit")
        return np.frombuffer(raw, dtype=packed["type"]).astype(np.int64)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise CorruptionError(f"{where} is damaged ({error}): put back a copy of the journal") from error
