"""The content-keyed store: one writer, atomic, checksummed, memory-mapped.

An entry is a folder `KIND/KEY` of plain `.npy`, JSON and source files with a manifest. Its key is the sha256 of
everything that shapes its bytes, so the same key means the same bytes on any machine. It is filled in a temporary
folder under a lock, then renamed: a builder that dies leaves no entry, and the system frees its lock.

    corpora/KEY/    tokens.npy, offsets.npy, labels.npy, split.npy, vectors.npy, words.json, source.json
    sources/KEY/    files as they were fetched
    .locks/, .known/, .parts/   locks, remembered hashes of outside files, downloads under way
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from core.errors import CorruptionError, UserError
from core.io import atomic, entry
from core.io.entry import Entry, canonical, check, key_of

__all__ = [
    "Entry",
    "Notify",
    "canonical",
    "check",
    "clear",
    "default_dir",
    "entries",
    "key_of",
    "locked",
    "obtain",
    "peek",
    "size_bytes",
    "verify",
]

KINDS = ("corpora", "sources")

Notify = Callable[[str], None]
"""Told one line about what is going on."""


def default_dir() -> Path:
    """`SENTUNE_CACHE` if it is set, else the platform's user cache folder; read at each call."""
    if chosen := os.environ.get("SENTUNE_CACHE"):
        return atomic.expanded(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("sentune", appauthor=False))


def obtain(
    cache: Path, kind: str, inputs: Mapping[str, Any], fill: Callable[[Path], None], notify: Notify | None = None
) -> Entry:
    """The checked entry of `inputs`; when it is absent or damaged, `fill(folder)` makes its files first.

    Of many callers one fills, the others wait and read. A damaged entry is named to `notify` and made anew.

    Raises:
        UserError: the disk is full, the cache folder cannot be written, or its owner keeps the entry to themselves.
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


def peek(cache: Path, kind: str, inputs: Mapping[str, Any]) -> Entry | None:
    """What the manifest says of the entry of `inputs`, its files unread; None when it is absent, damaged or another
    user's alone."""
    with contextlib.suppress(FileNotFoundError, UserError):
        return entry.read_manifest(cache / kind / key_of(inputs))
    return None


def entries(cache: Path) -> list[Path]:
    """The folders of all entries, whole or not, by kind and key."""
    return [path for path in _ours(cache) if not path.name.startswith(".")]


def verify(cache: Path) -> dict[Path, str | None]:
    """Check every entry: None for a whole one, else what is wrong with it. Its next use builds it again."""
    found: dict[Path, str | None] = {}
    for path in entries(cache):
        try:
            check(path)
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
    for path in _ours(cache):
        key = path.name.removeprefix(".")[:64]
        with locked(cache, key, notify):
            freed += _remove(path) + _remove(path.parent / key)  # what a builder that was waited for has renamed
    return freed + sum(_remove(cache / name) for name in (".known", ".parts"))


def _ours(cache: Path) -> list[Path]:
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
    with atomic.readable_os_errors(path):
        shutil.rmtree(path)
    return freed


def _build(path: Path, inputs: Mapping[str, Any], fill: Callable[[Path], None]) -> None:
    for left_over in path.parent.glob(f".{path.name}.*"):  # of a builder that died: we hold its lock now
        shutil.rmtree(left_over, ignore_errors=True)
    with atomic.new_folder(path) as folder:
        fill(folder)
        entry.seal(folder, path.name, inputs)


@contextlib.contextmanager
def locked(cache: Path, name: str, notify: Notify | None = None) -> Iterator[None]:
    """Hold the lock `name` of this cache; the system frees it when the process dies.

    Raises:
        UserError: the cache folder cannot be written.
    """
    path = cache / ".locks" / f"{name}.lock"
    with atomic.readable_os_errors(cache):
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
