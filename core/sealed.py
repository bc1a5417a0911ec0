"""Folders of ours that are written whole, with the digest of every file, and never replace anything else."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.errors import UserError
from core.files import new_folder, readable_os_errors

SUMS = "SHA256SUMS"
"""Digests of the other files; `sha256sum -c SHA256SUMS` checks them too."""


def write_sealed(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a folder of these files and SUMS; it is there whole or not at all, and replaces what was at `path`.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items())
    with new_folder(path) as folder:
        for name, data in {**contents, SUMS: sums.encode()}.items():
            (folder / name).write_bytes(data)


def target_for(path: Path, files: Sequence[str], kind: str) -> Path:
    """Find out before the work whether a folder of ours may be written at `path`.

    Args:
        path: where.
        files: all that a folder of this kind holds, SUMS apart.
        kind: what it is called, such as "saved model".

    Returns:
        `path` without symbolic links, so that a link to a folder stays a link.

    Raises:
        UserError: something that is not of this kind, and nothing else, is there.
    """
    word = kind.split()[-1]
    with readable_os_errors(path):
        target = path.resolve()
        if not target.exists():
            return target
        if not target.is_dir():
            raise UserError(f"{path} is a file: choose another folder for the {word}")
        found = {each.name for each in target.iterdir()}
    foreign = sorted(found - {*files, SUMS})
    if found and SUMS not in found:
        foreign = sorted(found)
    if foreign:
        raise UserError(
            f"{path} holds something that is no {kind} ({foreign[0]!r}) and is not replaced: "
            "choose another folder, or empty this one"
        )
    return target
