"""The content-keyed store: one writer, atomic, checksummed, memory-mapped.

An entry is a folder `KIND/KEY` of plain `.npy`, JSON and source files with a manifest. Its key is the sha256 of
everything that shapes its bytes, so the same key means the same bytes on any machine. It is filled in a temporary
folder under a lock, then renamed: a builder that dies leaves no entry, and the system frees its lock.

    corpora/KEY/    tokens.npy, offsets.npy, labels.npy, split.npy, vectors.npy, words.json, source.json
    sources/KEY/    files as they were fetched
    .locks/, .known/, .parts/   locks, remembered hashes of outside files, downloads under way
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from core import files
from core.errors import CorruptionError, UserError

FORMAT = 1
"""Raise it when the same inputs come to other bytes."""
MANIFEST = "manifest.json"
KINDS = ("corpora", "sources")

Notify = Callable[[str], None]
"""Told one line about what is going on."""


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


def default_dir() -> Path:
    """`SENTUNE_CACHE` if it is set, else the platform's user cache folder; read at each call."""
    if chosen := os.environ.get("SENTUNE_CACHE"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("sentune", appauthor=False))


def key_of(inputs: Mapping[str, Any]) -> str:
    """sha256 (hex) of the canonical JSON of `inputs` and the format version."""
    return hashlib.sha256(canonical({"format": FORMAT, "inputs": inputs})).hexdigest()


def canonical(value: Any) -> bytes:
    """The one JSON form of `value`: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def obtain(
    cache: Path, kind: str, inputs: Mapping[str, Any], fill: Callable[[Path], None], notify: Notify | None = None
) -> Entry:
    """The checked entry of `inputs`; when it is absent or damaged, `fill(folder)` makes its files first.

    Of many callers one fills, the others wait and read. A damaged entry is named to `notify` and made anew.

    Raises:
        UserError: the disk is full, or the cache folder cannot be written.
    """
    path = cache / kind / key_of(inputs)
    with contextlib.suppress(FileNotFoundError, CorruptionError):
        return check(path)
    with locked(cache, path.name, notify):
        try:
            return check(path)  # another process was faster
        except FileNotFoundError:
            pass
        except CorruptionError as damage:
            if notify:
                notify(f"{damage}; building it again")
        _build(path, inputs, fill)
        return check(path)


def _build(path: Path, inputs: Mapping[str, Any], fill: Callable[[Path], None]) -> None:
    for left_over in path.parent.glob(f".{path.name}.*"):  # of a builder that died: we hold its lock now
        shutil.rmtree(left_over, ignore_errors=True)
    with files.new_folder(path) as folder:
        fill(folder)
        listing = {file.name: [file.stat().st_size, _digest(file)] for file in sorted(folder.iterdir())}
        body = {"format": FORMAT, "key": path.name, "inputs": inputs, "files": listing}
        (folder / MANIFEST).write_bytes(_seal(body))


def check(path: Path) -> Entry:
    """Read the entry at `path` and hash every file in it.

    Raises:
        FileNotFoundError: there is none.
        CorruptionError: a file is missing, or differs from what was written in a single bit.
    """
    entry = _read_manifest(path)
    for name, (size, digest) in entry.files.items():
        file = path / name
        if not file.is_file():
            raise CorruptionError(f"cache entry damaged: {file} is missing")
        if file.stat().st_size != size:
            raise CorruptionError(f"cache entry damaged: {file} has {file.stat().st_size} bytes, {size} were written")
        if _digest(file) != digest:
            raise CorruptionError(f"cache entry damaged: {file} is not what was written")
    return entry


def _read_manifest(path: Path) -> Entry:
    if not path.is_dir():
        raise FileNotFoundError(path)
    file = path / MANIFEST
    damaged = CorruptionError(f"cache entry damaged: {file} is not what was written")
    try:
        sealed = file.read_bytes()
        body = json.loads(sealed)["body"]
        if sealed != _seal(body):
            raise damaged
        entry = Entry(
            path=path,
            key=body["key"],
            inputs=body["inputs"],
            files={name: (size, digest) for name, (size, digest) in body["files"].items()},
        )
    except FileNotFoundError:
        raise CorruptionError(f"cache entry damaged: {file} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise damaged from None
    if entry.key != path.name:
        raise damaged
    return entry


def _seal(body: Mapping[str, Any]) -> bytes:
    """A manifest that carries its own checksum, so that a flipped bit in it shows too."""
    return canonical({"body": body, "sha256": hashlib.sha256(canonical(body)).hexdigest()}) + b"\n"


@contextlib.contextmanager
def locked(cache: Path, name: str, notify: Notify | None = None) -> Iterator[None]:
    """Hold the lock `name` of this cache; the system frees it when the process dies.

    Raises:
        UserError: the cache folder cannot be written.
    """
    path = cache / ".locks" / f"{name}.lock"
    with files.readable_os_errors(cache):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            if notify:
                notify("another process is building the same data; waiting for it")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
