"""Write files and folders atomically (temporary name, fsync, rename); expand, check and open paths; their errors."""

import contextlib
import ctypes
import errno
import hashlib
import io
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from core.errors import ConfigError, UserError
from core.io.text import printable, quoted

_HERE = -100
"""AT_FDCWD: paths are relative to the working directory."""
_EXCHANGE = 2
"""RENAME_EXCHANGE of Linux's renameat2, and RENAME_SWAP of macOS's renamex_np."""
MOUNTS = Path("/proc/self/mountinfo")
"""Where Linux lists all mount points; os.path.ismount misses those of a folder of the same file system."""
STEP_SECONDS = 0.1
"""Time in seconds that a reader waits for a folder that is replaced in two steps, which takes milliseconds."""


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
        ConfigError: There is no such user, or no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"cannot find the home folder of {quoted(path)}; pass the whole path") from error


def check_parent(path: Path) -> None:
    """Check before the work that a path which the user gave can be written: a temporary folder next to it is made.

    Raises:
        UserError: The folder does not exist, which is a typing error, or it cannot be written; or the name is too long.
    """
    target = Path(os.path.realpath(path))
    parent = target.parent
    with os_errors_as_user_errors(path):
        try:
            parent.stat()
        except FileNotFoundError:
            missing = f"{quoted(str(path), None)} is in no folder that exists: create {quoted(str(parent), None)} first"
            raise UserError(missing) from None
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.old.", dir=parent):
            pass


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path`. After a crash, the file has its old or its new content, never a part.

    Raises:
        UserError: As `atomic_file`.
    """
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file to write; if the block succeeds, it replaces the file at `path`, else nothing changes.

    A link remains a link. Anything but a regular file, such as /dev/null, is not replaced.

    Raises:
        UserError: The disk is full, or the folder cannot be written.
    """
    with os_errors_as_user_errors(path):
        path = Path(os.path.realpath(path))
        if path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(f"cannot write {path}: a device or a pipe is in the way; choose another path")
        path.parent.mkdir(parents=True, exist_ok=True)
        work = _temporary(path)
        handle = os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            work.replace(path)
        except BaseException:
            work.unlink(missing_ok=True)
            raise
        _sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; if the block succeeds, it replaces the folder at `path`, else nothing changes.

    A link is replaced, and the folder that it points to stays as it is: a study from elsewhere may have one. A file is
    not replaced.

    Raises:
        UserError: The disk is full, or the folder cannot be written.
    """
    with os_errors_as_user_errors(path):
        path = Path(os.path.realpath(path.parent), path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        work = _temporary(path)
        work.mkdir()
        try:
            yield work
            for file in work.rglob("*"):
                _sync(file)
            _sync(work)
            if path.is_symlink():
                path.unlink()
            _replace_folder(work, path)
        finally:  # after a success it is the old folder, which another process may have open or remove too
            shutil.rmtree(work, ignore_errors=True)
        _sync(path.parent)


def _temporary(path: Path) -> Path:
    """Return a new hidden name next to `path`; unlike those of tempfile, what it names gets the usual permissions."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _replace_folder(work: Path, path: Path) -> None:
    """Rename a folder to `path`; the folder that was there gets the other name, or is removed."""
    try:
        work.replace(path)  # no folder, or an empty one
    except OSError as error:
        full = (errno.ENOTEMPTY, errno.EEXIST, errno.EPERM, errno.EACCES)  # the last two: sshfs, CIFS
        if error.errno not in full or not path.is_dir():
            raise
        if not swap_paths(work, path):  # two steps: a kill between them leaves the old folder under its temporary name
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            try:
                path.replace(old)
            except OSError as reason:
                if reason.errno != errno.EXDEV:
                    old.rmdir()
                    raise
                shutil.copytree(path, old, symlinks=True, dirs_exist_ok=True)  # overlayfs: a folder of a Docker image
                shutil.rmtree(path)
            try:
                work.replace(path)
            except BaseException:
                old.replace(path)
                raise
            shutil.rmtree(old, ignore_errors=True)


PATH_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "your disk quota is used up; free some space and run the same command again",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "its symbolic links form a circle; choose another path",
    errno.EFBIG: "the file is larger than the file system or `ulimit -f` allows; choose another disk",
    **dict.fromkeys(
        (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP),  # the last two differ on macOS
        "the file system has no locks; choose a folder on another disk",
    ),
}
"""Errors that have the same cause and remedy wherever a path is used."""


@contextlib.contextmanager
def os_errors_as_user_errors(path: Path) -> Iterator[None]:
    """Raise a UserError of one line for an error that the user can fix: full disk, no permission, read-only."""
    try:
        yield
    except OSError as error:
        reasons = {
            **PATH_REASONS,
            **dict.fromkeys((errno.EACCES, errno.EPERM), "permission denied; choose a folder that you may write to"),
            errno.EROFS: "the file system is read-only; choose a folder that you may write to",
            errno.EEXIST: "a file is in the way; choose another path",
            errno.EISDIR: "a folder is in the way; choose another path",
            errno.EBUSY: "it is a mount point or in use; choose another path",
        }
        if error.errno == errno.ENOENT and _concerns(Path(str(error.filename)).absolute(), path.absolute()):
            reasons[errno.ENOENT] = "its folder cannot be made, or takes no files; choose another path"
        if error.errno not in reasons:
            raise
        if isinstance(error.filename, str) and not _concerns(Path(error.filename).absolute(), path.absolute()):
            raise UserError(
                f"{printable(error.filename)}: {str(error.strerror).lower()}; fix this and run the same command again"
            ) from error
        raise UserError(f"cannot write {path}: {reasons[error.errno]}") from error


def _concerns(used: Path, path: Path) -> bool:
    """Return whether `used` is on the way to `path`, below it, or a temporary file or folder of this module for it."""
    target = Path(os.path.realpath(path))
    on_the_way = used in (path, *path.parents, target, *target.parents)
    below = not {path, target}.isdisjoint(used.parents)
    return on_the_way or below or any(part.startswith(f".{target.name}.") for part in used.parts)


def file_mode(path: Path) -> int:
    """Return the type and permissions of the file at `path`, as `os.stat` does; 0 if it is absent or inaccessible.

    Unlike `Path.is_dir`, it raises no error for a name that is too long or a folder that may not be entered.
    """
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def folder_rule(path: Path) -> tuple[object, str, bool]:
    """Return the rule for `check_rules` that a path is that of a folder, or of nothing yet."""
    mode = file_mode(path)
    return str(path), "a folder, or a new one", not mode or stat.S_ISDIR(mode)


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at `path`, also while `atomic_folder` replaces it in two steps."""
    if stat.S_ISDIR(file_mode(path)):
        return True
    with contextlib.suppress(OSError, ValueError):
        target = Path(os.path.realpath(path))
        if any(each.name.startswith(f".{target.name}.old.") for each in target.parent.iterdir()):
            time.sleep(STEP_SECONDS)
    return stat.S_ISDIR(file_mode(path))


def is_mount_point(path: Path) -> bool:
    """Return whether something is mounted at a path without symbolic links; such a folder cannot be replaced."""
    try:
        lines = MOUNTS.read_bytes().splitlines()
    except OSError:
        return os.path.ismount(path)
    points = (line.split(b" ")[4] for line in lines)
    return os.fsencode(path) in (re.sub(rb"\\(\d{3})", lambda code: bytes([int(code[1], 8)]), each) for each in points)


def open_regular(path: Path, *, pipes: bool = False) -> io.BufferedReader:
    """Open a regular file for reading, or with `pipes` a named pipe.

    To read a pipe can block forever, and a device can yield bytes without end.

    Raises:
        OSError: It is not there, is no regular file, or cannot be read.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a null byte, or half a surrogate pair
        raise OSError(errno.ENOENT, "no file can have this name", str(path)) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or (pipes and stat.S_ISFIFO(mode))):
        raise OSError(errno.EINVAL, "it is a pipe, a device or a socket", str(path))
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        OSError: as `open_regular`.
    """
    with open_regular(path) as file:
        return file.read()


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex.

    Raises:
        OSError: The file is absent, is no regular file, or cannot be read.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Write a file or folder to the disk, unless the file system can sync no folders or the folder cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EBADF, errno.EINVAL) or not path.is_dir():
            raise
