"""tuning.journal.file: the process that runs a study."""

import errno
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import UserError
from tuning.journal.file import is_searched, remote_driver, study_lock


def test_a_study_has_a_driver_while_one_runs(tmp_path: Path) -> None:
    assert not is_searched(tmp_path)
    with study_lock(tmp_path, searches=True):
        assert is_searched(tmp_path)
    assert not is_searched(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP], ids=["Lustre without flock", "a share on macOS"])
def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A lock that is a file would outlive a killed driver."""

    def flock(file: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match="has no locks; choose a folder on another disk"), study_lock(tmp_path):
        pytest.fail("the study is locked")


def test_a_link_in_place_of_the_drivers_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "driver.json").symlink_to("notes")
    with study_lock(tmp_path):
        assert (tmp_path / "notes").read_text() == "mine"


def test_the_driver_of_a_study_that_has_replaced_this_one_remains(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    other = {"pid": os.getpid() + 1, "host": "h", "started": None, "searches": True}
    with study_lock(folder, searches=True):
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "driver.json").write_text(json.dumps(other))
    assert json.loads((folder / "driver.json").read_text()) == other


def test_a_process_that_retrains_or_confirms_does_not_search(tmp_path: Path) -> None:
    with study_lock(tmp_path):
        assert not is_searched(tmp_path)


NO_PROCESS = 2**22 + 1
"""No Linux gives a process a number above 2**22, whatever /proc/sys/kernel/pid_max says."""


def test_a_killed_driver_is_none_and_another_hosts_is_believed(tmp_path: Path) -> None:
    note = tmp_path / "driver.json"
    note.write_text(json.dumps({"pid": NO_PROCESS, "host": socket.gethostname(), "started": None, "searches": True}))
    assert not is_searched(tmp_path)
    note.write_text(json.dumps({"pid": NO_PROCESS, "host": "else\x1bwhere", "started": None, "searches": True}))
    assert is_searched(tmp_path)
    assert remote_driver(tmp_path) == rf"process {NO_PROCESS} on else\x1bwhere"
    note.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": None, "searches": True}))
    assert is_searched(tmp_path)
    assert remote_driver(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"pid": 1e999, "host": "h"}'])
def test_a_damaged_driver_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "driver.json").write_text(text)
    assert not is_searched(tmp_path)


@pytest.mark.parametrize("pid", [0, -1, 2**31, 2**70])
def test_a_driver_with_the_number_of_no_process_is_none(tmp_path: Path, pid: int) -> None:
    who = {"pid": pid, "host": socket.gethostname(), "started": None, "searches": True}
    (tmp_path / "driver.json").write_text(json.dumps(who))
    assert not is_searched(tmp_path)


def test_the_driver_of_another_user_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This user may not send it a signal."""

    def kill(pid: int, number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "kill", kill)
    with study_lock(tmp_path, searches=True):
        assert is_searched(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the state of a process is unknown here")
def test_a_killed_driver_that_its_parent_has_not_awaited_is_none(tmp_path: Path) -> None:
    """In a container without an init process, it keeps its number for ever."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
        who = {"pid": process.pid, "host": socket.gethostname(), "started": started, "searches": True}
        (tmp_path / "driver.json").write_text(json.dumps(who))
        assert is_searched(tmp_path)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still listed
        assert not is_searched(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the start of a process is unknown here")
def test_a_process_that_has_the_number_of_a_killed_driver_is_not_the_driver(tmp_path: Path) -> None:
    note = tmp_path / "driver.json"
    with study_lock(tmp_path, searches=True):
        who = json.loads(note.read_text())
    note.write_text(json.dumps(who))
    assert is_searched(tmp_path)
    note.write_text(json.dumps(who | {"started": who["started"] - 1}))
    assert not is_searched(tmp_path)
