"""tuning.scheduling.asha: the epochs after which trials pause, and the paused trial that is promoted."""

import pytest

from tuning.scheduling.asha import Asha, Rung


@pytest.mark.parametrize(
    ("grace", "reduction", "epochs", "rungs"),
    [
        (None, 2, 8, [1, 2, 4]),
        (None, 2, 9, [2, 4, 8]),
        (None, 2, 24, [3, 6, 12]),
        (None, 4, 50, [7, 28]),
        (None, 2, 1, []),
        (2, 3, 20, [2, 6, 18]),
        (2, 3, 18, [2, 6]),
        (2, 3, 6, [2]),
        (2, 3, 2, []),
        (5, 2, 3, []),
        (1, 4, 8, [1, 4]),
        (1, 2, 1, []),
    ],
)
def test_rungs_grow_by_the_reduction_factor_and_end_before_the_last_epoch(
    grace: int | None, reduction: int, epochs: int, rungs: list[int]
) -> None:
    assert Asha(grace=grace, reduction=reduction).rungs(epochs) == rungs


def rung_of(*scores: float) -> Rung:
    """Return a rung where trials 0, 1, ... are paused."""
    rung = Rung()
    for trial, score in enumerate(scores):
        rung.add(trial, score, pause=True)
    return rung


def promoted(rung: Rung, reduction: int) -> list[int]:
    """Return all trials that may be promoted now, in order."""
    found = []
    while (trial := rung.pop_promotable(reduction)) is not None:
        found.append(trial)
    return found


def test_the_best_third_is_promoted_best_first() -> None:
    assert promoted(rung_of(0.5, 0.9, 0.7, 0.8, 0.6, 0.4), 3) == [1, 3]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_trial_is_promoted_while_the_rung_has_fewer_trials_than_the_factor(count: int) -> None:
    assert promoted(rung_of(*[0.5] * count), 3) == []


def test_of_equal_scores_the_lower_number_is_better() -> None:
    assert promoted(rung_of(0.5, 0.5, 0.5, 0.5), 2) == [0, 1]


def test_a_trial_that_does_not_pause_takes_a_place_and_is_not_promoted() -> None:
    rung = Rung()
    rung.add(0, 0.9, pause=False)
    for trial, score in ((1, 0.8), (2, 0.7), (3, 0.6)):
        rung.add(trial, score, pause=True)
    assert promoted(rung, 2) == [1]
    assert rung.pop_best() == 2


def test_a_promoted_trial_keeps_its_place() -> None:
    """Trial 1 has the one place of three trials; with four, the next place is free."""
    rung = rung_of(0.5, 0.9, 0.7)
    assert promoted(rung, 2) == [1]
    rung.add(3, 0.8, pause=True)
    assert promoted(rung, 2) == [3]
    rung.add(4, 0.95, pause=True)
    assert promoted(rung, 2) == [4]  # it was added later and is better than those that were promoted


def test_the_best_paused_trial_can_be_taken_without_a_place() -> None:
    rung = rung_of(0.5, 0.7, 0.6)
    assert rung.pop_promotable(4) is None
    assert [rung.pop_best() for _ in range(4)] == [1, 2, 0, None]
