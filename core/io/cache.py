"""The cache: keyed by content, with one writer, atomic writes, checksums and memory maps.

An entry is a folder `KIND/KEY` of plain `.npy`, JSON and source files with a manifest. Its key is the sha256 of
everything that determines its bytes, so the same key means the same bytes on any machine. A builder fills it in a
temporary folder under a lock, then renames it. A builder that dies leaves no entry, and the system frees its lock.

    corpora/KEY/    tokens.npy, offsets.npy, labels.npy, split.npy, words.json, source.json; optional vectors.npy,
                    folds.npy, targets.npy
    sources/KEY/    files as they were downloaded
    .locks/, .known/, .parts/   locks, remembered results of core.io.file_hash, unfinished downloads
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from core.errors import CorruptionError, UserError
from core.io import atomic
from core.io.atomic import read_regular, sha256_file
from core.io.checked_folder import canonical_json, remove_partial_writes, verify_files
from core.io.text import Notify, printable

FORMATS = {"corpora": 6, "sources": 5}
"""Version of the entries of each kind; raise it when the same inputs result in other bytes. The sources are downloads
of up to 1.5 GB."""
MANIFEST = "manifest.json"
OTHER_CACHE = " (pass --cache-dir, or set SENTUNE_CACHE)"
_NO_FILE = (errno.EISDIR, errno.EINVAL, errno.ELOOP)
"""Errors of `open_regular` for a folder, a pipe or a device, and a circle of links."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheEntry:
    """A complete entry on disk."""

    path: Path
    key: str
    format: int
    """Version of the entry; it is used only if this is that of FORMATS."""
    inputs: Mapping[str, Any]
    """Inputs from which the key is computed."""
    files: Mapping[str, str]
    """File name to sha256 (hex)."""


def cache_key(inputs: Mapping[str, Any], kind: str = "corpora") -> str:
    """Return the sha256 (hex) of the canonical JSON of `inputs` and the format version of the kind."""
    return hashlib.sha256(canonical_json({"format": FORMATS[kind], "inputs": inputs})).hexdigest()


def verify_entry(path: Path) -> CacheEntry:
    """Read the entry at `path` and hash every file in it.

    Raises:
        FileNotFoundError: There is none.
        CorruptionError: A file is missing or differs from what was written.
        UserError: This user may not read it.
    """
    entry = read_manifest(path)
    with _readable(path.parents[1]):
        try:
            verify_files(path, entry.files)
        except CorruptionError as error:
            raise CorruptionError(f"cache entry damaged: {path}{os.sep}{error}") from None
    return entry


@contextlib.contextmanager
def removals_as_user_errors() -> Iterator[None]:
    """Raise a UserError of one line if another process removes a verified entry before the block has read it."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} was removed meanwhile; run the same command again") from error


@contextlib.contextmanager
def _readable(cache: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"cannot read {error.filename} (permission denied); choose another --cache-dir, or let its owner run "
            f"chmod -R a+rX {shlex.quote(str(cache))}"
        ) from error
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        raise CorruptionError(f"cache entry damaged: {error.filename} has changed since it was written") from None


def read_manifest(path: Path) -> CacheEntry:
    """Return the entry at `path` as its manifest describes it, without reading the other files.

    Raises:
        FileNotFoundError: There is no such folder.
        CorruptionError: The manifest is missing or damaged.
        UserError: This user may not read it.
    """
    file = path / MANIFEST
    damaged = CorruptionError(f"cache entry damaged: {file} has changed since it was written")
    try:
        with _readable(path.parents[1]):
            written = read_regular(file)
        body = json.loads(written)["body"]
        if written != _manifest_bytes(body) or body["key"] != path.name:
            raise damaged
        return CacheEntry(
            path=path,
            key=body["key"],
            format=body["format"],
            inputs=body["inputs"],
            files={name: digest for name, (_, digest) in body["files"].items()},
        )
    except (FileNotFoundError, NotADirectoryError):
        if not path.is_dir():
            raise FileNotFoundError(path) from None
        raise CorruptionError(f"cache entry damaged: {file} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise damaged from None


def _manifest_bytes(body: Mapping[str, Any]) -> bytes:
    """Return a manifest with its own checksum, which detects damage of the manifest itself."""
    return canonical_json({"body": body, "sha256": hashlib.sha256(canonical_json(body)).hexdigest()}) + b"\n"


def default_dir() -> Path:
    """Return `SENTUNE_CACHE` if it is set, else the platform's user cache folder."""
    if chosen := os.environ.get("SENTUNE_CACHE"):
        return atomic.expand_user(chosen)
    import platformdirs

    return atomic.expand_user(platformdirs.user_cache_dir("sentune", appauthor=False))  # older versions may leave `~`


