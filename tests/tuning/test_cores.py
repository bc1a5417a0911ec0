"""Which cores a search leaves idle."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tuning import cores
from tuning.cores import Cores

OTHER = """
import sys
from pathlib import Path
from tuning.cores import Cores
with Cores(Path(sys.argv[1]), 2) as mine:
    print("at work", flush=True)
    sys.stdin.readline()
    with mine.away():
        print("away", flush=True)
        sys.stdin.readline()
    print("at work", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def _always_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "LOOK_SECONDS", 0)


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another worker, at work; a line to it sends it on."""
    words = [sys.executable, "-c", OTHER, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        yield process
        process.kill()


def send_on(process: "subprocess.Popen[str]") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline()


def test_who_is_alone_has_all_cores(tmp_path: Path) -> None:
    with Cores(tmp_path, 5) as mine:
        assert mine.share() == 5


def test_another_one_has_half_of_them_unless_it_is_away_or_dead(tmp_path: Path, other: "subprocess.Popen[str]") -> None:
    with Cores(tmp_path, 5) as mine:
        assert mine.share() == 2
        assert send_on(other) == "away\n"
        assert mine.share() == 5
        assert send_on(other) == "at work\n"
        assert mine.share() == 2
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert mine.share() == 5


def test_a_trial_that_is_left_where_it_reports_is_not_at_work(tmp_path: Path) -> None:
    """As Ray leaves one that has to wait, and ends it when its worker gets another."""
    lock = FileLock(tmp_path / str(os.getpid()))
    with pytest.raises(SystemExit), Cores(tmp_path, 2) as mine, mine.away():
        with lock.acquire(timeout=0):
            pass
        sys.exit()
    with lock.acquire(timeout=0):
        pass


def test_it_looks_only_now_and_then(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cores, "LOOK_SECONDS", 1000)
    with Cores(tmp_path, 2) as mine:
        assert mine.share() == 2
        monkeypatch.setattr(mine, "_counted", lambda: 1 / 0)
        assert mine.share() == 2


def test_without_locks_nobody_is_helped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with Cores(tmp_path, 2) as mine:
        assert mine.share() == 0


def test_a_lock_that_is_not_to_be_had_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cores, "WAIT_SECONDS", 0)
    with FileLock(tmp_path / str(os.getpid())), Cores(tmp_path, 2) as mine:
        assert mine.share() == 0


def test_a_folder_that_goes_away_helps_nobody(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    with Cores(tmp_path / "locks", 2) as mine:
        (tmp_path / "locks" / str(os.getpid())).unlink()
        (tmp_path / "locks").rmdir()
        assert mine.share() == 0
