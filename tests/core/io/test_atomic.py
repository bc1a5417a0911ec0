"""A folder is replaced in one step: a kill at any moment leaves the old or the new one."""

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import core.io.atomic
from core.errors import UserError
from core.io.atomic import atomic_folder, atomic_write, check_parent, swap_paths

# Dies at its n-th access to the file system in `atomic_folder`; the exchange itself is one call of the kernel.
KILLED = """
import os, signal, sys
from pathlib import Path
import core.io.atomic
target, left = Path(sys.argv[1]), [int(sys.argv[2])]
def step():
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
def watch(event, arguments):
    if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "tempfile.mkdtemp"):
        step()
swap = core.io.atomic.swap_paths
def before_and_after(*paths):
    step()
    done = swap(*paths)
    step()
    return done
core.io.atomic.swap_paths = before_and_after
sys.addaudithook(watch)
with core.io.atomic.atomic_folder(target) as work:
    for name in ("a", "b"):
        (work / name).write_text("new")
"""


def folder(path: Path, content: str) -> Path:
    with atomic_folder(path) as work:
        for name in ("a", "b"):
            (work / name).write_text(content)
    return path


def contents(path: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in path.iterdir()}


def test_what_cannot_be_exchanged_stays(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", "1")
    assert not swap_paths(one, tmp_path / "missing")
    assert contents(one) == {"a": "1", "b": "1"}


def test_without_the_kernels_help_a_folder_is_replaced_in_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.io.atomic, "swap_paths", lambda one, other: False)
    folder(tmp_path / "model", "old")
    assert contents(folder(tmp_path / "model", "new")) == {"a": "new", "b": "new"}
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("number", "refuses"),
    [
        (errno.EXDEV, lambda path, target: path.name == "model"),
        (errno.EPERM, lambda path, target: target.is_dir() and os.listdir(target)),
        (errno.EACCES, lambda path, target: target.is_dir() and os.listdir(target)),
    ],
    ids=["of a Docker image, which is not renamed", "of sshfs, which reports a full one so", "of CIFS, as sshfs"],
)
def test_a_folder_that_cannot_be_replaced_by_a_rename_is_replaced(
    number: int, refuses: Callable[[Path, Path], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def refused(path: Path, target: Path) -> Path:
        if refuses(path, target):
            raise OSError(number, os.strerror(number), str(path))
        return replace(path, target)

    monkeypatch.setattr(core.io.atomic, "swap_paths", lambda one, other: False)
    folder(tmp_path / "model", "old")
    monkeypatch.setattr(Path, "replace", refused)
    assert contents(folder(tmp_path / "model", "new")) == {"a": "new", "b": "new"}
    assert os.listdir(tmp_path) == ["model"]


def test_a_second_step_that_fails_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step has already moved it out of the way."""
    monkeypatch.setattr(core.io.atomic, "swap_paths", lambda one, other: False)
    folder(tmp_path / "model", "old")

    def full(source: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    steps = iter([Path.replace, Path.replace, full, Path.replace])
    monkeypatch.setattr(Path, "replace", lambda source, target: next(steps)(source, target))
    with pytest.raises(UserError, match="the disk is full"):
        folder(tmp_path / "model", "new")
    assert contents(tmp_path / "model") == {"a": "old", "b": "old"}
    assert os.listdir(tmp_path) == ["model"]


def test_a_file_in_the_way_of_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("mine")
    with pytest.raises(UserError, match=r"cannot write .*model: a part of the path is a file, not a folder; choose"):
        folder(tmp_path / "model", "new")
    assert (tmp_path / "model").read_text() == "mine"
    assert os.listdir(tmp_path) == ["model"]


def test_a_circle_of_links_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    with pytest.raises(UserError, match=r"cannot write .*one: its symbolic links form a circle; choose another path"):
        atomic_write(tmp_path / "one", b"x")
    assert (tmp_path / "one").is_symlink()


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC])
def test_an_error_about_another_path_names_that_path(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(UserError, match=r"^/data/secret\.csv: .*; fix this and run the same command again$"),
        atomic_folder(tmp_path / "model"),
    ):
        raise OSError(number, os.strerror(number), "/data/secret.csv")


def test_a_link_is_replaced_and_not_the_folder_that_it_points_to(tmp_path: Path) -> None:
    """A link in a study or a cache from elsewhere may point to anything."""
    folder(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    folder(tmp_path / "link", "new")
    assert not (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "link") == {"a": "new", "b": "new"}
    assert contents(tmp_path / "real") == {"a": "old", "b": "old"}
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_a_folder_that_another_process_writes_at_the_same_time_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It appears after any check, just before the folder gets its name."""
    replace = Path.replace

    def late(source: Path, target: Path) -> Path:
        monkeypatch.undo()
        folder(tmp_path / "model", "theirs")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", late)
    assert contents(folder(tmp_path / "model", "ours")) == {"a": "ours", "b": "ours"}
    assert os.listdir(tmp_path) == ["model"]


def test_an_old_folder_that_cannot_be_removed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On NFS a file that another process has open stays; and another process may remove the old folder at this time."""
    folder(tmp_path / "model", "old")

    def busy(path: Path, **_: object) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty", str(path))

    monkeypatch.setattr(os, "rmdir", busy)
    assert contents(folder(tmp_path / "model", "new")) == {"a": "new", "b": "new"}


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EACCES])
def test_a_file_system_that_cannot_sync_a_folder_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    sync = os.fsync

    def of_files_only(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        sync(handle)

    monkeypatch.setattr(os, "fsync", of_files_only)
    assert contents(folder(tmp_path / "model", "new")) == {"a": "new", "b": "new"}


def test_content_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut there is no name without its content."""
    synced: list[tuple[int, bool]] = []
    target = tmp_path / "model"
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append((os.fstat(handle).st_ino, target.exists())))
    folder(target, "new")
    assert set(synced[:-2]) == {((target / name).stat().st_ino, False) for name in ("a", "b")}
    assert synced[-2:] == [(target.stat().st_ino, False), (tmp_path.stat().st_ino, True)]
    synced.clear()
    target = tmp_path / "file"
    atomic_write(target, b"new")
    assert synced == [(target.stat().st_ino, False), (tmp_path.stat().st_ino, True)]
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: sizes.append(os.fstat(handle).st_size))
    atomic_write(target, b"newer")
    assert sizes[0] == len(b"newer")  # none of it is left in Python's own buffer


