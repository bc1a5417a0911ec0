"""tuning.tracking.progress_state: the progress of a search."""

import math
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from core.config import TrialConfig
from tests.support.epochs import epoch
from tests.support.study_configs import plan
from tests.support.trial_records import record
from tuning.journal.records import TrialRecord
from tuning.scheduling.simulated_backend import JOB_SECONDS
from tuning.tracking import remaining_time
from tuning.tracking.progress_state import SearchProgress
from tuning.tracking.progress_text import status_line
from tuning.tracking.remaining_time import RemainingTime

CONFIG = TrialConfig().to_dict()


@pytest.fixture(autouse=True)
def kept_for_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change makes a new estimate."""
    monkeypatch.setattr(remaining_time, "SHARE", math.inf)


def progress(*records: TrialRecord, workers: int = 2, **changes: Any) -> SearchProgress:
    """Of a study of 6 trials of 4 epochs, without stopping, by 2 workers."""
    config = plan(**{"n_trials": 6, "stopping": None, "parallelism": 6} | changes)
    remaining = RemainingTime(config=config, cost=lambda config: 1.0, workers=workers)
    return SearchProgress(records=records, remaining=remaining, searched=["hidden_dim"])


def ended(number: int, *accuracies: float, **changes: Any) -> TrialRecord:
    """Return a trial that has ended."""
    return record(number, *accuracies, **{"ended": datetime.fromtimestamp(2000.0)} | changes)


def test_nothing_is_known_before_the_first_epoch() -> None:
    fresh = progress()
    fresh.start(0, TrialConfig())
    assert (fresh.best, fresh.seconds_left(), fresh.epochs_a_second()) == (None, None, 0.0)


def test_a_trial_that_was_opened_again_with_its_result_has_ended_once() -> None:
    """The search closes it later, perhaps as stopped."""
    now = progress(record(0, 0.5, 0.6, state="COMPLETE", ended=None), ended(1, state="FAIL"))
    assert status_line(now) == "2/6 trials: 1 done, 0 stopped, 1 failed, 0 running, 0 paused"
    now.end(ended(0, 0.5, state="PRUNED"))
    assert status_line(now) == "2/6 trials: 0 done, 1 stopped, 1 failed, 0 running, 0 paused"


def test_epochs_of_ended_paused_and_running_trials_are_not_left() -> None:
    """Trial 0 has ended, trial 1 is paused, trial 2 runs; 1.5 s an epoch."""
    later = progress(ended(0, 0.5, 0.6, 0.7, 0.8), record(1, 0.5, 0.6, state="PAUSED", ended=None), workers=1)
    later.start(2, TrialConfig())
    later.epoch(2, epoch(1, 0.5, seconds=1.5))
    assert later.seconds_left() == pytest.approx((2 + 3 + 3 * 4) * 1.5 + 5 * JOB_SECONDS)


@pytest.mark.parametrize("state", ["COMPLETE", "FAIL"])
def test_a_trial_that_patience_has_ended_or_that_failed_has_nothing_left(state: str) -> None:
    """Trial 0 has ended after 2 of 4 epochs; trial 1 did so before this start, and is not closed yet."""
    now = progress(record(1, 0.5, 0.6, state=state, ended=None), workers=1, n_trials=3)
    now.start(0, TrialConfig())
    for number in (1, 2):
        now.epoch(0, epoch(number, 0.5, seconds=1.5))
    now.end(ended(0, 0.5, 0.5, state=state))
    assert now.seconds_left() == pytest.approx(4 * 1.5 + JOB_SECONDS)


def test_a_trial_that_repeats_another_one_is_counted_and_has_no_epochs() -> None:
    copied = progress(ended(0, 0.5, 0.6, 0.7, 0.8), ended(1, 0.5, 0.6, 0.7, 0.8, origin="copy of 0"), workers=1)
    assert (len(copied.ended), list(copied.remaining.costs)) == (2, [0])
    assert copied.seconds_left() == pytest.approx(2 * (4 * 1.5 + JOB_SECONDS))


def test_a_paused_trial_is_shown_and_continues_with_its_epochs() -> None:
    now = progress()
    now.start(0, TrialConfig())
    now.epoch(0, epoch(1, 0.5))
    assert status_line(now) == "1/6 trials: 0 done, 0 stopped, 0 failed, 1 running, 0 paused"
    now.pause(0)
    assert (now.running, now.paused) == ({}, {0})
    assert status_line(now) == "1/6 trials: 0 done, 0 stopped, 0 failed, 0 running, 1 paused"
    assert now.best is not None
    now.start(0, TrialConfig())
    assert now.paused == set()
    assert [each.epoch for each in now.trained[0]] == [1]
    now.end(ended(0, 0.5, state="PRUNED"))
    assert status_line(now) == "1/6 trials: 0 done, 1 stopped, 0 failed, 0 running, 0 paused"


def test_a_trial_that_was_paused_or_interrupted_before_this_start_may_be_the_best() -> None:
    now = progress(
        record(0, 0.8, state="PAUSED", ended=None, config=CONFIG),
        record(1, 0.9, state="RUNNING", ended=None, config=CONFIG),
    )
    assert now.paused == {0}
    assert now.best is not None
    assert now.best.trial == 1
    assert status_line(now) == "2/6 trials: 0 done, 0 stopped, 0 failed, 0 running, 1 paused"


def test_epochs_that_a_resumed_worker_reports_again_do_not_count() -> None:
    resumed = progress(record(0, 0.5, 0.7, state="RUNNING", config=CONFIG))
    resumed.start(0, TrialConfig())
    for number, accuracy in enumerate((0.5, 0.7, 0.6), 1):
        resumed.epoch(0, epoch(number, accuracy))
    assert resumed.epochs == 1
    assert [e.epoch for e in resumed.trained[0]] == [1, 2, 3]


def test_the_best_is_the_tables_first() -> None:
    """Higher accuracy, then lower loss, then lower number; a trial that failed is not in it."""
    found = progress(ended(3, 0.8, loss=0.4), ended(2, 0.8, loss=0.4), ended(1, 0.8), ended(4, 0.9, state="FAIL"))
    assert found.best is not None
    assert found.best.trial == 2
    found.start(5, TrialConfig())
    found.epoch(5, epoch(1, 0.95))
    assert found.best.trial == 5
    found.end(ended(5, 0.95, state="FAIL"))
    assert found.best.trial == 2


def test_neither_epochs_that_no_longer_count_nor_a_failure_that_was_opened_again_are_the_best() -> None:
    """A study with more trials may stop a trial earlier than the shorter study did."""
    now = progress(record(0, 0.5, 0.9, ended=None, config=CONFIG), record(1, 0.95, state="FAIL", ended=None))
    assert now.best is not None
    assert (now.best.trial, now.best.epoch.epoch) == (0, 2)
    now.end(ended(0, 0.5, state="PRUNED"))
    assert now.best.epoch.epoch == 1


def test_the_best_of_an_earlier_start_has_no_time() -> None:
    """Its trial may have been paused for hours, and the journal does not have the times of epochs."""
    found = progress(ended(0, 0.5, 0.8, 0.7)).best
    assert found is not None
    assert (found.epoch.epoch, found.found) == (2, None)


def test_the_rate_is_since_the_first_trial_began(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    played = SimpleNamespace(monotonic=lambda: clock[0], time=lambda: 0.0)
    monkeypatch.setattr("tuning.tracking.progress_state.time", played)
    now = progress()
    now.start(0, TrialConfig())
    clock[0] = 120.0
    now.start(1, TrialConfig())
    now.epoch(0, epoch(1, 0.5))
    clock[0] = 140.0
    assert now.epochs_a_second() == 1 / 40
