"""One cache entry: a folder of files with a manifest that knows each one's size and sha256, and its own."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import CorruptionError, UserError
from core.io.atomic import sha256_of_file

FORMAT = 1
"""Raise it when the same inputs come to other bytes."""
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One whole entry on disk."""

    path: Path
    key: str
    inputs: Mapping[str, Any]
    """What the key is made of."""
    files: Mapping[str, tuple[int, str]]
    """Name to size in bytes and sha256 (hex)."""

    @property
    def size_bytes(self) -> int:
        return sum(size for size, _ in self.files.values())


def key_of(inputs: Mapping[str, Any]) -> str:
    """sha256 (hex) of the canonical JSON of `inputs` and the format version."""
    return hashlib.sha256(canonical({"format": FORMAT, "inputs": inputs})).hexdigest()


def canonical(value: Any) -> bytes:
    """The one JSON form of `value`: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def seal(folder: Path, key: str, inputs: Mapping[str, Any]) -> None:
    """Write the manifest of the files in `folder`."""
    listing = {file.name: [file.stat().st_size, sha256_of_file(file)] for file in sorted(folder.iterdir())}
    body = {"format": FORMAT, "key": key, "inputs": inputs, "files": listing}
    (folder / MANIFEST).write_bytes(_sealed(body))


def check(path: Path) -> Entry:
    """Read the entry at `path` and hash every file in it.

    Raises:
        FileNotFoundError: there is none.
        CorruptionError: a file is missing, or differs from what was written in a single bit.
        UserError: another user made it for themselves alone.
    """
    entry = read_manifest(path)
    with _for_us(path):
        _check_files(entry)
    return entry


def _check_files(entry: Entry) -> None:
    for name, (size, digest) in entry.files.items():
        file = entry.path / name
        if not file.is_file():
            raise CorruptionError(f"cache entry damaged: {file} is missing")
        if file.stat().st_size != size:
            raise CorruptionError(f"cache entry damaged: {file} has {file.stat().st_size} bytes, {size} were written")
        if sha256_of_file(file) != digest:
            raise CorruptionError(f"cache entry damaged: {file} is not what was written")


@contextlib.contextmanager
def _for_us(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"cannot read {error.filename}: it is another user's; let them give it to all with "
            f"chmod -R a+rX {path.parents[1]}, or choose another --cache-dir"
        ) from error


def read_manifest(path: Path) -> Entry:
    """The entry at `path` as its manifest tells it, the other files unread.

    Raises:
        FileNotFoundError: there is no such folder.
        CorruptionError: the manifest is missing or damaged.
        UserError: another user made it for themselves alone.
    """
    file = path / MANIFEST
    damaged = CorruptionError(f"cache entry damaged: {file} is not what was written")
    try:
        with _for_us(path):
            if not path.is_dir():
                raise FileNotFoundError(path)
            sealed = file.read_bytes()
        body = json.loads(sealed)["body"]
        if sealed != _sealed(body):
            raise damaged
        entry = Entry(
            path=path,
            key=body["key"],
            inputs=body["inputs"],
            files={name: (size, digest) for name, (size, digest) in body["files"].items()},
        )
    except FileNotFoundError:
        if not path.is_dir():
            raise
        raise CorruptionError(f"cache entry damaged: {file} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise damaged from None
    if entry.key != path.name:
        raise damaged
    return entry


def _sealed(body: Mapping[str, Any]) -> bytes:
    """A manifest that carries its own checksum, so that a flipped bit in it shows too."""
    return canonical({"body": body, "sha256": hashlib.sha256(canonical(body)).hexdigest()}) + b"\n"