def get_or_build(
    cache: Path, kind: str, inputs: Mapping[str, Any], fill: Callable[[Path], None], notify: Notify | None = None
) -> CacheEntry:
    """Return the verified entry of `inputs`; if it is absent or damaged, `fill(folder)` writes its files first.

    Of several processes, one fills the entry; the others wait and read it. `notify` is called for a damaged entry.

    Raises:
        UserError: The disk is full, the cache folder cannot be written, or this user may not read the entry.
    """
    path = cache / kind / cache_key(inputs, kind)
    with contextlib.suppress(FileNotFoundError, CorruptionError):
        return verify_entry(path)
    with locked(cache, path.name, notify, advice=OTHER_CACHE):
        try:
            return verify_entry(path)  # another process was faster
        except FileNotFoundError:
            pass
        except CorruptionError as damage:
            if notify:
                notify(printable(f"{damage}; building it again"))
        remove_partial_writes(path.parent, path.name, older_than=0)  # the lock is held, so their builder has died
        with atomic.atomic_folder(path) as folder:
            fill(folder)
            listing = {file.name: [file.stat().st_size, sha256_file(file)] for file in sorted(folder.iterdir())}
            body = {"format": FORMATS[kind], "key": path.name, "inputs": inputs, "files": listing}
            (folder / MANIFEST).write_bytes(_manifest_bytes(body))
        return read_manifest(path)


def read_cached(cache: Path, kind: str, inputs: Mapping[str, Any]) -> CacheEntry | None:
    """Return the entry of `inputs` without reading its files; None if it is absent, damaged or unreadable."""
    with contextlib.suppress(FileNotFoundError, UserError):
        return read_manifest(cache / kind / cache_key(inputs, kind))
    return None


def entries(cache: Path) -> list[Path]:
    """Return the folders of all entries, complete or not, by kind and key."""
    return [path for path in _owned_paths(cache) if not path.name.startswith(".")]


def unfinished_bytes(cache: Path) -> int:
    """Return the number of bytes of unfinished downloads and entries."""
    hidden = [path for path in _owned_paths(cache) if path.name.startswith(".")]
    return sum(map(size_bytes, (*hidden, cache / ".parts")))


def verify(cache: Path) -> dict[Path, str | None]:
    """Verify every entry: None for a complete one, else what is wrong with it. The next use builds it again."""
    found: dict[Path, str | None] = {}
    for path in entries(cache):
        try:
            verify_entry(path)
            found[path] = None
        except (UserError, FileNotFoundError) as damage:
            found[path] = str(damage)
    return found


def clear(cache: Path, notify: Notify | None = None) -> int:
    """Remove all entries, unfinished downloads and remembered digests; return the number of bytes freed.

    It waits for running builders, and removes only what the cache has written. If a builder starts meanwhile, the
    unfinished downloads stay, because it may write one of them.

    Raises:
        UserError: The cache folder cannot be written.
    """
    freed = 0
    for path in _owned_paths(cache):
        key = path.name.removeprefix(".")[:64]
        with locked(cache, key, notify, advice=OTHER_CACHE):
            freed += _remove(path) + _remove(path.parent / key)  # the second one if a builder has just renamed it
    downloads = () if any(path.name.startswith(".") for path in _owned_paths(cache)) else (".parts",)
    return freed + sum(_remove(cache / name) for name in (".known", *downloads))


def _owned_paths(cache: Path) -> list[Path]:
    """Return entries and the hidden folders that builders fill, but no other files next to them."""
    paths: list[Path] = []
    with _readable(cache):
        for kind in FORMATS:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                paths += sorted((cache / kind).iterdir())
    return [path for path in paths if re.match(r"[0-9a-f]{64}$|\.[0-9a-f]{64}\.", path.name) and path.is_dir()]


def size_bytes(path: Path) -> int:
    """Return the number of bytes of all files in a folder, from which another process may remove some meanwhile."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(folder, name).lstat().st_size
    return total


def _remove(path: Path) -> int:
    if path.is_symlink():  # others may use the folder that it points to
        path.unlink(missing_ok=True)
        return 0
    freed = size_bytes(path)
    shutil.rmtree(path, ignore_errors=True)  # another process may remove a file meanwhile
    if path.exists():
        with atomic.os_errors_as_user_errors(path):
            shutil.rmtree(path)
    return freed


@contextlib.contextmanager
def locked(folder: Path, name: str, notify: Notify | None = None, *, advice: str = "") -> Iterator[None]:
    """Hold the lock `name` of a folder; the system frees it when the process dies.

    Args:
        folder: Cache, or another folder that processes share.
        name: Name of the lock.
        notify: Called with a line if another process has the lock.
        advice: How to choose another folder, for the message if this one may not be written.

    Raises:
        UserError: The folder cannot be written.
    """
    path = folder / ".locks" / f"{name}.lock"
    try:
        with atomic.os_errors_as_user_errors(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(path, fallback_to_soft=False)  # a lock that is a file would outlive its process
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                if notify:
                    notify("another process prepares the same data; waiting for it")
                lock.acquire()
    except UserError as error:
        if getattr(error.__cause__, "errno", None) not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise UserError(f"{error}{advice}") from error.__cause__
    try:
        yield
    finally:
        lock.release()
