"""Checkpoints are complete or absent, and verified when they are read."""

import errno
import logging
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from core.errors import CorruptionError, UserError
from core.io.checked_folder import STALE_SECONDS
from core.training.checkpoint import Checkpoint, load, load_latest, save

TRAINING = {"hidden_dim": 4, "corpus": "abc"}


def checkpoint(epoch: int) -> Checkpoint:
    tensors = {"a": torch.arange(epoch), "b": torch.full((2, 3), float(epoch)), "empty": torch.empty(0, 3)}
    return Checkpoint(epoch=epoch, fingerprint=TRAINING, state={"loss": 0.1 + 0.2, "text": "ä"}, tensors=tensors)


def assert_equal(found: Checkpoint | None, epoch: int) -> None:
    expected = checkpoint(epoch)
    assert found is not None
    assert (found.epoch, found.fingerprint, found.state) == (expected.epoch, expected.fingerprint, expected.state)
    assert found.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(found.tensors[name], expected.tensors[name]) for name in expected.tensors)


def test_what_was_saved_is_read_bit_for_bit(tmp_path: Path) -> None:
    save(tmp_path / "new" / "folder", checkpoint(3))
    assert_equal(load_latest(tmp_path / "new" / "folder", TRAINING), 3)


def test_nothing_saved_is_nothing_found(tmp_path: Path) -> None:
    assert load_latest(tmp_path, TRAINING) is None
    assert load_latest(tmp_path / "absent", TRAINING) is None


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for epoch in (1, 2, 9, 10, 11):
        save(tmp_path, checkpoint(epoch))
    assert sorted(os.listdir(tmp_path)) == ["epoch-00010", "epoch-00011"]
    assert_equal(load_latest(tmp_path, TRAINING), 11)


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    for epoch in (4, 5):
        save(tmp_path, checkpoint(epoch))
    file = tmp_path / "epoch-00005" / name
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "cut":
        file.write_bytes(data[:-1])
    else:
        file.unlink()
    reason = f"{re.escape(name)} is missing" if damage == "remove" else "has changed since it was saved"
    with pytest.raises(CorruptionError, match=rf"epoch-00005 is damaged \(.*{reason}.*\); it is skipped"):
        load(tmp_path / "epoch-00005")
    with caplog.at_level(logging.WARNING, "core.training.checkpoint"):
        assert_equal(load_latest(tmp_path, TRAINING), 4)
    assert "epoch-00005 is damaged" in caplog.text


def test_after_damage_to_all_the_new_ones_are_kept(tmp_path: Path) -> None:
    for epoch in (4, 5):
        save(tmp_path, checkpoint(epoch))
        (tmp_path / f"epoch-{epoch:05d}" / "state.json").write_text("{}")
    assert load_latest(tmp_path, TRAINING) is None
    for epoch in (4, 1, 2):
        save(tmp_path, checkpoint(epoch))
        assert_equal(load_latest(tmp_path, TRAINING), epoch)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE])
def test_one_that_cannot_be_read_now_is_not_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    save(tmp_path, checkpoint(1))

    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("core.io.checked_folder.open_regular", refuse)
    with pytest.raises(
        UserError, match=r"epoch-00001: SHA256SUMS cannot be read \(.*\); fix this and run the same comm"
    ):
        load_latest(tmp_path, TRAINING)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({**TRAINING, "hidden_dim": 5}, r"belongs to another training \(hidden_dim 4, now 5\); remove this folder"),
        ({"corpus": "abc"}, r"\(hidden_dim 4, now 128\)"),
        ({**TRAINING, "seed": 1}, r"\(seed 42, now 1\)"),
    ],
)
def test_another_trainings_checkpoint_is_refused_with_the_difference(
    tmp_path: Path, training: dict[str, Any], message: str
) -> None:
    save(tmp_path, checkpoint(1))
    with pytest.raises(UserError, match=message):
        load_latest(tmp_path, training)


@pytest.mark.parametrize(
    ("words", "error", "message"),  # the second is of safetensors 0.5
    [
        ("I/O error: No space left on device (os error 28)", UserError, "disk is full"),
        ('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })', UserError, "disk is full"),
        ("InvalidHeader", SafetensorError, "InvalidHeader"),
    ],
)
def test_a_failed_write_of_tensors_has_its_reason_and_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, error: type[Exception], message: str
) -> None:
    save(tmp_path, checkpoint(1))

    def broken(*_: object) -> None:
        raise SafetensorError(f"Error while serializing: {words}")

    monkeypatch.setattr("safetensors.torch.save_file", broken)
    with pytest.raises(error, match=message):
        save(tmp_path, checkpoint(2))
    assert os.listdir(tmp_path) == ["epoch-00001"]
    assert_equal(load_latest(tmp_path, TRAINING), 1)


SMALL_DISK = """
import sys, torch
from pathlib import Path
from core.io.checked_folder import STALE_SECONDS
from core.training.checkpoint import Checkpoint, load_latest, save
from core.errors import UserError
folder = Path(sys.argv[1])
for epoch, size in [(1, 1_000), (2, 1_000_000)]:
    try:
        save(folder, Checkpoint(epoch=epoch, fingerprint={}, state={}, tensors={"a": torch.ones(size)}))
    except UserError as error:
        print(error)
print(load_latest(folder, {}).epoch, *(path.name for path in folder.iterdir()))
"""


@pytest.mark.slow
def test_a_disk_that_is_too_small_for_the_tensors_is_one_clear_line(tmp_path: Path) -> None:
    """safetensors writes them and has no errno to tell."""
    mounted = f'mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec "$@"'
    program = [sys.executable, "-c", SMALL_DISK, str(tmp_path / "trial")]
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", mounted, "sh", *program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr.startswith(("unshare", "mount")):
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    line, found = done.stdout.splitlines()
    assert line.startswith("cannot write ")
    assert line.endswith("the disk is full; free some space and run the same command again")
    assert found == "1 epoch-00001"


def test_others_may_read_it_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save(tmp_path, checkpoint(1))
    finally:
        os.umask(before)
    folder = tmp_path / "epoch-00001"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}


def test_what_a_dead_process_left_half_written_goes_away(tmp_path: Path) -> None:
    for name, age in [(".epoch-00001.dead0000", STALE_SECONDS + 60), (".epoch-00001.alive000", 0)]:
        (tmp_path / name).mkdir()
        then = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (then, then))
    save(tmp_path, checkpoint(1))
    assert sorted(os.listdir(tmp_path)) == [".epoch-00001.alive000", "epoch-00001"]


def test_a_setting_that_is_newer_than_the_checkpoint_has_its_default(tmp_path: Path) -> None:
    save(tmp_path, checkpoint(1))
    assert_equal(load_latest(tmp_path, {**TRAINING, "weight_dropout": 0.0}), 1)
    with pytest.raises(UserError, match=r"\(weight_dropout 0\.0, now 0\.5\)"):
        load_latest(tmp_path, {**TRAINING, "weight_dropout": 0.5})
