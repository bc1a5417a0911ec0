"""core.io.checked_folder: a partial model is removed, and nothing else."""

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.errors import UserError
from core.inference.saved_model import MODEL_FILES
from core.io import atomic
from core.io.atomic import is_mount_point
from core.io.checked_folder import (
    CHECKSUMS,
    STALE_SECONDS,
    check_output_folder,
    remove_partial_writes,
    replace_checked_folder,
    write_checked_folder,
)


def folder(path: Path, *files: str, age: float = STALE_SECONDS + 60) -> Path:
    path.mkdir()
    for name in files:
        (path / name).write_text("half")
    for each in (*path.iterdir(), path):
        os.utime(each, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize("name", [".model.abcd_123", ".model.old.abcd_123"])
@pytest.mark.parametrize("files", [(), ("model.safetensors",), ("trial-3.safetensors", "config.json", "SHA256SUMS")])
def test_what_a_killed_save_left_is_removed(tmp_path: Path, name: str, files: tuple[str, ...]) -> None:
    left = folder(tmp_path / name, *files)
    remove_partial_writes(tmp_path, "model", files=MODEL_FILES)
    assert not left.exists()


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (".model.abcd_123", ("notes.txt",)),
        (".model.abcd_123", ("config.json", "notes.txt")),
        (".model.abcd_123", ("config.json", "trial-notes.txt")),
        (".model.of-mine", ("config.json",)),
        (".other.abcd_123", ("config.json",)),
        ("model", ("config.json",)),
    ],
)
def test_what_it_may_not_have_made_stays(tmp_path: Path, name: str, files: tuple[str, ...]) -> None:
    kept = folder(tmp_path / name, *files)
    remove_partial_writes(tmp_path, "model", files=MODEL_FILES)
    assert sorted(path.name for path in kept.iterdir()) == sorted(files)


def test_no_folder_is_written_into_a_saved_model(tmp_path: Path) -> None:
    folder(tmp_path / "model", CHECKSUMS, "config.json")
    with pytest.raises(UserError, match=r"model/new is in the folder of a saved model; choose another folder"):
        check_output_folder(tmp_path / "model" / "new", MODEL_FILES, "saved model")
    folder(tmp_path / "downloads", CHECKSUMS, "data.zip")
    new = tmp_path / "downloads" / "new"
    assert check_output_folder(new, MODEL_FILES, "saved model") == new.resolve()


def test_a_folder_that_does_not_exist_has_no_partial_writes(tmp_path: Path) -> None:
    remove_partial_writes(tmp_path / "new", "model", files=MODEL_FILES)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("prefix", [".model", ""])  # it alone, or the folder around it too
@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
def test_one_that_is_renamed_at_this_moment_or_of_another_user_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError], prefix: str
) -> None:
    folder(tmp_path / ".model.abcd_123", "config.json")
    listed = Path.iterdir

    def gone(path: Path) -> Iterator[Path]:
        if path.name.startswith(prefix):
            raise error(path)
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", gone)
    remove_partial_writes(tmp_path, "model", files=MODEL_FILES)
    assert (tmp_path / ".model.abcd_123" / "config.json").exists()


def test_a_caller_that_holds_the_lock_removes_fresh_ones_too(tmp_path: Path) -> None:
    left = folder(tmp_path / ".model.abcd_123", "notes.txt", age=-3600)  # the clock was set back since then
    remove_partial_writes(tmp_path, "model", older_than=0)
    assert not left.exists()


def test_what_the_finder_of_macos_adds_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/.DS_Store").touch()
    assert check_output_folder(tmp_path / "model", ("a.safetensors",), "saved model") == tmp_path / "model"


def test_files_that_belong_to_another_user_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network disk all can write, and none may change the mode."""

    def refused(path: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", refused)
    write_checked_folder(tmp_path / "one", {"a.safetensors": {"w": torch.zeros(1)}})
    assert (tmp_path / "one/a.safetensors").stat().st_size > 0


def test_a_circle_of_links_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(tmp_path / "model")
    with pytest.raises(UserError, match=r"cannot write .*model: its symbolic links form a circle; choose another path"):
        check_output_folder(tmp_path / "model", MODEL_FILES, "saved model")


def test_a_mount_point_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a volume of Docker, also one of the same file system."""
    folder(tmp_path / "a volume")
    (tmp_path / "link").symlink_to("a volume")
    where = str(tmp_path).encode() + rb"/a\040volume"
    (tmp_path / "mounts").write_bytes(
        b"22 27 0:21 / /proc rw - proc proc rw\n27 1 8:1 /x " + where + b" rw - ext4 a b\n"
    )
    monkeypatch.setattr(atomic, "MOUNTS", tmp_path / "mounts")
    for name in ("a volume", "link"):
        rule = (
            rf"{name} is a mount point, which cannot be replaced as a whole; choose a folder in it, such as .*/model$"
        )
        with pytest.raises(UserError, match=rule):
            check_output_folder(tmp_path / name, MODEL_FILES, "saved model")
    inside = tmp_path / "link" / "model"
    assert check_output_folder(inside, MODEL_FILES, "saved model") == inside.resolve()
    monkeypatch.setattr(atomic, "MOUNTS", tmp_path / "none")  # as on macOS
    assert is_mount_point(Path("/"))
    assert not is_mount_point(tmp_path)


def test_a_folder_that_cannot_be_replaced_is_refused_before_the_work(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)  # its temporary folder's name is longer
    for _ in range(2):  # it is absent, then it exists
        with pytest.raises(UserError, match=r"cannot write .*: the name is too long; choose a shorter one"):
            check_output_folder(path, MODEL_FILES, "saved model")
        path.mkdir(exist_ok=True)


def test_a_folder_with_a_file_that_still_grows_stays(tmp_path: Path) -> None:
    """The folder's own time is that of its last new name."""
    busy = folder(tmp_path / ".model.abcd_123", "config.json", "model.safetensors")
    (busy / "model.safetensors").write_text("more")
    remove_partial_writes(tmp_path, "model", files=MODEL_FILES)
    assert busy.exists()


@pytest.mark.parametrize("files", [(), ("config.json", CHECKSUMS)])
def test_the_working_folder_is_refused_before_the_work(
    files: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process would be in a folder that is gone: the model was saved, and loading it by its path failed."""
    here = folder(tmp_path / "here", *files)
    monkeypatch.chdir(here)
    for path in (Path(), here):
        message = r"is the working folder, which cannot be replaced as a whole; choose a folder in it, such as .*model$"
        with pytest.raises(UserError, match=message):
            check_output_folder(path, MODEL_FILES, "saved model")


def test_the_name_of_a_folder_is_no_pattern(tmp_path: Path) -> None:
    other = folder(tmp_path / ".v1x0.abcd_123", "a")
    for name in ("v1.0", "model [old"):
        left = folder(tmp_path / f".{name}.abcd_123", "a")
        replace_checked_folder(tmp_path / name, {"a": b""}, ("a",))
        assert not left.exists()
    assert other.exists()
