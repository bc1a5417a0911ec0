"""What outside files are: their sha256, remembered so that a second start does not read 1.5 GB again."""

import contextlib
import hashlib
import json
import time
from pathlib import Path

from core import files
from core.archives import open_file
from core.errors import UserError

SMALL_BYTES = 8 << 20
"""Smaller files are hashed each time (5 ms)."""
_SETTLED_NS = 2_000_000_000
"""A file changed less than 2 s ago may change again within the same time stamp, so it is not remembered."""


def sha256_of(path: Path, cache: Path) -> str:
    """sha256 (hex) of a file's bytes.

    A large file's is remembered in the cache folder and believed while path, size, inode and modification time
    stay the same: an edit that forges all four goes unseen.

    Raises:
        DataError: the file is absent or cannot be read.
    """
    with open_file(path) as file:
        if path.stat().st_size < SMALL_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        note = cache / ".known" / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()}.json"
        seen = _stamp(path)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            remembered = json.loads(note.read_bytes())
            if remembered["stamp"] == seen:
                return str(remembered["sha256"])
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if seen == _stamp(path) and time.time_ns() - path.stat().st_mtime_ns > _SETTLED_NS:
        with contextlib.suppress(UserError):  # a cache folder that cannot be written costs time only
            files.write_bytes(note, json.dumps({"stamp": seen, "sha256": digest}).encode())
    return digest


def _stamp(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ino]
