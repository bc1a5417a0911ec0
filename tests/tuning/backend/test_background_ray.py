"""tuning.backend.background_ray and local_ray: start and end of Ray, with a stand-in for Ray."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest

from core.errors import ConfigError, UserError
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tuning.backend import local_ray
from tuning.backend.background_ray import BackgroundRay
from tuning.console import signals_handled_by, worker_niceness
from tuning.resources.machine import Machine
from tuning.run_options import RunOptions

MACHINE = Machine(cpus=1, gpus=0)


class Played:
    """A Ray that knows whether it runs, and in which thread it was started and ended."""

    def __init__(self) -> None:
        self.events: list[tuple[str, bool]] = []
        """What happened, and whether in the main thread."""
        self.problem: Exception | None = None
        self.may_start = threading.Event()
        self.may_start.set()

    @contextlib.contextmanager
    def local_ray(self, machine: Machine, lost: Callable[[str], None]) -> Iterator[Any]:
        assert machine is MACHINE
        self.may_start.wait(PATIENCE_SECONDS)
        if self.problem is not None:
            raise self.problem
        self.events.append(("started", threading.current_thread() is threading.main_thread()))
        yield self
        self.events.append(("ended", threading.current_thread() is threading.main_thread()))


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    fake = Played()
    monkeypatch.setattr(local_ray, "local_ray", fake.local_ray)
    return fake


def test_a_niceness_that_only_root_may_set_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "-5")
    assert worker_niceness() == 0


@pytest.mark.parametrize("niceness", ["", "abc", "3.5"])
def test_a_niceness_that_would_end_the_process_is_refused(
    played: Played, monkeypatch: pytest.MonkeyPatch, niceness: str
) -> None:
    monkeypatch.setenv("RAY_worker_niceness", niceness)
    message = "RAY_worker_niceness in the environment must be a whole number of at most two digits"
    with BackgroundRay(MACHINE, print) as background, pytest.raises(ConfigError, match=message):
        background.start()
    assert played.events == []
    with pytest.raises(ConfigError, match=message):
        RunOptions()


def test_a_slow_start_says_so(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.console.SLOW_SECONDS", 0.02)
    played.may_start.clear()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        played.may_start.set()

    with BackgroundRay(MACHINE, print).session(say):
        pass
    assert said == ["starting Ray ..."]


def test_ray_starts_and_ends_in_one_other_thread(played: Played) -> None:
    """Linux kills the processes that a thread started when the thread ends."""
    with BackgroundRay(MACHINE, print) as background:
        background.start()
        with background.session() as ray:
            assert ray is played
            assert played.events == [("started", False)]
        assert played.events == [("started", False), ("ended", False)]


def test_a_session_starts_ray_if_it_does_not_run(played: Played) -> None:
    with BackgroundRay(MACHINE, print).session() as ray:
        assert ray is played
    assert [event for event, _ in played.events] == ["started", "ended"]


def test_without_a_start_there_is_no_ray(played: Played) -> None:
    with BackgroundRay(MACHINE, print):
        pass
    assert played.events == []


def test_an_error_of_the_data_ends_ray(played: Played) -> None:
    with pytest.raises(UserError, match="no such column"), BackgroundRay(MACHINE, print) as background:
        background.start()
        raise UserError("no such column")
    assert [event for event, _ in played.events] in ([], ["started", "ended"])  # it may not have begun


def test_an_error_of_the_start_is_raised_by_the_session(played: Played) -> None:
    played.problem = UserError("Ray did not start (no room): try again")
    with BackgroundRay(MACHINE, print) as background:
        background.start()
        with pytest.raises(UserError, match=r"Ray did not start \(no room\)"), background.session():
            pass


def test_an_interrupt_while_ray_starts_leaves_none_behind(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    played.may_start.clear()

    def interrupted(*_: Any) -> None:
        played.may_start.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), BackgroundRay(MACHINE, print) as background:
        monkeypatch.setattr(background._ready, "result", interrupted)
        with background.session():
            pass
    assert [event for event, _ in played.events] == ["started", "ended"]


def test_an_interrupt_while_ray_ends_does_not_skip_the_next_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interrupted Thread.join, Python before 3.13 takes a thread that runs for one that has ended."""
    interrupted, ended = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def ends_slowly(machine: Machine, lost: Callable[[str], None]) -> Iterator[None]:
        yield
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()  # when the main thread waits
        assert interrupted.wait(PATIENCE_SECONDS)
        time.sleep(0.1)
        ended.set()

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(local_ray, "local_ray", ends_slowly)
    background = BackgroundRay(MACHINE, print)
    with signals_handled_by(interrupt), pytest.raises(KeyboardInterrupt), background, background.session():
        pass
    assert ended.is_set()


def test_a_search_that_is_refused_leaves_the_callers_ray_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection would get another token."""
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr(local_ray, "reload_authentication", pytest.fail)
    with pytest.raises(UserError, match="Ray already runs in this"), local_ray.local_ray(MACHINE, print):
        pytest.fail("Ray has started")


def test_the_end_of_ray_keeps_the_handler_of_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    python = ctypes.PyDLL(None)
    python.PyOS_getsig.restype = python.PyOS_setsig.restype = ctypes.c_void_p
    python.PyOS_setsig.argtypes = [ctypes.c_int, ctypes.c_void_p]
    monkeypatch.setattr("ray.init", lambda **_: None)
    monkeypatch.setattr("ray.shutdown", lambda: python.PyOS_setsig(signal.SIGTERM, None))
    monkeypatch.setattr(local_ray, "silence_error_thread", lambda: None)
    with signals_handled_by(lambda number, frame: None):
        before = python.PyOS_getsig(signal.SIGTERM)
        with local_ray.ray_session("{}"):
            pass
        assert python.PyOS_getsig(signal.SIGTERM) == before is not None


@pytest.mark.parametrize("killed", ["raylet", "AnAgent"])
def test_the_end_of_the_raylet_or_of_its_agent_ends_both_and_is_reported_once(
    killed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A raylet whose agent has ended would end itself, and Ray then ends the whole process without a message."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "ray"))
    monkeypatch.setattr(local_ray, "ray_session", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(psutil.Process, "name", lambda self: "AnAgent")
    lost = list[str]()
    with subprocess.Popen(["sh", "-c", "sleep 600 & wait; read line"], stdin=subprocess.PIPE) as raylet:
        monkeypatch.setattr(local_ray, "ray_processes", lambda node: {"raylet": raylet})
        of_raylet = psutil.Process(raylet.pid)
        wait_until(of_raylet.children, "the agent has not started")
        (agent,) = of_raylet.children()
        with local_ray.local_ray(MACHINE, lost.append), contextlib.ExitStack() as stack:
            (folder,) = (tmp_path / "ray").iterdir()
            starts = [sys.executable, "-c", "import time; time.sleep(60)", f"{folder}/sockets"]  # as a worker does
            worker = stack.enter_context(subprocess.Popen(starts))
            (of_raylet if killed == "raylet" else agent).kill()
            wait_until(lambda: lost and has_ended(agent), "one of them still runs")
            wait_until(lambda: not folder.exists(), "the folder of Ray is still there")
            folder.mkdir()  # as a worker does that begins a trial
            wait_until(lambda: not folder.exists(), "the folder of Ray is there again")
            assert worker.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    assert lost == [killed]


def has_ended(process: psutil.Process) -> bool:
    try:
        return str(process.status()) == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
