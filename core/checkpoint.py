"""Checkpoints: a training's state after an epoch, whole or not there, checked when it is read.

A folder holds the newest two, each a folder of its own (`epoch-00004`) with

    tensors.safetensors   weights, running averages, best weights
    state.json            which training, which epoch, what every epoch so far brought
    SHA256SUMS            of the two, as `sha256sum -c` reads it

Random generators need no room: each epoch's are made anew from the seed and the epoch's number.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from core.errors import CorruptionError
from core.files import new_folder, readable_os_errors

TENSORS, STATE, SUMS = "tensors.safetensors", "state.json", "SHA256SUMS"
KEPT = 2
"""Checkpoints in a folder: the newest, and the one before in case that is damaged."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Checkpoint:
    """A training's state after an epoch."""

    epoch: int
    """The last one done, from 1."""
    state: Mapping[str, Any]
    """Whatever JSON can hold."""
    tensors: Mapping[str, Tensor]
    """On the CPU, none sharing memory with another."""


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then remove all but the newest `KEPT`.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    from safetensors.torch import save_file

    with readable_os_errors(folder), new_folder(folder / f"epoch-{checkpoint.epoch:05d}") as work:
        save_file({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, work / TENSORS)
        text = json.dumps({"epoch": checkpoint.epoch, **checkpoint.state}, indent=1, sort_keys=True)
        (work / STATE).write_text(text, encoding="utf-8")
        sums = "".join(f"{_sha256(work / name)}  {name}\n" for name in (TENSORS, STATE))
        (work / SUMS).write_text(sums, encoding="ascii")
    for old in _folders(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def newest(folder: Path) -> Checkpoint | None:
    """Read the newest whole checkpoint; a damaged one is named in the log and passed over. None: there is none."""
    for path in _folders(folder):
        try:
            return read(path)
        except CorruptionError as error:
            _log.warning("%s", error)
    return None


def read(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        CorruptionError: a file is missing or is not what was written.
    """
    from safetensors.torch import load_file

    try:
        sums = "".join(f"{_sha256(path / name)}  {name}\n" for name in (TENSORS, STATE))
        whole = (path / SUMS).read_text(encoding="ascii", errors="replace") == sums
    except FileNotFoundError:
        whole = False
    if not whole:
        raise CorruptionError(f"checkpoint {path} is damaged: its checksum does not hold; the one before it is used")
    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    return Checkpoint(epoch=state["epoch"], state=state, tensors=load_file(path / TENSORS))


def _folders(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest first."""
    return sorted(folder.glob("epoch-" + "[0-9]" * 5), reverse=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
