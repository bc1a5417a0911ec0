"""Checkpoints: a training's state after an epoch, written whole or not at all, and verified when it is read.

A folder contains the newest two checkpoints, each a subfolder (`epoch-00004`) with

    tensors.safetensors   weights, running averages, the best weights if they are of an earlier epoch, the predictions
                          of every epoch, the log-odds of the best one
    state.json            which training, which epoch, the result of every epoch so far
    SHA256SUMS            digests of the two, for `sha256sum -c`

The state of random generators is not stored: each epoch derives its generators from the seed and its number.
"""

import errno
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config import TrialConfig
from core.errors import CorruptionError, UserError
from core.io.checked_folder import remove_partial_writes, verify_checksums, write_checked_folder

if TYPE_CHECKING:
    from torch import Tensor

FILES = TENSORS, STATE = "tensors.safetensors", "state.json"
"""Names of a checkpoint's files, besides its checksums."""
KEEP_LAST = 2
"""Number of checkpoints in a folder: the newest, and the previous one in case the newest is damaged."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Checkpoint:
    """A training's state after an epoch."""

    epoch: int
    """The last completed epoch, from 1."""
    fingerprint: Mapping[str, Any]
    """The training that it belongs to: every setting, and the data's fingerprint."""
    state: Mapping[str, Any]
    """Other state, for JSON."""
    tensors: Mapping[str, "Tensor"]
    """Tensors on the CPU; none shares memory with another."""


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then remove all but the newest `KEEP_LAST` and the partial writes of dead processes.

    One of a later epoch is removed too: `load_latest` has skipped it, so it is damaged.

    Raises:
        UserError: The disk is full, or the folder cannot be written.
    """
    parts = {"epoch": checkpoint.epoch, "training": checkpoint.fingerprint, "state": checkpoint.state}
    contents: dict[str, bytes | Mapping[str, Tensor]] = {
        TENSORS: checkpoint.tensors,
        STATE: json.dumps(parts, indent=1).encode(),
    }
    newest = f"epoch-{checkpoint.epoch:05d}"
    write_checked_folder(folder / newest, contents)
    names = checkpoint_names(folder)
    kept = [name for name in names if name <= newest][:KEEP_LAST]
    for name in set(names).difference(kept):
        shutil.rmtree(folder / name, ignore_errors=True)
    remove_partial_writes(folder, r"epoch-\d{5}", files=FILES)


def load_latest(folder: Path, training: Mapping[str, Any]) -> Checkpoint | None:
    """Read the newest complete checkpoint; a damaged one is logged and skipped.

    Args:
        folder: The folder that was passed to `save`; it need not exist.
        training: The fingerprint that the checkpoint must have.

    Returns:
        None if there is no complete one.

    Raises:
        UserError: The checkpoint belongs to another training, a file may not be read, or too many are open.
    """
    for path in (folder / name for name in checkpoint_names(folder)):
        try:
            found = load(path)
        except CorruptionError as error:
            _log.warning("%s", error)
            continue
        _check_same(found.fingerprint, training, folder)
        return found
    return None


def _check_same(theirs: Mapping[str, Any], ours: Mapping[str, Any], folder: Path) -> None:
    usual = TrialConfig().to_dict()  # for a setting that is newer than the checkpoint
    theirs, ours = {**usual, **theirs}, {**usual, **ours}
    names = sorted(theirs.keys() | ours.keys())
    different = [
        f"{name} {theirs.get(name)}, now {ours.get(name)}" for name in names if theirs.get(name) != ours.get(name)
    ]
    if different:
        raise UserError(  # for a ConfigError, a search would end the trial as failed
            f"the checkpoint in {folder} belongs to another training ({'; '.join(different)}); "
            "remove this folder and run the same command again, or choose another one"
        )


def load(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        CorruptionError: A file is missing or has changed.
        UserError: A file may not be read, or too many are open.
    """
    from safetensors.torch import load_file

    try:
        verify_checksums(path, FILES)
    except CorruptionError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE):
            raise UserError(f"checkpoint {path}: {error}; fix this and run the same command again") from error
        raise CorruptionError(f"checkpoint {path} is damaged ({error}); it is skipped") from error
    parts = json.loads((path / STATE).read_text(encoding="utf-8"))
    return Checkpoint(
        epoch=parts["epoch"],
        fingerprint=parts["training"],
        state=parts["state"],
        tensors=load_file(path / TENSORS),
    )


def is_intact(path: Path) -> bool:
    """Return whether every file of a checkpoint is the one that was written."""
    try:
        verify_checksums(path, FILES)
    except CorruptionError:
        return False
    return True


def checkpoint_names(folder: Path) -> list[str]:
    """Return the names of the checkpoints in a folder, the newest first; none if there is no folder."""
    return sorted((path.name for path in folder.glob("epoch-" + "[0-9]" * 5)), reverse=True)
