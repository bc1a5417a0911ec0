"""On simulated studies of known truth the raw figure is optimistic and the corrected one is not."""

import statistics
from functools import cache

import numpy as np
import pytest

from benchmarks.quality.simulated_searches import Kind, Outcome, covers, simulated, simulated_outcomes
from core.stats import Interval, wilson
from tuning.analysis.selection_bias import bootstrap, contenders, corrected_accuracy

SEARCHES = 200
KINDS = {
    "equal": Kind(accuracies=lambda draw: np.full(30, 0.78), shared=0.6),
    "single": Kind(accuracies=lambda draw: np.full(1, 0.78), shared=0.6),
    "different": Kind(accuracies=lambda draw: draw.normal(0.75, 0.03, 30), shared=0.6),
}
"""Searches on 400 validation sentences, which are hard or easy for all trials alike."""


@cache
def searches(kind: str) -> list[Outcome]:
    return simulated_outcomes(SEARCHES, KINDS[kind], repeats=200)


def errors(kind: str, figure: str) -> list[float]:
    return [getattr(o, figure) - o.true for o in searches(kind)]


def width(interval: Interval) -> float:
    return interval.high - interval.low


@pytest.mark.slow
def test_the_best_of_equal_trials_looks_better_than_it_is_and_the_corrected_figure_does_not() -> None:
    """The standard error of either mean is 0.1 points."""
    assert statistics.mean(errors("equal", "raw")) > 0.025
    assert abs(statistics.mean(errors("equal", "corrected"))) < 0.004


@pytest.mark.slow
def test_where_trials_differ_the_corrected_figure_errs_on_the_careful_side_and_raw_does_not() -> None:
    assert -0.015 < statistics.mean(errors("different", "corrected")) < 0.002
    assert statistics.mean(errors("different", "raw")) > 0.008


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_corrected_interval_holds_the_truth_at_least_as_often_as_it_says(kind: str) -> None:
    """In 95% of 200 searches, within three standard errors of that share (1.5 points each); and not by its width."""
    held = statistics.mean(covers(o.corrected_interval, o.true) for o in searches(kind))
    assert held >= 0.95 - 3 * 0.0154
    assert statistics.mean(width(o.corrected_interval) / width(o.raw_interval) for o in searches(kind)) < 1.2


@pytest.mark.slow
def test_the_raw_interval_does_not() -> None:
    assert statistics.mean(covers(o.raw_interval, o.true) for o in searches("equal")) < 0.85


def test_the_interval_of_a_trial_that_had_no_rival_is_as_wide_as_the_binomial_one() -> None:
    ratios = [width(o.corrected_interval) / width(o.raw_interval) for o in searches("single")]
    assert statistics.mean(ratios) == pytest.approx(1, abs=0.05)


def test_the_same_study_gives_the_same_number_to_the_last_bit() -> None:
    correct = simulated(np.random.default_rng(3), np.full(12, 0.8), 300, 0.5)
    assert corrected_accuracy(correct) == corrected_accuracy(correct.copy())
    assert corrected_accuracy(correct, seed=1) != corrected_accuracy(correct)


def test_the_matrix_product_chooses_as_a_loop_over_resamplings_does() -> None:
    correct = simulated(np.random.default_rng(1), np.linspace(0.6, 0.7, 5), 40, 0.3)
    draw = np.random.default_rng(9)
    expected, expected_unchosen = [], []
    for places in draw.integers(0, 40, (50, 40)):
        hits = [int(row[places].sum()) for row in correct]
        left_out = np.setdiff1d(np.arange(40), places)
        expected.append(correct[hits.index(max(hits))][left_out].mean())  # the first of equals
        expected_unchosen.append(correct[2][left_out].mean())
    judged, unchosen = bootstrap(correct, 2, 50, 9)
    assert judged.tolist() == pytest.approx(expected)
    assert unchosen.tolist() == pytest.approx(expected_unchosen)


def test_the_estimate_is_the_mean_of_the_resamplings_and_hardly_depends_on_them() -> None:
    correct = simulated(np.random.default_rng(1), np.linspace(0.7, 0.8, 10), 400, 0.6)
    winner = int(correct.sum(axis=1).argmax())
    found = [corrected_accuracy(correct, seed=seed).corrected for seed in range(5)]
    judged, _ = bootstrap(correct, winner, 5_000, 9)
    assert statistics.mean(found) == pytest.approx(judged.mean(), abs=0.002)
    assert statistics.stdev(found) < 0.0005


def test_a_winner_without_a_rival_keeps_its_figure() -> None:
    correct = simulated(np.random.default_rng(1), np.array([0.5, 0.9, 0.6]), 400, 0.6)
    found = corrected_accuracy(correct)
    assert found.corrected == found.raw


def test_the_first_of_equals_wins() -> None:
    one = np.array([True, True, False, False])
    correct = np.stack([~one, one, one])
    assert corrected_accuracy(correct).raw == 0.5
    judged, unchosen = bootstrap(np.stack([one, one]), 0, 20, 0)
    assert judged.tolist() == unchosen.tolist()


def test_trials_that_cannot_win_do_not_take_part() -> None:
    draw = np.random.default_rng(5)
    good, bad = simulated(draw, np.full(4, 0.8), 500, 0.5), simulated(draw, np.full(3000, 0.5), 500, 0.5)
    correct = np.concatenate([bad[:1500], good, bad[1500:]])
    winner = int(correct.sum(axis=1).argmax())
    assert np.flatnonzero(contenders(correct, winner)).tolist() == [1500, 1501, 1502, 1503]
    found, alone = corrected_accuracy(correct), corrected_accuracy(good)
    assert (found.trials, alone.trials) == (3004, 4)
    assert (found.corrected, found.corrected_interval) == (alone.corrected, alone.corrected_interval)


def test_a_trial_ahead_by_every_sentence_that_differs_may_still_be_overtaken_when_few_do() -> None:
    best = np.ones(100, dtype=bool)
    close, far = best.copy(), best.copy()
    close[:3] = False
    far[:40] = False
    assert contenders(np.stack([best, close, far]), 0).tolist() == [True, True, False]


@pytest.mark.parametrize("seed", range(10))
def test_two_trials_that_are_right_on_one_of_two_sentences_each_are_worth_nothing_and_not_less(seed: int) -> None:
    """Whichever wins on the sentence drawn is wrong on the other."""
    found = corrected_accuracy(np.eye(2, dtype=bool), repeats=100, seed=seed)
    assert found.raw == 0.5
    assert 0 <= found.corrected < 0.25


def test_a_perfect_trial_stays_perfect() -> None:
    found = corrected_accuracy(np.ones((3, 50), dtype=bool))
    assert (found.raw, found.corrected) == (1.0, 1.0)
    assert (found.corrected_interval.low, found.corrected_interval.high) == (wilson(50, 50).low, 1.0)  # not certain


@pytest.mark.parametrize("shape", [(0, 10), (3, 1)])
def test_nothing_to_judge_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1 trial and 2 sentences"):
        corrected_accuracy(np.ones(shape, dtype=bool))
