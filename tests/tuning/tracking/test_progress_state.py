"""tuning.tracking.progress_state: where a search stands, and how long it may still take."""

import heapq
from datetime import datetime
from typing import Any

import pytest

from core.config import TrialConfig
from tests.support.small_study import epoch
from tests.support.trial_records import record
from tuning.journal.records import TrialRecord
from tuning.scheduling.timeline import TRIAL_SECONDS
from tuning.tracking.progress_state import SearchProgress
from tuning.tracking.progress_text import status_line

CONFIG = TrialConfig().to_dict()


def progress(*records: TrialRecord, **changes: Any) -> SearchProgress:
    """Of a study of 6 trials with at most 4 epochs each, by 2 workers."""
    settings: dict[str, Any] = {
        "n_trials": 6,
        "epochs_a_trial": 4,
        "workers": 2,
        "window": 99,
        "searched": ["hidden_dim"],
    }
    return SearchProgress(records=records, **(settings | changes))


def test_nothing_is_known_before_the_first_epoch() -> None:
    fresh = progress()
    fresh.start(0, CONFIG)
    assert (fresh.best, fresh.seconds_left(), fresh.epochs_a_second()) == (None, None, 0.0)


def test_before_a_trial_has_ended_each_may_have_all_its_epochs() -> None:
    fresh = progress()
    fresh.start(0, CONFIG)
    fresh.epoch(0, epoch(1, 0.5, seconds=10))
    # 2 workers; 3 epochs of the running trial and then 4 of two others, 4 of three others meanwhile; 10 s an epoch
    assert fresh.seconds_left() == pytest.approx(3 * 4 * 10 + 3 * TRIAL_SECONDS)


def test_what_is_ahead_costs_what_came_before() -> None:
    later = progress(record(0, 0.5, 0.6), record(1, 0.5, 0.6, 0.7, 0.8))  # 1.5 s an epoch
    # 4 trials of 3 epochs on average, by 2 workers
    assert later.seconds_left() == pytest.approx(2 * (3 * 1.5 + TRIAL_SECONDS))
    later.start(2, CONFIG)
    later.epoch(2, epoch(1, 0.5, seconds=3))
    later.epoch(2, epoch(2, 0.5, seconds=3))
    # the one that runs is past 2 epochs, as the other that had 4 was, and takes 3 s for each; 8 epochs took 15 s
    assert later.seconds_left() == pytest.approx(2 * 3 + 3 * 15 / 8 + TRIAL_SECONDS)


def test_the_last_trial_cannot_be_shared_by_the_workers() -> None:
    last = progress(*(record(number, 0.5, 0.6, 0.7, 0.8) for number in range(5)), workers=8)
    last.start(5, CONFIG)
    last.epoch(5, epoch(1, 0.5, seconds=20))
    assert last.seconds_left() == 3 * 20


def test_trials_wait_at_the_windows_edge() -> None:
    one_by_one = progress(record(0, 0.5, 0.6), window=1)
    assert one_by_one.seconds_left() == pytest.approx(5 * (3.0 + TRIAL_SECONDS))


def test_a_trial_that_waits_is_ahead_with_what_it_has_not_done() -> None:
    """Without a worker it goes on at the mean pace, when one is free."""
    waits = progress(*(record(number, 0.5, 0.6, 0.7, 0.8) for number in range(4)), workers=1)  # 1.5 s an epoch
    waits.start(4, CONFIG)
    waits.epoch(4, epoch(1, 0.5, seconds=1.5))
    running = waits.seconds_left()
    waits.pause(4)
    assert (waits.running, waits.waiting) == ({}, {4})
    assert waits.seconds_left() == pytest.approx(running)
    assert status_line(waits).endswith("0 failed, 0 running, 1 waiting")
    waits.start(4, CONFIG)
    assert not waits.waiting
    assert len(waits.running[4].epochs) == 1
    assert status_line(waits).endswith("1 running")


def test_a_repeated_trial_costs_nothing() -> None:
    copied = progress(record(0, 0.5, 0.6), record(1, 0.5, 0.6, origin="copy of 0"))
    assert copied.seconds_left() == pytest.approx(2 * (3.0 + TRIAL_SECONDS) / 2)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_estimate_comes_true_where_trials_go_on_as_before(share: float) -> None:
    """240 trials of 2, 2 or 5 epochs of 1.5 s by 4 workers, in simulated time; an epoch is its unit."""
    lengths = [(2, 2, 5)[number * 7 % 11 % 3] for number in range(240)]
    now, free, todo = (
        progress(n_trials=240, epochs_a_trial=5, workers=4),
        [(0.0, w) for w in range(4)],
        iter(range(240)),
    )
    ends: list[tuple[float, int]] = []
    for number in todo:
        at, worker = heapq.heappop(free)
        ends.append((at + lengths[number], number))
        heapq.heappush(free, (at + lengths[number], worker))
    whole = max(end for end, _ in ends)
    for end, number in sorted(ends):
        begun = end - lengths[number]
        if begun < whole * share:
            now.start(number, CONFIG)
            for at in range(1, lengths[number] + 1):
                if begun + at <= whole * share:
                    now.epoch(number, epoch(at, 0.5, seconds=1.5))
            if end <= whole * share:
                now.end(record(number, *[0.5] * lengths[number]))
    assert now.seconds_left() == pytest.approx(1.5 * whole * (1 - share), rel=0.1)


def test_epochs_that_a_resumed_worker_tells_again_do_not_count() -> None:
    resumed = progress(record(0, 0.5, 0.7, state="RUNNING", config=CONFIG))
    resumed.start(0, CONFIG)
    for number, accuracy in enumerate((0.5, 0.7, 0.6), 1):
        resumed.epoch(0, epoch(number, accuracy))
    assert resumed.epochs == 1
    assert [e.epoch for e in resumed.running[0].epochs] == [1, 2, 3]


def test_the_best_is_the_tables_first() -> None:
    """Higher accuracy, then lower loss, then lower number; a trial that failed is not in it."""
    found = progress(record(3, 0.8, loss=0.4), record(2, 0.8, loss=0.4), record(1, 0.8), record(4, 0.9, state="FAIL"))
    assert found.best is not None
    assert found.best.trial == 2
    found.start(5, CONFIG)
    found.epoch(5, epoch(1, 0.95))
    assert found.best.trial == 5
    found.end(record(5, 0.95, state="FAIL"))
    assert found.best.trial == 2


def test_the_best_of_an_earlier_start_was_found_when_its_epoch_ended() -> None:
    found = progress(record(0, 0.5, 0.8, 0.7, started=datetime.fromtimestamp(1000.0))).best
    assert found is not None
    assert (found.epoch.epoch, found.found) == (2, 1000.0 + 2 * 1.5)
