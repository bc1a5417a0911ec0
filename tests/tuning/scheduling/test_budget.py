"""tuning.scheduling.budget: the end of a study depends only on the order of the visible results."""

import pytest

from core.errors import ConfigError, UserError
from tuning.scheduling.asha import FAILED
from tuning.scheduling.budget import Budget, BudgetCheck, EarlyEnd, StopSignal, parse_duration
from tuning.scheduling.virtual_clock import VisibleResult


def log_of(*scores: float) -> list[VisibleResult]:
    """Return one result for each score, each of another trial."""
    return [VisibleResult(trial, 4, score) for trial, score in enumerate(scores)]


def check(budget: Budget, log: list[VisibleResult], n_trials: int = 20) -> EarlyEnd | None:
    """Return how these results end a study."""
    return BudgetCheck(budget).update(log, n_trials)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h1m1s", 3661), ("1.5H", 5400)]
)
def test_a_duration_has_hours_minutes_and_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30m1h", "-5m", "0s", "five minutes", "nan"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--time-budget must be a time such as 90s, 30m, 2h or 1h30m, got '{text}'"):
        parse_duration(text)


def test_the_first_visible_result_that_reaches_the_target_ends_the_study() -> None:
    budget = Budget(target=0.8)
    assert check(budget, log_of(0.5, 0.79)) is None
    expected = EarlyEnd(reason="target 0.8 reached by trial 1", n_trials=7)
    assert check(budget, log_of(0.5, 0.8, 0.9), 7) == expected


def test_results_may_come_all_at_once_or_one_by_one() -> None:
    """The end holds the number of trials that had started when the deciding result became visible."""
    log = log_of(0.5, 0.6, 0.9, 0.95)
    found = BudgetCheck(Budget(target=0.8))
    assert [found.update(log[:n], 10 + n) for n in range(3)] == [None] * 3
    ending = EarlyEnd(reason="target 0.8 reached by trial 2", n_trials=13)
    assert found.update(log[:3], 13) == ending
    assert found.update(log, 14) == ending
    assert found.early_end == ending


def test_a_result_at_a_rung_may_reach_the_target() -> None:
    log = [VisibleResult(3, 1, 0.5), VisibleResult(1, 2, 0.8)]
    assert check(Budget(target=0.8), log) == EarlyEnd(reason="target 0.8 reached by trial 1", n_trials=20)


def test_a_failed_trial_reaches_no_target() -> None:
    assert check(Budget(target=0.001), log_of(FAILED)) is None


def test_patience_counts_new_trials_since_the_best_result() -> None:
    budget = Budget(patience_trials=3)
    assert check(budget, log_of(0.5, 0.7, 0.6, 0.7)) is None
    ending = check(budget, log_of(0.5, 0.7, 0.6, 0.7, 0.1, 0.99), 9)
    assert ending == EarlyEnd(reason="3 new trials without a better one since trial 1", n_trials=9)
    ending = check(Budget(patience_trials=1), log_of(0.5, 0.4), 9)
    assert ending == EarlyEnd(reason="1 new trial without a better one since trial 0", n_trials=9)


def test_a_further_result_of_a_trial_is_no_new_trial() -> None:
    """A trial that continues may become the best one, and then the count starts again."""
    budget = Budget(patience_trials=2)
    rungs = [VisibleResult(1, epoch, 0.6) for epoch in (1, 2, 4)]
    assert check(budget, [*log_of(0.7), *rungs]) is None
    better = [VisibleResult(0, 1, 0.7), VisibleResult(1, 1, 0.6), VisibleResult(1, 2, 0.8), VisibleResult(2, 1, 0.5)]
    assert check(budget, better) is None
    ending = check(budget, [*better, VisibleResult(3, 1, 0.5)])
    assert ending == EarlyEnd(reason="2 new trials without a better one since trial 1", n_trials=20)


def test_patience_counts_from_the_start_if_every_trial_failed() -> None:
    ending = check(Budget(patience_trials=2), log_of(FAILED, FAILED), 2)
    assert ending == EarlyEnd(reason="2 new trials without a better one since the start", n_trials=2)


def test_no_limit_never_ends_a_study() -> None:
    assert check(Budget(seconds=1.0), log_of(1.0, 0.0, 0.0)) is None


def test_a_note_says_why_the_study_ended() -> None:
    assert Budget(seconds=1800).timed_out == EarlyEnd(reason="time budget of 30m used up", n_trials=None)


def test_the_first_request_to_stop_counts() -> None:
    stop, first = StopSignal(), EarlyEnd(reason="time")
    stop.end_study(first)
    stop.end_study(EarlyEnd(reason="later"))
    assert (stop.requested, stop.ended, stop.reason) == (True, first, None)
    for cause in ("the disk is full", "what follows from it"):
        stop.abort(UserError(cause))
    assert str(stop.reason) == "the disk is full"


def test_the_target_of_a_loss_is_reached_from_above() -> None:
    """Scores are negated losses, so that larger is better."""
    log = log_of(-0.9, -0.51, -0.5)
    assert check(Budget(target=0.5, metric="log_loss"), log) == EarlyEnd(
        reason="target 0.5 reached by trial 2", n_trials=20
    )


def test_patience_counts_from_no_trial_that_failed_later() -> None:
    """Such a trial has no value in the table either: the best of the others counts."""
    failed = [VisibleResult(0, 1, 0.5), VisibleResult(1, 1, 0.9), VisibleResult(1, 2, FAILED)]
    rising = [VisibleResult(trial, 1, 0.4 + trial / 10) for trial in (2, 3, 4)]
    assert check(Budget(patience_trials=3), [*failed, *rising]) is None
    ending = check(Budget(patience_trials=2), [*failed, VisibleResult(2, 1, 0.4)], 5)
    assert ending == EarlyEnd(reason="2 new trials without a better one since trial 0", n_trials=5)
    only = [VisibleResult(0, 1, 0.9), VisibleResult(0, 2, FAILED), VisibleResult(1, 1, FAILED)]
    ending = check(Budget(patience_trials=2), only, 2)
    assert ending == EarlyEnd(reason="2 new trials without a better one since the start", n_trials=2)
