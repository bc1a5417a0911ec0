"""Checkpoints: a training's state after an epoch, whole or not there, checked when it is read.

A folder holds the newest two, each a folder of its own (`epoch-00004`) with

    tensors.safetensors   weights, running averages, the best weights where they are older
    state.json            which training, which epoch, what every epoch so far brought
    SHA256SUMS            of the two, as `sha256sum -c` reads it

Random generators need no room: each epoch's are made anew from the seed and the epoch's number.
"""

import json
import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError, CorruptionError
from core.io.checked_folder import CHECKSUMS, checksum_lines, write_checked_folder

if TYPE_CHECKING:
    from torch import Tensor

TENSORS, STATE = "tensors.safetensors", "state.json"
KEEP_LAST = 2
"""Checkpoints in a folder: the newest, and the one before in case that is damaged."""
FORSAKEN_SECONDS = 3600
"""A half-written checkpoint that nobody touched for so long was left by a process that died."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Checkpoint:
    """A training's state after an epoch."""

    epoch: int
    """The last one done, from 1."""
    fingerprint: Mapping[str, Any]
    """What it belongs to: every setting, and the data's fingerprint."""
    state: Mapping[str, Any]
    """Whatever else is needed that JSON can hold."""
    tensors: Mapping[str, "Tensor"]
    """On the CPU, none sharing memory with another."""


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then remove all but the newest `KEEP_LAST`, and what dead processes left half written.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    parts = {"epoch": checkpoint.epoch, "training": checkpoint.fingerprint, "state": checkpoint.state}
    contents: dict[str, bytes | Mapping[str, Tensor]] = {
        TENSORS: checkpoint.tensors,
        STATE: json.dumps(parts, indent=1).encode(),
    }
    write_checked_folder(folder / f"epoch-{checkpoint.epoch:05d}", contents)
    torn = [path for path in folder.glob(".epoch-*") if time.time() - path.stat().st_mtime > FORSAKEN_SECONDS]
    for old in [folder / name for name in checkpoint_names(folder)[KEEP_LAST:]] + torn:
        shutil.rmtree(old, ignore_errors=True)


def load_latest(folder: Path, training: Mapping[str, Any]) -> Checkpoint | None:
    """Read the newest whole checkpoint; a damaged one is named in the log and passed over.

    Args:
        folder: where `save` put them; it need not exist.
        training: what the checkpoint must belong to.

    Returns:
        None if there is no whole one.

    Raises:
        ConfigError: it belongs to another training.
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
    names = sorted(theirs.keys() | ours.keys())
    different = [
        f"{name} {theirs.get(name)}, now {ours.get(name)}" for name in names if theirs.get(name) != ours.get(name)
    ]
    if different:
        raise ConfigError(
            f"the checkpoint in {folder} belongs to another training ({'; '.join(different)}); "
            "choose another folder or remove it"
        )


def load(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        CorruptionError: a file is missing or is not what was written.
    """
    from safetensors.torch import load_file

    try:
        whole = (path / CHECKSUMS).read_text(encoding="ascii", errors="replace") == checksum_lines(
            path, (TENSORS, STATE)
        )
    except OSError:
        whole = False
    if not whole:
        raise CorruptionError(f"checkpoint {path} is damaged: its checksum does not hold; the one before it is used")
    parts = json.loads((path / STATE).read_text(encoding="utf-8"))
    return Checkpoint(
        epoch=parts["epoch"],
        fingerprint=parts["training"],
        state=parts["state"],
        tensors=load_file(path / TENSORS),
    )


def checkpoint_names(folder: Path) -> list[str]:
    """The checkpoints in a folder, the newest first; none where there is no folder."""
    return sorted((path.name for path in folder.glob("epoch-" + "[0-9]" * 5)), reverse=True)
