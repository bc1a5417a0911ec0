"""The progress display, and that it does not delay the search."""

import io
import re
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from core.config import TrialConfig
from tests.support.epochs import epoch
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.study_configs import cost, plan
from tests.support.trial_records import record
from tuning.tracking import progress_display as module
from tuning.tracking.progress_display import ProgressDisplay, moves_cursor, pause_seconds
from tuning.tracking.progress_state import SearchProgress
from tuning.tracking.remaining_time import RemainingTime


class Terminal(io.StringIO):
    """Keeps what a terminal is sent."""

    def isatty(self) -> bool:
        return True


def state() -> SearchProgress:
    remaining = RemainingTime(config=plan(n_trials=6), cost=cost, workers=2)
    return SearchProgress(records=[], remaining=remaining, searched=["hidden_dim"])


def listen(progress: ProgressDisplay) -> None:
    """Trial 0 is done after two epochs, 1 failed, 2 was stopped, 3 runs."""
    for number in (0, 1, 2, 3):
        progress.on_trial_start(number, TrialConfig(hidden_dim=64 + number))
    progress.on_epoch_end(0, epoch(1, 0.6))
    progress.on_epoch_end(0, epoch(2, 0.8))
    progress.on_trial_end(record(0, 0.6, 0.8))
    progress.on_trial_end(record(1, state="FAIL", error="TrainingError: [red]NaN"))
    progress.on_epoch_end(2, epoch(1, 0.7))
    progress.on_trial_end(record(2, 0.7, state="PRUNED"))
    progress.on_epoch_end(3, epoch(1, 0.75))


def shown(out: io.StringIO, **console: Any) -> str:
    with ProgressDisplay(Console(file=out, **console), state()) as progress:
        listen(progress)
    return out.getvalue()


def test_plain_lines_count_trials_and_name_failures_and_the_best() -> None:
    lines = shown(io.StringIO(), width=20).splitlines()
    assert lines[-3] == "trial 1 failed: TrainingError: [red]NaN"
    assert lines[-2].startswith("4/6 trials: 1 done, 1 stopped, 1 failed, 1 running, 0 paused | ")
    assert lines[-1].startswith("best so far: 0.8000 by trial 0 in epoch 2, found ")
    assert lines[-1].endswith(" (hidden_dim=64)")


def test_nothing_steers_a_cursor_outside_a_terminal() -> None:
    assert "\x1b" not in shown(io.StringIO(), force_terminal=True)


def test_a_terminal_shows_each_running_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.01)
    out = Terminal()
    environ = {"TERM": "xterm"}
    with ProgressDisplay(
        Console(file=out, width=80, height=24, color_system=None, _environ=environ), state()
    ) as progress:
        listen(progress)
        wait_until(lambda: "    3    1/4  0.7500" in out.getvalue(), "the trial is not shown")
    text = out.getvalue()
    assert "    3    1/4  0.7500  0.7500   hidden=67" in text
    assert "trial 1 failed: TrainingError: [red]NaN" in text
    assert (
        "4/6 trials: 1 done, 1 stopped, 1 failed, 1 running, 0 paused | " in text.splitlines()[-1]
    )  # behind what clears the block
    assert text.count("\x1b[?25h") == 1  # the cursor is back


@pytest.mark.parametrize(
    ("out", "environ", "moves"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"TERM": "xterm", "JPY_PARENT_PID": "7"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
        (io.StringIO(), {"TERM": "xterm", "FORCE_COLOR": "1"}, False),
    ],
)
def test_lines_are_overwritten_only_where_that_works(out: io.StringIO, environ: dict[str, str], moves: bool) -> None:
    assert moves_cursor(Console(file=out, _environ=environ), environ) is moves


def test_the_driver_does_not_wait_for_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    out, begun, may_continue = io.StringIO(), threading.Event(), threading.Event()

    def slow(*_: object) -> float:
        begun.set()
        assert may_continue.wait(PATIENCE_SECONDS)
        return 60.0

    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.01)
    monkeypatch.setattr(RemainingTime, "_estimate", slow)
    with ProgressDisplay(Console(file=out), state()) as progress:
        progress.on_trial_start(5, TrialConfig())
        assert begun.wait(PATIENCE_SECONDS)
        progress.on_trial_pause(5)  # while the rest is simulated
        assert not may_continue.is_set()
        may_continue.set()
        wait_until(lambda: re.search(r"about \d+:\d\d left", out.getvalue()), "the estimate is not shown")


def test_a_notebook_replaces_one_output_and_keeps_the_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, str]] = []

    class Output:
        def update(self, bundle: dict[str, str], raw: bool) -> None:
            found.append(bundle)

    def display(bundle: dict[str, str], raw: bool, display_id: bool) -> Output:
        found.append(bundle)
        return Output()

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.01)
    out = io.StringIO()
    with ProgressDisplay(Console(file=out, force_jupyter=True), state()) as progress:
        listen(progress)
        wait_until(lambda: "    3    1/4  0.7500" in str(found), "the trial is not shown")
    assert "    3    1/4  0.7500  0.7500   hidden=67" in str(found)
    first, last = found[-1]["text/plain"].splitlines()
    assert first == "trial 1 failed: TrainingError: [red]NaN"
    assert last.startswith("4/6 trials: 1 done, 1 stopped, 1 failed, 1 running, 0 paused | ")
    assert out.getvalue() == ""


def test_a_log_gets_fewer_lines_the_longer_the_search() -> None:
    assert [pause_seconds(elapsed) for elapsed in (0, 299, 600, 3600, 36000)] == [5, 5, 10, 60, 60]


def test_epochs_within_a_pause_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock does not move, so that all are within the first pause; the last line comes at the end."""
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.001)
    out = io.StringIO()
    with ProgressDisplay(Console(file=out), state()) as progress:
        progress.on_trial_start(0, TrialConfig())
        progress.on_epoch_end(0, epoch(1, 0.5))
        wait_until(lambda: "trials:" in out.getvalue(), "no line is printed")
        for number in range(2, 200):
            progress.on_epoch_end(0, epoch(number, 0.5))
            time.sleep(0.0001)
        assert out.getvalue().count("trials:") == 1
    assert out.getvalue().count("trials:") == 2


class Stuck(io.StringIO):
    """A pipe without a reader."""

    def __init__(self) -> None:
        super().__init__()
        self.freed = threading.Event()

    def write(self, text: str) -> int:
        self.freed.wait(PATIENCE_SECONDS)
        return len(text)


def test_output_that_is_not_read_delays_neither_a_trial_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    out = Stuck()
    done = threading.Event()

    def search() -> None:
        with ProgressDisplay(Console(file=out), state()) as progress:
            listen(progress)
        done.set()

    threading.Thread(target=search, daemon=True).start()
    assert done.wait(PATIENCE_SECONDS)
    out.freed.set()
