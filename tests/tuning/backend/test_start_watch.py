"""tuning.backend.start_watch: a start of Ray that fails, or hangs, ends in one line; Ray is played here."""

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import UserError
from tests.support.patience import PATIENCE_SECONDS
from tuning.backend import start_watch
from tuning.backend.start_watch import call_watched
from tuning.console import STARTS_RAY

PROBLEM = "Ray did not start ({}): try again"
BUG = (
    "An unexpected system state has occurred. You have likely discovered a bug in Ray. Please report this issue at "
    "https://github.com/ray-project/ray/issues and we'll work with you to fix it. "
)
FATAL = f"[2026-11-27 14:00:00,123 C 12 12] (raylet) main.cc:12: {BUG}pthread_create failed: \x1b[31mno threads\n"


class PlayedNode:
    """Ray's Node object, with one process."""

    def __init__(self, name: str, code: int | None, logs: Path) -> None:
        self.all_processes = {name: [SimpleNamespace(process=SimpleNamespace(poll=lambda: code))]}
        self.killed = threading.Event()
        self.logs = logs

    def get_logs_dir_path(self) -> str:
        return str(self.logs)

    def kill_all_processes(self, **options: Any) -> None:
        self.killed.set()


def play(monkeypatch: pytest.MonkeyPatch, *nodes: PlayedNode) -> None:
    @contextlib.contextmanager
    def noted() -> Iterator[list[Any]]:
        yield list(nodes)

    monkeypatch.setattr(start_watch, "noted_nodes", noted)


def starts() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == STARTS_RAY]


@pytest.fixture(autouse=True)
def hangs() -> Iterator[threading.Event]:
    """Yield what a start that hangs waits for: the end of the test. No thread of a start outlives it."""
    event = threading.Event()
    yield event
    event.set()
    for thread in starts():
        thread.join()


def never() -> None:
    raise AssertionError("a start was undone")


def test_the_thread_of_a_start_lives_as_long_as_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux kills Ray's processes when the thread that started them ends."""
    play(monkeypatch)
    started: list[threading.Thread] = []
    with call_watched(lambda: started.append(threading.current_thread()), PROBLEM, never):
        assert started[0].is_alive()
        assert started[0] is not threading.current_thread()
        assert starts() == []  # it hangs no more
    assert not started[0].is_alive()


def test_what_a_start_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise UserError("Ray did not start (no room)")

    play(monkeypatch)
    with pytest.raises(UserError, match="no room"), call_watched(fails, PROBLEM, never):
        raise AssertionError("the block has run")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_process_that_has_ended_is_one_line_with_the_last_error_of_its_log(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{name}.out").write_text("[2026-11-27 14:00:00,001 I 12 12] (raylet) main.cc:1: fine\n")
    (tmp_path / f"{name}.err").write_text(f"{FATAL}*** SIGABRT received\nPC: @ 0x7f\n")
    node = PlayedNode(name, 1, tmp_path)
    play(monkeypatch, node)
    monkeypatch.setattr(start_watch, "END_SECONDS", 0.1)
    message = rf"^Ray did not start \(its process {name} has ended: pthread_create failed: .x1b\[31mno threads\): try"
    # The start hangs until the processes are killed, as Ray's may.
    with (
        pytest.raises(UserError, match=message),
        call_watched(lambda: node.killed.wait(PATIENCE_SECONDS), PROBLEM, lambda: None),
    ):
        raise AssertionError("the block has run")
    assert node.killed.is_set()


@pytest.mark.slow
def test_a_start_without_an_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: threading.Event
) -> None:
    (tmp_path / "raylet.out").write_text("[2026-11-27 14:00:00,001 I 12 12] (raylet) a.cc:1: starting\n")
    node = PlayedNode("raylet", None, tmp_path)
    play(monkeypatch, node)
    monkeypatch.setattr(start_watch, "START_SECONDS", 1.0)
    monkeypatch.setattr(start_watch, "END_SECONDS", 0.1)
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0, 0, 0))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with (
        pytest.raises(UserError, match=r"^Ray did not start \(no answer in 1 s from raylet: starting\): try again$"),
        call_watched(hangs.wait, PROBLEM, lambda: None),
    ):
        raise AssertionError("the block has run")
    assert node.killed.is_set()
    assert len(starts()) == 1  # so the process ends without waiting for it


@pytest.mark.slow
def test_an_overloaded_machine_has_more_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hangs: threading.Event
) -> None:
    play(monkeypatch, PlayedNode("raylet", None, tmp_path))
    monkeypatch.setattr(start_watch, "START_SECONDS", 0.25)
    monkeypatch.setattr(start_watch, "END_SECONDS", 0.1)
    loads = itertools.chain([0.0], itertools.repeat(8.0))  # it rises while Ray starts
    monkeypatch.setattr(os, "getloadavg", lambda: (next(loads), 0, 0))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with (
        pytest.raises(UserError, match=r"no answer in 1 s from raylet\): try again$"),
        call_watched(hangs.wait, PROBLEM, lambda: None),
    ):
        raise AssertionError("the block has run")


def test_an_interrupt_does_not_wait_for_a_start_that_hangs_and_undoes_one_that_returns_later(
    monkeypatch: pytest.MonkeyPatch, hangs: threading.Event
) -> None:
    """Otherwise the process stays connected to the cluster."""

    def interrupted(*_: Any) -> str:
        raise KeyboardInterrupt

    play(monkeypatch)
    monkeypatch.setattr(start_watch, "_wait", interrupted)
    undone = threading.Event()
    with pytest.raises(KeyboardInterrupt), call_watched(hangs.wait, PROBLEM, undone.set):
        raise AssertionError("the block has run")
    assert len(starts()) == 1  # it hangs still
    assert not undone.is_set()
    hangs.set()
    assert undone.wait(PATIENCE_SECONDS)
