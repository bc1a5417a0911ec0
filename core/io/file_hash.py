"""Results about input files, remembered by file status or content: a second start does not read 1.5 GB again."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from core.errors import DataError, UserError
from core.io import atomic
from core.io.archives import open_file
from core.io.atomic import read_regular

SMALL_BYTES = 8 << 20
"""Size in bytes below which a file is read each time, which takes milliseconds."""
T = TypeVar("T")
_MTIME_GRACE_NS = 2_000_000_000
"""Age in nanoseconds below which no digest is remembered: a file may change again within the same time stamp."""


def input_digest(path: Path, cache: Path) -> str:
    """Return the sha256 (hex) of a file; the digest of a large file is remembered in the cache folder.

    Raises:
        DataError: The file is absent or cannot be read.
    """

    def digest() -> str:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return memoize_by_stat(path, cache, "sha256", digest)


def check_unchanged(path: Path, cache: Path, digest: str) -> None:
    """Check that a file that has just been read still has this `input_digest`.

    Raises:
        DataError: The file has changed or is gone.
    """
    if input_digest(path, cache) != digest:
        raise DataError(f"{path}: has changed while it was read; run the same command again")


def memoize_by_stat(path: Path, cache: Path, what: str, find_out: Callable[[], str]) -> str:
    """Return `find_out()`, or for a file over 8 MiB its previous result.

    The result is reused while path, size, inode and modification time stay the same. An edit that keeps all four is not
    detected.

    Raises:
        DataError: The file is absent or cannot be read.
    """
    with open_file(path) as file:
        seen, now = _stamp(os.fstat(file.fileno())), time.time_ns()
    if seen[0] < SMALL_BYTES:
        return find_out()
    note = _note(cache, f"{what}\0{path.resolve()}")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        content = json.loads(read_regular(note))
        if content["stamp"] == seen:
            return str(content["value"])
    value = find_out()
    with contextlib.suppress(OSError):
        if seen == _stamp(path.stat()) and now - seen[1] > _MTIME_GRACE_NS:
            _keep(note, {"stamp": seen, "value": value})
    return value


def memoize_by_content(content: str, cache: Path, what: str, find_out: Callable[[], T]) -> T:
    """Return `find_out()`, or its previous result for the same content.

    Args:
        content: Identifier of the content, such as its digest.
        cache: The cache folder.
        what: Name and version of the function.
        find_out: Called if there is no previous result; returns a value for JSON.
    """
    note = _note(cache, f"{what}\0{content}")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        remembered: T = json.loads(read_regular(note))["value"]
        return remembered
    value = find_out()
    _keep(note, {"value": value})
    return value


def _note(cache: Path, key: str) -> Path:
    return cache / ".known" / f"{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()}.json"


def _keep(note: Path, content: Mapping[str, Any]) -> None:
    with contextlib.suppress(UserError, OSError):  # if the cache folder cannot be written, the next run takes longer
        atomic.atomic_write(note, json.dumps(content).encode())


def _stamp(state: os.stat_result) -> list[int]:
    return [state.st_size, state.st_mtime_ns, state.st_ino]
