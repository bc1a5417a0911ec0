"""Folders of ours that are written whole, with the digest of every file, and never replace anything else."""

import json
import os
import re
import shutil
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UserError
from core.io.atomic import apply_umask, atomic_folder, os_errors_as_user_errors, sha256_file

if TYPE_CHECKING:
    from torch import Tensor

CHECKSUMS = "SHA256SUMS"
"""Digests of the other files; `sha256sum -c SHA256SUMS` checks them too."""
STALE_SECONDS = 60
"""A save takes a second or two: what nobody has touched for so long, nobody will finish."""


def write_checked_folder(path: Path, contents: Mapping[str, "bytes | Mapping[str, Tensor]"]) -> None:
    """Write a folder of these files and CHECKSUMS; it is there whole or not at all, and replaces what was at `path`.

    Args:
        path: the folder.
        contents: of each file by its name: bytes as they are, or tensors on the CPU by name, written as safetensors.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    with atomic_folder(path) as folder:
        for name, content in contents.items():
            if isinstance(content, bytes):
                (folder / name).write_bytes(content)
            else:
                _write_tensors(folder / name, content)
        (folder / CHECKSUMS).write_bytes(checksum_lines(folder, contents).encode())


def checksum_lines(folder: Path, names: Iterable[str]) -> str:
    """What CHECKSUMS says where it holds: a line a file.

    Raises:
        OSError: one of them is not there, or cannot be read.
    """
    return "".join(f"{sha256_file(folder / name)}  {name}\n" for name in names)


def _write_tensors(path: Path, tensors: "Mapping[str, Tensor]") -> None:
    """From where they lie: a copy of 86 MB in bytes first takes as long again as writing them does."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        reason = re.search(r"\b(?:os error|code:) (\d+)", str(error))  # it has no errno
        if reason is None:
            raise
        raise OSError(int(reason[1]), os.strerror(int(reason[1])), str(path)) from error
    apply_umask(path)  # newer ones write a file of the owner's alone


def check_output_folder(path: Path, files: Sequence[str], kind: str) -> Path:
    """Find out before the work whether a folder of ours may be written at `path`.

    Args:
        path: where.
        files: all that a folder of this kind holds, CHECKSUMS apart.
        kind: what it is called, such as "saved model".

    Returns:
        `path` without symbolic links, so that a link to a folder stays a link.

    Raises:
        UserError: something that is not of this kind, and nothing else, is there.
    """
    word = kind.split()[-1]
    with os_errors_as_user_errors(path):
        target = path.resolve()
        if not target.exists():
            return target
        if not target.is_dir():
            raise UserError(f"{path} is a file: choose another folder for the {word}")
        found = {each.name for each in target.iterdir()}
    foreign = sorted(found - {*files, CHECKSUMS})
    if found and CHECKSUMS not in found:
        foreign = sorted(found)
    if foreign:
        raise UserError(
            f"{path} holds something that is no {kind} ({foreign[0]!r}) and is not replaced: "
            "choose another folder, or empty this one"
        )
    return target


def remove_partial_writes(target: Path, files: Collection[str]) -> None:
    """Remove the hidden folders that `write_checked_folder` made beside `target` and did not live to rename.

    A folder goes only if it has a name that `atomic_folder` gives, holds nothing but these files, and has been
    left alone for a minute: another process may be saving there at this moment.
    """
    name = re.compile(rf"\.{re.escape(target.name)}\.(old\.)?[a-z0-9_]{{8}}")
    if not target.parent.is_dir():
        return
    for folder in target.parent.iterdir():
        if name.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink() and _is_stale(folder, files):
            shutil.rmtree(folder, ignore_errors=True)


def _is_stale(folder: Path, files: Collection[str]) -> bool:
    try:
        held = list(folder.iterdir())
        newest = max(path.stat().st_mtime for path in (folder, *held))
    except FileNotFoundError:  # somebody renames it at this moment
        return False
    return {path.name for path in held} <= {*files, CHECKSUMS} and time.time() - newest > STALE_SECONDS


def canonical_json(value: Any) -> bytes:
    """The one JSON form of `value`: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
