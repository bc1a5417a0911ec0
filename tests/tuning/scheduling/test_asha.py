"""tuning.scheduling.asha: the epochs after which trials pause, and the paused trial that is promoted."""

import math
import random

import pytest

from core.errors import ConfigError
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


def test_all_broken_rules_are_named_together() -> None:
    with pytest.raises(
        ConfigError, match="--grace must be from 1 to 99,999, got 0; --reduction must be from 2 to 1,000, got 1"
    ):
        Asha(grace=0, reduction=1)


def test_the_spec_names_the_rule_and_its_numbers() -> None:
    assert Asha(grace=3, reduction=2).to_dict() == {"rule": "asha", "grace": 3, "reduction": 2}
    assert Asha().to_dict() == {"rule": "asha", "grace": None, "reduction": 2}


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


class SortedRung:
    """The same rule, with a new order for each question."""

    def __init__(self) -> None:
        self.scores: dict[int, float] = {}
        self.paused: set[int] = set()

    def add(self, trial: int, score: float, *, pause: bool) -> None:
        self.scores[trial] = score
        if pause:
            self.paused.add(trial)

    def pop_promotable(self, reduction: int) -> int | None:
        ranked = sorted(self.scores, key=lambda trial: (-self.scores[trial], trial))
        for trial in ranked[: len(ranked) // reduction]:
            if trial in self.paused:
                self.paused.remove(trial)
                return trial
        return None


def test_promotions_agree_with_a_full_order_of_all_scores() -> None:
    """Trials come in any order, with ties and with trials that do not pause; promotions come between them."""
    for seed in range(40):
        rng = random.Random(seed)
        rung, reference, reduction = Rung(), SortedRung(), rng.randint(2, 4)
        trials = rng.sample(range(80), 80)
        found = []
        while trials:
            if rng.random() < 0.6:
                trial, score, pause = trials.pop(), rng.randint(0, 15) / 15, rng.random() < 0.9
                rung.add(trial, score, pause=pause)
                reference.add(trial, score, pause=pause)
            else:
                found.append(rung.pop_promotable(reduction))
                assert found[-1] == reference.pop_promotable(reduction), seed
        assert len([trial for trial in found if trial is not None]) >= 5, seed


class Counted(float):
    """A score that counts its comparisons."""

    count = 0

    def __neg__(self) -> "Counted":
        return Counted(-float(self))

    def __lt__(self, other: float) -> bool:
        Counted.count += 1
        return float(self) < float(other)

    def __eq__(self, other: object) -> bool:
        Counted.count += 1
        return float(self) == other

    __hash__ = float.__hash__


def test_an_answer_compares_a_number_of_scores_that_grows_with_the_logarithm() -> None:
    """A list that was sorted for each question would compare about 2,000 scores."""
    rng, rung, n = random.Random(0), Rung(), 4096
    Counted.count, n_promoted = 0, 0
    for trial in range(n):
        rung.add(trial, Counted(rng.random()), pause=True)
        n_promoted += rung.pop_promotable(4) is not None
    assert n_promoted > n // 5
    assert Counted.count / n < 12 * math.log2(n)
