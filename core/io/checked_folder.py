"""Checked folders: written as a whole, with the digest of every file; they replace only folders of their kind."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import CorruptionError, UserError
from core.io.atomic import (
    atomic_folder,
    check_parent,
    is_mount_point,
    open_regular,
    os_errors_as_user_errors,
    read_regular,
    sha256_file,
)

if TYPE_CHECKING:
    from torch import Tensor

CHECKSUMS = "SHA256SUMS"
"""File with the digests of the other files; `sha256sum -c SHA256SUMS` reads it."""
_FINDER = ".DS_Store"
"""File that macOS adds to a folder."""
MAX_CHECKSUMS = 2**20
"""Bytes of CHECKSUMS that are read: those of 10,000 files."""
STALE_SECONDS = 3600
"""Age of a partial folder that no process will finish: a write takes seconds, on a slow network disk minutes."""
_SAVED = f"saved (its sha256 is not the one in {CHECKSUMS})"


def write_checked_folder(path: Path, contents: Mapping[str, "bytes | Mapping[str, Tensor]"]) -> None:
    """Write a folder of these files and CHECKSUMS, as a whole or not at all; it replaces the folder at `path`.

    Args:
        path: The folder.
        contents: File name to bytes, or to tensors on the CPU by name, which are written as safetensors.

    Raises:
        UserError: The disk is full, or the folder cannot be written.
    """
    with atomic_folder(path) as folder:
        for name, content in contents.items():
            if isinstance(content, bytes):
                (folder / name).write_bytes(content)
            else:
                _write_tensors(folder / name, content)
        sums = "".join(f"{sha256_file(folder / name)}  {name}\n" for name in contents)
        (folder / CHECKSUMS).write_bytes(sums.encode())


def replace_checked_folder(
    path: Path, contents: Mapping[str, "bytes | Mapping[str, Tensor]"], files: Sequence[str]
) -> None:
    """Write as `write_checked_folder` does, and remove what killed writes of this folder have left.

    Before the write it is removed only if there is a folder: else a copy of the old one may be all that is left of it.

    Args:
        path, contents: As in `write_checked_folder`.
        files: As in `remove_partial_writes`.
    """
    if path.exists():
        remove_partial_writes(path.parent, re.escape(path.name), files=files)
    write_checked_folder(path, contents)
    remove_partial_writes(path.parent, re.escape(path.name), files=files)


def _write_tensors(path: Path, tensors: "Mapping[str, Tensor]") -> None:
    """Write tensors from their own memory: copying 86 MB to bytes first takes as long as writing them."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        reason = re.search(r"\b(?:os error|code:) (\d+)", str(error))  # it has no errno
        if reason is None:
            raise
        raise OSError(int(reason[1]), os.strerror(int(reason[1])), str(path)) from error
    # Newer versions of safetensors write a file that only its owner may read.
    with contextlib.suppress(PermissionError):  # on a network disk the files may belong to another user
        path.chmod(path.parent.stat().st_mode & 0o666)


def check_output_folder(path: Path, files: Sequence[str], kind: str) -> Path:
    """Check before the work that a folder may be written at `path`.

    Args:
        path: The folder to write.
        files: Names of all files in a folder of this kind, except CHECKSUMS; also patterns such as `part-*.json`.
        kind: Name of the kind for messages, such as "saved model".

    Returns:
        `path` without symbolic links, so that a link to a folder remains a link.

    Raises:
        UserError: `path` is a file, a folder with other contents, a mount point, the working folder, in a folder of
            such a kind, or in no folder that can be written.
    """
    word = kind.split()[-1]
    with os_errors_as_user_errors(path):
        target = Path(os.path.realpath(path))
        if is_mount_point(target) and target.is_dir():  # first: the folder around a volume may be read-only
            advice = f"choose a folder in it, such as {path / word}"
            raise UserError(f"{path} is a mount point, which cannot be replaced as a whole; {advice}")
        check_parent(target)
        if (target.parent / CHECKSUMS).exists():  # also the name of lists of other files
            around = {each.name for each in target.parent.iterdir()} - {target.name, CHECKSUMS, _FINDER}
            if around and not _foreign(around, files):
                raise UserError(f"{path} is in the folder of a saved {word}; choose another folder")
        try:
            target.stat()
        except FileNotFoundError:
            return target
        if not target.is_dir():
            raise UserError(f"{path} is a file; choose another folder for the {word}")
        if target.samefile("."):  # the command and its shell would be in a folder that is gone
            advice = f"choose a folder in it, such as {path / word}"
            raise UserError(f"{path} is the working folder, which cannot be replaced as a whole; {advice}")
        found = {each.name for each in target.iterdir()} - {_FINDER}
    foreign = _foreign(found, files)
    if foreign or (found and CHECKSUMS not in found):
        why = f"contains {foreign[0]!r}" if foreign else f"lacks {CHECKSUMS}"
        raise UserError(
            f"{path} is no {kind}, because it {why}, so it is not replaced; choose another folder, or empty this one"
        )
    return target


