"""tuning.tracking.progress_text: progress fits any terminal, without control characters."""

import dataclasses
import re
import time
from datetime import datetime
from typing import Any

import pytest

from core.config import TrialConfig
from tests.support.epochs import epoch
from tests.support.study_configs import cost, plan
from tests.support.trial_records import record
from tuning.formatting import format_clock
from tuning.space.load import load_space
from tuning.tracking.progress_state import BestSoFar, SearchProgress
from tuning.tracking.progress_text import best_text, failures, format_brief, live_block, rate_line, wrap_titled
from tuning.tracking.remaining_time import RemainingTime

QUICK = load_space("quick").searched_fields


def busy(n_running: int = 2, **changes: Any) -> SearchProgress:
    """Trial 0 is done, 1 failed, 2 was stopped; the others run."""
    remaining = RemainingTime(config=plan(n_trials=100, epochs=8), cost=cost, workers=2)
    settings: dict[str, Any] = {"remaining": remaining, "searched": QUICK}
    ended = {"ended": datetime.fromtimestamp(2000.0)}
    records = [
        record(0, 0.6, 0.8, **ended),
        record(1, state="FAIL", error="NaN", **ended),
        record(2, 0.7, state="PRUNED", **ended),
    ]
    progress = SearchProgress(records=records, **(settings | changes))
    for number in range(3, 3 + n_running):
        progress.start(number, TrialConfig(hidden_dim=60 + number))
    progress.epoch(3, epoch(1, 0.75))
    progress.epoch(3, epoch(2, 0.74))
    return progress


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_counts_pace_best_and_each_running_trial(width: int) -> None:
    lines = live_block(busy(), 65, width, 24)
    assert lines[0] == "5/100 trials: 1 done, 1 stopped, 1 failed, 2 running, 0 paused"
    assert re.fullmatch(r"\d+\.\d\d epochs/s, 1:05 elapsed, about [\d:]+ left", lines[1])
    assert lines[2].startswith("best so far: 0.8000 by trial 0 in epoch 2")
    assert "learning_rate=0.00123" in " ".join(lines[3:-3])
    assert lines[-3].split() == ["trial", "epoch", "now", "best", "settings"]
    assert lines[-2].startswith("    3    2/8  0.7400  0.7500   lr=")
    assert lines[-1].startswith("    4    0/8       -       -   lr=")
    assert "hidden=64" in lines[-1]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (40, 10), (20, 5), (10, 2), (1, 1)])
@pytest.mark.parametrize("n_running", [1, 16, 64])
def test_it_fits_whatever_the_size(width: int, height: int, n_running: int) -> None:
    lines = live_block(busy(n_running), 1e6, width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height - 1, 1)


def test_trials_without_room_are_counted() -> None:
    lines = live_block(busy(64), 65, 80, 24)
    shown = [line for line in lines if re.match(r" *\d+ +\d/8 ", line)]
    assert [int(line.split()[0]) for line in shown] == list(range(3, 3 + len(shown)))
    assert lines[-1].strip() == f"and {64 - len(shown)} more"


def test_settings_in_brief_say_what_matters_most_and_end_where_there_is_no_room() -> None:
    settings = {"n_layers": 2, "something_new": 1, "learning_rate": 0.00123456, "freeze_embedding": True}
    assert format_brief(settings, 80) == "lr=0.00123 layers=2 freeze=yes something_new=1"
    assert format_brief(settings, 25) == "lr=0.00123 layers=2 ..."
    assert format_brief(settings, 3) == "..."


def test_the_time_left_is_known_after_the_first_epoch() -> None:
    """One worker: 3 epochs of 10 s and 4 of another trial, which the mean cost makes as long."""
    remaining = RemainingTime(config=plan(n_trials=2, stopping=None), cost=cost, workers=1)
    fresh = SearchProgress(records=[], remaining=remaining, searched=[])
    assert rate_line(fresh, 3) == "waiting for the first trial ..., 0:03 elapsed"
    fresh.start(0, TrialConfig())
    assert rate_line(fresh, 5) == "waiting for the first epoch ..., 0:05 elapsed"
    fresh.epoch(0, epoch(1, 0.5, seconds=10))
    assert rate_line(fresh, 10).endswith(" epochs/s, 0:10 elapsed, about 1:10 left")


def test_a_time_budget_that_is_shorter_is_what_is_left() -> None:
    short = busy(budget_seconds=66)
    assert rate_line(short, 65).endswith(" 0:01 left of the time budget")
    assert rate_line(short, 70).endswith(" 0:00 left of the time budget")
    assert "budget" not in rate_line(busy(budget_seconds=1e6), 65)


def test_the_best_says_when_it_was_found() -> None:
    def found(at: float | None) -> str:
        return best_text(BestSoFar(trial=3, epoch=epoch(4, 0.78125), settings={}, found=at), "accuracy")

    now = time.time()
    assert (
        found(now)
        == f"best so far: 0.7812 by trial 3 in epoch 4, found {time.strftime('%H:%M:%S', time.localtime(now))}"
    )
    assert re.search(r"found \d{4}-\d\d-\d\d \d\d:\d\d$", found(now - 3 * 86400))
    assert found(None) == "best so far: 0.7812 by trial 3 in epoch 4"


def test_another_metric_is_named_and_shown_in_its_own_direction() -> None:
    best = BestSoFar(trial=3, epoch=dataclasses.replace(epoch(4, 0.8), score=-0.5), settings={}, found=None)
    assert best_text(best, "log_loss") == "best so far: log loss 0.5000 by trial 3 in epoch 4"


def test_failures_are_named_but_do_not_flood_and_cannot_steer() -> None:
    assert failures({7: "ValueError: \x1b[2J"}) == [r"trial 7 failed: ValueError: \x1b[2J"]
    lines = failures(dict.fromkeys(range(10), "NaN"))
    assert lines[2:] == ["trial 2 failed: NaN", "and 7 more failed"]


def test_a_clock_reads_like_one() -> None:
    assert [format_clock(s) for s in (0, 65, 3725)] == ["0:00", "1:05", "1:02:05"]


def test_an_audit_is_wrapped_below_its_titles() -> None:
    text = "leaks       across splits: train/val 0, train/test 0\n            and an example"
    assert wrap_titled(text, 40).splitlines() == [
        "leaks       across splits: train/val 0,",
        "            train/test 0",
        "            and an example",
    ]


def test_a_slow_search_has_a_rate_by_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SearchProgress, "epochs_a_second", lambda self: 1 / 300)
    assert rate_line(busy(), 65).startswith("0.20 epochs/min, 1:05 elapsed, ")


def test_a_running_trial_shows_a_loss_in_its_own_direction() -> None:
    config = plan(n_trials=100, epochs=8, metric="log_loss")
    now = busy(remaining=RemainingTime(config=config, cost=cost, workers=2))
    now.epoch(4, dataclasses.replace(epoch(1, 0.8), score=-0.5))
    assert live_block(now, 65, 80, 24)[-1].startswith("    4    1/8  0.5000  0.5000   lr=")
