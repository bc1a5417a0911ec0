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
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from core.errors import CorruptionError, UserError
from core.io import atomic
from core.io.atomic import sha256_file
from core.io.checked_folder import canonical_json
from core.io.text import Notify

FORMAT = 1
"""Raise it when the same inputs come to other bytes."""
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheEntry:
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


def cache_key(inputs: Mapping[str, Any]) -> str:
    """sha256 (hex) of the canonical JSON of `inputs` and the format version."""
    return hashlib.sha256(canonical_json({"format": FORMAT, "inputs": inputs})).hexdigest()


def write_manifest(folder: Path, key: str, inputs: Mapping[str, Any]) -> None:
    """Write the manifest of the files in `folder`."""
    listing = {file.name: [file.stat().st_size, sha256_file(file)] for file in sorted(folder.iterdir())}
    body = {"format": FORMAT, "key": key, "inputs": inputs, "files": listing}
    (folder / MANIFEST).write_bytes(_manifest_bytes(body))


def verify_entry(path: Path) -> CacheEntry:
    """Read the entry at `path` and hash every file in it.

    Raises:
        FileNotFoundError: there is none.
        CorruptionError: a file is missing, or differs from what was written in a single bit.
        UserError: another user made it for themselves alone.
    """
    entry = read_manifest(path)
    with _readable(path):
        _check_files(entry)
    return entry


def _check_files(entry: CacheEntry) -> None:
    for name, (size, digest) in entry.files.items():
        file = entry.path / name
        if not file.is_file():
            raise CorruptionError(f"cache entry damaged: {file} is missing")
        if file.stat().st_size != size:
            raise CorruptionError(f"cache entry damaged: {file} has {file.stat().st_size} bytes, {size} were written")
        if sha256_file(file) != digest:
            raise CorruptionError(f"cache entry damaged: {file} is not what was written")


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"cannot read {error.filename}: it is another user's; let them give it to all with "
            f"chmod -R a+rX {path.parents[1]}, or choose another --cache-dir"
        ) from error


def read_manifest(path: Path) -> CacheEntry:
    """The entry at `path` as its manifest tells it, the other files unread.

    Raises:
        FileNotFoundError: there is no such folder.
        CorruptionError: the manifest is missing or damaged.
        UserError: another user made it for themselves alone.
    """
    file = path / MANIFEST
    damaged = CorruptionError(f"cache entry damaged: {file} is not what was written")
    try:
        with _readable(path):
            if not path.is_dir():
                raise FileNotFoundError(path)
            sealed = file.read_bytes()
        body = json.loads(sealed)["body"]
        if sealed != _manifest_bytes(body):
            raise damaged
        entry = CacheEntry(
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


def _manifest_bytes(body: Mapping[str, Any]) -> bytes:
    """A manifest that carries its own checksum, so that a flipped bit in it shows too."""
    return canonical_json({"body": body, "sha256": hashlib.sha256(canonical_json(body)).hexdigest()}) + b"\n"


__all__ = [
    "CacheEntry",
    "Notify",
    "cache_key",
    "canonical_json",
    "clear",
    "default_dir",
    "entries",
    "get_or_build",
    "locked",
    "read_cached",
    "size_bytes",
    "verify",
    "verify_entry",
]
KINDS = ("corpora", "sources")


def default_dir() -> Path:
    """`SENTUNE_CACHE` if it is set, else the platform's user cache folder; read at each call."""
    if chosen := os.environ.get("SENTUNE_CACHE"):
        return atomic.expand_user(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("sentune", appauthor=False))


def get_or_build(
    cache: Path, kind: str, inputs: Mapping[str, Any], fill: Callable[[Path], None], notify: Notify | None = None
) -> CacheEntry:
    """The checked entry of `inputs`; when it is absent or damaged, `fill(folder)` makes its files first.

    Of many callers one fills, the others wait and read. A damaged entry is named to `notify` and made anew.

    Raises:
        UserError: the disk is full, the cache folder cannot be written, or its owner keeps the entry to themselves.
    """
    path = cache / kind / cache_key(inputs)
    with contextlib.suppress(FileNotFoundError, CorruptionError):
        return verify_entry(path)
    with locked(cache, path.name, notify):
        try:
            return verify_entry(path)  # another process was faster
        except FileNotFoundError:
            pass
        except CorruptionError as damage:
            if notify:
                notify(f"{damage}; building it again")
        _build(path, inputs, fill)
        return verify_entry(path)


def read_cached(cache: Path, kind: str, inputs: Mapping[str, Any]) -> CacheEntry | None:
    """What the manifest says of the entry of `inputs`, its files unread; None when it is absent, damaged or another
    user's alone."""
    with contextlib.suppress(FileNotFoundError, UserError):
        return read_manifest(cache / kind / cache_key(inputs))
    return None


def entries(cache: Path) -> list[Path]:
    """The folders of all entries, whole or not, by kind and key."""
    return [path for path in _owned_paths(cache) if not path.name.startswith(".")]


def verify(cache: Path) -> dict[Path, str | None]:
    """Check every entry: None for a whole one, else what is wrong with it. Its next use builds it again."""
    found: dict[Path, str | None] = {}
    for path in entries(cache):
        try:
            verify_entry(path)
            found[path] = None
        except (UserError, FileNotFoundError) as damage:
            found[path] = str(damage)
    return found


def clear(cache: Path, notify: Notify | None = None) -> int:
    """Remove all entries, downloads under way and remembered hashes; the bytes that were freed.

    Waits for those who build. Only what this store made is touched, whatever folder it is in.

    Raises:
        UserError: the cache folder cannot be written.
    """
    freed = 0
    for path in _owned_paths(cache):
        key = path.name.removeprefix(".")[:64]
        with locked(cache, key, notify):
            freed += _remove(path) + _remove(path.parent / key)  # what a builder that was waited for has renamed
    return freed + sum(_remove(cache / name) for name in (".known", ".parts"))


def _owned_paths(cache: Path) -> list[Path]:
    """Entries, and with a dot in front what builders work on: whatever else lies beside them is not ours."""
    paths = (path for kind in KINDS for path in sorted((cache / kind).glob("*")))
    return [path for path in paths if re.match(r"[0-9a-f]{64}$|\.[0-9a-f]{64}\.", path.name) and path.is_dir()]


def size_bytes(path: Path) -> int:
    """Of all files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _remove(path: Path) -> int:
    if not path.exists():
        return 0
    freed = size_bytes(path)
    with atomic.os_errors_as_user_errors(path):
        shutil.rmtree(path)
    return freed


def _build(path: Path, inputs: Mapping[str, Any], fill: Callable[[Path], None]) -> None:
    for left_over in path.parent.glob(f".{path.name}.*"):  # of a builder that died: we hold its lock now
        shutil.rmtree(left_over, ignore_errors=True)
    with atomic.atomic_folder(path) as folder:
        fill(folder)
        write_manifest(folder, path.name, inputs)


@contextlib.contextmanager
def locked(cache: Path, name: str, notify: Notify | None = None) -> Iterator[None]:
    """Hold the lock `name` of this cache; the system frees it when the process dies.

    Raises:
        UserError: the cache folder cannot be written.
    """
    path = cache / ".locks" / f"{name}.lock"
    with atomic.os_errors_as_user_errors(cache):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            if notify:
                notify("another process is at work on the same data; waiting for it")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