def _foreign(names: Iterable[str], files: Sequence[str]) -> list[str]:
    """Return the names that match none of the patterns, without CHECKSUMS, in order."""
    return sorted(name for name in names if not any(fnmatchcase(name, each) for each in (*files, CHECKSUMS)))


def remove_partial_writes(
    parent: Path, name: str, *, files: Sequence[str] | None = None, older_than: float = STALE_SECONDS
) -> None:
    """Remove the hidden folders in `parent` that `atomic_folder` filled and could not rename.

    Args:
        parent: Folder of the final folder; it need not exist.
        name: Regular expression of the final folder's name.
        files: Names or patterns of all files in such a folder, except CHECKSUMS; a folder with others is kept.
            None to remove any.
        older_than: Seconds without a change after which a folder is removed; another process may still be writing.
            0 to remove all, also if the clock was set back.
    """
    hidden = re.compile(rf"\.(?:{name})\.(old\.)?[a-z0-9_]{{8}}")
    try:
        folders = list(parent.iterdir())
    except OSError:  # there is no such folder, or it may not be listed
        return
    for folder in folders:
        if not hidden.fullmatch(folder.name) or not folder.is_dir() or folder.is_symlink():
            continue
        try:
            held = list(folder.iterdir())
            age = time.time() - max(path.stat().st_mtime for path in (folder, *held))
        except OSError:  # another process has just renamed it, or another user writes it
            continue
        stale = age >= older_than or not older_than
        if stale and (files is None or not _foreign((path.name for path in held), files)):
            shutil.rmtree(folder, ignore_errors=True)


def verify_files(folder: Path, expected: Mapping[str, str], written: str = "written") -> None:
    """Compare files with their recorded digests.

    Args:
        folder: Folder of the files.
        expected: Name to sha256 (hex).
        written: Participle for the error.

    Raises:
        CorruptionError: A file is missing or differs; the message begins with its name.
        OSError: A file cannot be read.
    """
    for name, digest in expected.items():
        try:
            found = sha256_file(folder / name)
        except FileNotFoundError:
            raise CorruptionError(f"{name} is missing") from None
        if found != digest:
            raise CorruptionError(f"{name} has changed since it was {written}")


def verify_checksums(folder: Path, names: Sequence[str]) -> None:
    """Compare the files of `write_checked_folder` with CHECKSUMS.

    Args:
        folder: Folder of the files.
        names: Names of the files, all of which CHECKSUMS must list.

    Raises:
        CorruptionError: A file is missing, unreadable or different; the message begins with its name.
    """
    with _os_errors_as_corruption(folder):
        verify_files(folder, _read_checksums(folder, names), _SAVED)


def read_checked_files(
    folder: Path, names: Sequence[str], optional: Sequence[str], parse: Callable[[str, bytes], Any]
) -> tuple[dict[str, str], dict[str, Any]]:
    """Read the files of `write_checked_folder`, one after the other; the bytes that are used are those that are hashed.

    Args:
        folder: Folder of the files.
        names: Names of files that CHECKSUMS must list.
        optional: Names or patterns of further files that it may list.
        parse: Called with the name and the bytes of each file.

    Returns:
        The digest of each file by its name, in the order of CHECKSUMS, and what `parse` has returned for it.

    Raises:
        CorruptionError: A file is missing, unreadable or different; the message begins with its name.
    """
    with _os_errors_as_corruption(folder):
        sums = _read_checksums(folder, names, optional)
    return sums, {name: parse(name, _read_verified(folder / name, digest)) for name, digest in sums.items()}


def _read_checksums(folder: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, str]:
    """Return the digests in CHECKSUMS by name. The arguments are those of `read_checked_files`."""
    with open_regular(folder / CHECKSUMS) as file:
        text = file.read(MAX_CHECKSUMS).decode(errors="replace")
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}
    further = [name for name in sums if name not in names]
    complete = len(further) + len(names) == len(sums) and text.endswith("\n")
    if not complete or _foreign(further, optional) or any("/" in name for name in sums):
        raise CorruptionError(f"{CHECKSUMS} has changed since it was saved")
    return sums


def _read_verified(path: Path, digest: str) -> bytes:
    with _os_errors_as_corruption(path):
        data = read_regular(path)
    if hashlib.sha256(data).hexdigest() != digest:
        raise CorruptionError(f"{path.name} has changed since it was {_SAVED}")
    return data


@contextlib.contextmanager
def _os_errors_as_corruption(path: Path) -> Iterator[None]:
    """Raise CorruptionError for a file at or below `path` that cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise CorruptionError(f"{Path(error.filename).name} is missing") from None
    except OSError as error:
        raise CorruptionError(f"{Path(error.filename or path).name} cannot be read ({error.strerror})") from error


def canonical_json(value: Any) -> bytes:
    """Return the one JSON form of `value`: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def readable_json(value: Any) -> bytes:
    """Return JSON of one item per line, without NaN.

    It is ASCII, because a word from a damaged text file may contain half a surrogate pair, which UTF-8 cannot encode.
    """
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
