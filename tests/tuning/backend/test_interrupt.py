"""tuning.backend.interrupt: effects of signals before, during and after training, and of a time limit."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import UserError
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tuning.backend.interrupt import InterruptHandler
from tuning.console import call_later, send_later
from tuning.scheduling.budget import Budget, EarlyEnd


@pytest.fixture(autouse=True)
def _nothing_is_ignored() -> Iterator[None]:
    """As SIGHUP is under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def send(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_nothing_trains_the_first_signal_stops_and_the_others_are_ignored(number: int) -> None:
    said: list[str] = []
    with InterruptHandler(say=said.append).installed():
        with pytest.raises(KeyboardInterrupt):
            send(number)
        send(number)
    assert said == []


def test_a_signal_in_the_middle_of_an_import_waits_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the lock of all imports stays taken, and the thread that imports Ray waits forever."""
    handler = InterruptHandler(say=print)
    importing: Any = SimpleNamespace(f_code=SimpleNamespace(co_filename="<frozen importlib._bootstrap>"))
    later: list[int] = []
    monkeypatch.setattr("tuning.backend.interrupt.send_later", later.append)
    with handler.installed():
        handler._handle(signal.SIGINT, importing)
        assert later == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            send_later(*later)
            time.sleep(PATIENCE_SECONDS)


def test_while_something_trains_the_first_signal_asks_and_the_second_stops() -> None:
    said: list[str] = []
    handler = InterruptHandler(say=said.append, notice="stopping: wait")
    with handler.installed(), handler.while_training():
        send()
        assert handler.requested
        with pytest.raises(KeyboardInterrupt):
            send()
        send()
    assert said == ["stopping: wait; interrupt again (Ctrl-C) to stop at once"]


def test_a_signal_in_the_middle_of_a_print_asks_and_is_announced_later() -> None:
    """Python forbids a write to standard error from inside another one, with a RuntimeError."""
    said: list[str] = []
    busy = [RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")]

    def say(line: str) -> None:
        if busy:
            raise busy.pop()
        said.append(line)

    handler = InterruptHandler(say=say, notice="stopping: wait")
    with handler.installed(), handler.while_training():
        send()
        assert handler.requested
        wait_until(lambda: said, "the stop is not announced")
    assert said == ["stopping: wait; interrupt again (Ctrl-C) to stop at once"]


def test_a_signal_whose_exception_was_discarded_stops_before_the_trainings() -> None:
    handler = InterruptHandler(say=print)
    with handler.installed():
        with contextlib.suppress(KeyboardInterrupt):  # as in a callback that Cython calls
            send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), handler.while_training():
            pytest.fail("the search begins")


def test_an_error_that_took_the_place_of_the_interrupt_is_an_interrupt() -> None:
    """As in the release of Optuna's lock file: it catches everything, and fails when it removes the file again."""
    handler = InterruptHandler(say=print)
    with pytest.raises(KeyboardInterrupt), handler.installed(), handler.while_training():
        send()
        try:
            send()
        except BaseException:
            raise FileNotFoundError("study.journal.lock") from None
    with pytest.raises(FileNotFoundError), InterruptHandler(say=print).installed():
        raise FileNotFoundError("another file")


def test_after_the_trainings_one_signal_is_enough() -> None:
    handler = InterruptHandler(say=print)
    with handler.installed():
        with handler.while_training():
            pass
        with pytest.raises(KeyboardInterrupt):
            send()


@pytest.mark.parametrize("kept", [None, signal.SIG_IGN], ids=["of a host in C", "ignored"])
def test_a_handler_that_python_could_not_restore_and_an_ignored_signal_stay(
    monkeypatch: pytest.MonkeyPatch, kept: signal.Handlers | None
) -> None:
    """As SIGHUP under nohup. All others are put back after the block."""
    found = signal.getsignal
    before = found(signal.SIGTERM)
    monkeypatch.setattr(signal, "getsignal", lambda number: kept if number == signal.SIGHUP else found(number))
    with InterruptHandler(say=print).installed():
        assert (found(signal.SIGTERM) == before, found(signal.SIGHUP)) == (False, signal.SIG_DFL)
    assert found(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("stop", "line", "code"),
    [
        (lambda handler: handler.abort(UserError("the disk is full")), "sentune: the disk is full", 2),
        (lambda handler: setattr(handler, "requested", True), "interrupted", 130),  # Ray got the signal, too
        (lambda handler: handler.end_study(Budget(seconds=60).timed_out), "sentune: Ray's process raylet has", 2),
    ],
)
def test_the_reason_for_a_stop_is_said_if_ray_is_lost_afterwards(
    monkeypatch: pytest.MonkeyPatch, stop: Callable[[InterruptHandler], None], line: str, code: int
) -> None:
    said: list[str] = []
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise SystemExit

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr("tuning.backend.interrupt.say_interrupted", lambda: said.append("interrupted"))
    handler = InterruptHandler(say=said.append, before_exit=lambda: said.append("the cursor is back"))
    stop(handler)
    with pytest.raises(SystemExit):
        handler.on_ray_lost("raylet")
    assert (said[0], said[1][: len(line)], codes) == ("the cursor is back", line, [code])


def test_time_ends_a_search_once_and_is_no_interruption() -> None:
    heard: list[str] = []
    ending = Budget(seconds=60).timed_out

    def say(line: str) -> None:
        assert interrupt.ended == ending  # so the search ends even if the line cannot be printed
        heard.append(line)

    interrupt = InterruptHandler(say=say)
    with interrupt.time_limit(0.0, ending):
        wait_until(lambda: heard, "the time limit has not ended the search")
    assert heard == ["time budget of 1m used up: running trials end their epoch and keep their checkpoints"]
    interrupt.end_study(EarlyEnd(reason="something later"))
    assert interrupt.ended == ending


def test_the_timer_of_a_search_that_ends_in_time_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[threading.Timer] = []

    def kept(*arguments: Any) -> threading.Timer:
        timers.append(call_later(*arguments))
        return timers[-1]

    monkeypatch.setattr("tuning.backend.interrupt.call_later", kept)
    interrupt = InterruptHandler(say=print)
    with interrupt.time_limit(3600.0, Budget(seconds=3600).timed_out):
        assert not timers[0].finished.is_set()
    with interrupt.time_limit(None, Budget().timed_out):
        pass
    assert [timer.finished.is_set() for timer in timers] == [True]


def test_after_ctrl_c_a_budget_changes_nothing() -> None:
    interrupt = InterruptHandler(say=print)
    interrupt.requested = True
    interrupt.end_study(EarlyEnd(reason="target"))
    assert interrupt.ended is None


def test_a_signal_that_python_has_not_handled_yet_explains_the_loss_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's processes also got the SIGTERM of a batch system, and end while the main thread waits in C."""
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise SystemExit

    def lose_ray() -> None:
        time.sleep(0.05)
        signal.raise_signal(signal.SIGTERM)  # C's handler runs here, Python's in the main thread only
        with contextlib.suppress(SystemExit):
            handler.on_ray_lost("raylet")

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr("tuning.backend.interrupt.say_interrupted", lambda: None)
    handler, other = InterruptHandler(say=lambda line: None), threading.Thread(target=lose_ray)
    with handler.installed(), handler.while_training():
        other.start()
        other.join()  # waits in C, as ray.wait
    assert codes == [130]
    assert signal.set_wakeup_fd(-1) == -1
