"""core.io.atomic: whole or not there."""

import errno
import os
import stat
from pathlib import Path

import pytest

from core.errors import UserError
from core.io.atomic import new_folder, write_bytes


def test_write_replaces_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file"
    write_bytes(target, b"old")
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["file"]


def test_written_files_follow_the_umask(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"")
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    write_bytes(target, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*file: the disk is full; free some space"):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_appears_when_its_block_ends_well(tmp_path: Path) -> None:
    with new_folder(tmp_path / "model") as work:
        (work / "a").write_text("1")
        assert not (tmp_path / "model").exists()
    with new_folder(tmp_path / "model") as work:
        (work / "b").write_text("2")
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["b"]
    assert os.listdir(tmp_path) == ["model"]


def test_a_failing_block_changes_nothing(tmp_path: Path) -> None:
    with new_folder(tmp_path / "model") as work:
        (work / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "model") as work:
        (work / "b").write_text("2")
        raise ZeroDivisionError
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["a"]
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/proc/nowhere/deep/file", "its folder cannot be made; choose another path"),
        ("{tmp}/taken/file", "a part of the path is a file, not a folder; choose another path|a file is in the way"),
        ("{tmp}", "a folder is in the way; choose another path"),
        (".", "it is in use; choose another path"),
        ("{tmp}/" + "n" * 300, "the name is too long; choose a shorter one"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_one_line(path: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match=f"cannot write .*: ({reason})"):
        write_bytes(Path(path.format(tmp=tmp_path)), b"")