def test_no_handle_stays_open(tmp_path: Path) -> None:
    def lowest_free() -> int:
        handle = os.open(os.devnull, os.O_RDONLY)
        os.close(handle)
        return handle

    before = lowest_free()
    folder(tmp_path / "model", "new")
    atomic_write(tmp_path / "file", b"new")
    assert lowest_free() <= before


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_old_folder_or_the_new_one(tmp_path: Path) -> None:
    seen = []
    for steps in range(200):
        target = folder(tmp_path / str(steps) / "model", "old")
        ended = subprocess.run([sys.executable, "-c", KILLED, str(target), str(steps)], check=False)
        found = set(contents(target).values())
        assert contents(target).keys() == {"a", "b"}
        assert len(found) == 1
        seen.append(found.pop())
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
    assert len(seen) > 10
    assert seen == sorted(seen, reverse=True)  # "old" up to some moment, from then on "new"
    assert {seen[0], seen[-2], seen[-1]} == {"old", "new"}


def test_write_replaces_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file"
    atomic_write(target, b"old")
    atomic_write(target, b"new")
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["file"]


def test_written_files_follow_the_umask(tmp_path: Path) -> None:
    atomic_write(tmp_path / "file", b"")
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    atomic_write(target, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*file: the disk is full; free some space"):
        atomic_write(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failing_block_changes_nothing(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model") as work:
        (work / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "model") as work:
        (work / "b").write_text("2")
        raise ZeroDivisionError
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["a"]
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/proc/nowhere/deep/file", "its folder cannot be made, or takes no files; choose another path"),
        ("{tmp}/taken/file", "a part of the path is a file, not a folder; choose another path|a file is in the way"),
        ("{tmp}", "a folder is in the way; choose another path"),
        ("/proc/file", "its folder cannot be made, or takes no files; choose another path"),
        (".", "a folder is in the way; choose another path"),
        ("/dev/null", "a device or a pipe is in the way; choose another path"),
        ("{tmp}/" + "n" * 300, "the name is too long; choose a shorter one"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_one_line(path: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match=f"cannot write .*: ({reason})"):
        atomic_write(Path(path.format(tmp=tmp_path)), b"")


def test_a_path_is_in_a_folder_that_exists(tmp_path: Path) -> None:
    check_parent(tmp_path / "new")
    with pytest.raises(UserError, match=r"typo/x' is in no folder that exists: create '.*typo' first"):
        check_parent(tmp_path / "typo" / "x")
    assert os.listdir(tmp_path) == []
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="a part of the path is a file, not a folder; choose another path"):
        check_parent(tmp_path / "notes.txt" / "model")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/proc/new", "its folder cannot be made, or takes no files; choose another path"),
        ("{tmp}/" + "n" * 250, "the name is too long; choose a shorter one"),
    ],
)
def test_a_path_that_no_temporary_file_can_be_next_to_is_refused_before_the_work(
    path: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"cannot write .*: {reason}"):
        check_parent(Path(path.format(tmp=tmp_path)))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_may_not_be_replaced_remains_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another user's in a folder such as /tmp."""

    def refused(path: Path, target: Path) -> Path:
        raise OSError(errno.EPERM, "Operation not permitted", str(path))

    folder(tmp_path / "model", "old")
    monkeypatch.setattr(core.io.atomic, "swap_paths", lambda one, other: False)
    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(UserError, match="permission denied"):
        folder(tmp_path / "model", "new")
    assert os.listdir(tmp_path) == ["model"]
