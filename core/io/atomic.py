"""Write files and folders atomically: temporary name, fsync, rename."""

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from core.errors import ConfigError, UserError
from core.io.text import quoted

_HERE = -100
"""AT_FDCWD: paths are relative to the working directory."""
_EXCHANGE = 2
"""RENAME_EXCHANGE of Linux's renameat2, and RENAME_SWAP of macOS's renamex_np."""


def swap_paths(one: Path, other: Path) -> bool:
    """Swap the names of two existing paths of one file system.

    Returns:
        False if the system or the file system cannot do it; then nothing has changed.
    """
    libc = ctypes.CDLL(None)
    first, second = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "darwin":
            failed = libc.renamex_np(first, second, ctypes.c_uint(_EXCHANGE))
        else:
            failed = libc.renameat2(_HERE, first, _HERE, second, ctypes.c_uint(_EXCHANGE))
    except AttributeError:  # an older C library
        return False
    return bool(failed == 0)


def expand_user(path: str) -> Path:
    """Return a path with `~` replaced.

    Raises:
        ConfigError: there is no such user, or no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"cannot tell which folder {quoted(path)} begins with: write it out") from error


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path`: after a crash, the file has its old or its new content, never a part.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    with os_errors_as_user_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            apply_umask(Path(name))
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; if the block succeeds, the folder replaces `path`.

    If the block fails, nothing changes.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    with os_errors_as_user_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield work
            for file in work.rglob("*"):
                _sync(file)
            _sync(work)
            apply_umask(work)
            if not path.exists():
                work.replace(path)
            elif swap_paths(work, path):
                shutil.rmtree(work)
            else:  # two steps: a kill between them leaves the old folder under its other name
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
                path.replace(old)
                work.replace(path)
                shutil.rmtree(old)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        _sync(path.parent)


@contextlib.contextmanager
def os_errors_as_user_errors(path: Path) -> Iterator[None]:
    """Raise a UserError of one line for what the user can fix: full disk, no permission, read-only."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full; free some space and run the same command again",
            errno.EDQUOT: "your disk quota is used up; free some space and run the same command again",
            errno.EACCES: "permission denied; choose a folder that you may write to",
            errno.EPERM: "permission denied; choose a folder that you may write to",
            errno.EROFS: "the file system is read-only; choose a folder that you may write to",
            errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
            errno.EEXIST: "a file is in the way; choose another path",
            errno.EISDIR: "a folder is in the way; choose another path",
            errno.EBUSY: "it is in use; choose another path",
            errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
        }
        if error.errno == errno.ENOENT and Path(str(error.filename)) in (path, *path.parents):
            reasons[errno.ENOENT] = "its folder cannot be made; choose another path"
        if error.errno not in reasons:
            raise
        raise UserError(f"cannot write {path}: {reasons[error.errno]}") from error


def apply_umask(path: Path) -> None:
    """Give a file or folder that only its owner may access the permissions that the umask allows."""
    current = os.umask(0)
    os.umask(current)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~current)


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
