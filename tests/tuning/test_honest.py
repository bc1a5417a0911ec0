"""tuning.honest: on simulated studies whose truth is known the raw figure is optimistic and the corrected one is not."""

import statistics

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.simulated_searches import covers, simulated, simulated_outcomes
from tuning.honest import honest_number, resampled, rivals

SEARCHES, REPEATS = 200, 200


def equal(draw: np.random.Generator) -> NDArray[np.float64]:
    return np.full(30, 0.78)


def single(draw: np.random.Generator) -> NDArray[np.float64]:
    return np.full(1, 0.78)


def test_the_best_of_equal_trials_looks_better_than_it_is_and_the_corrected_figure_does_not() -> None:
    """30 equal trials, 400 sentences. The raw error's standard error is 0.1 points."""
    found = simulated_outcomes(SEARCHES, equal, 0.6, repeats=REPEATS)
    raw, corrected = ([getattr(o, figure) - o.true for o in found] for figure in ("raw", "corrected"))
    assert statistics.mean(raw) > 0.015
    assert abs(statistics.mean(corrected)) < 4 * statistics.stdev(corrected) / SEARCHES**0.5 < 0.01


@pytest.mark.parametrize(("accuracies", "shared"), [(equal, 0.6), (single, 0.0)])
def test_the_corrected_interval_holds_the_truth_as_often_as_it_says(accuracies, shared: float) -> None:
    """In 95% of 200 searches, within three standard errors of that share (1.5 points each)."""
    found = simulated_outcomes(SEARCHES, accuracies, shared, repeats=REPEATS)
    held = statistics.mean(covers(o.corrected_interval, o.true) for o in found)
    assert 0.95 - 3 * 0.0154 <= held


def test_the_interval_of_a_trial_that_had_no_rival_is_as_wide_as_the_binomial_one() -> None:
    found = simulated_outcomes(20, single, 0.0)
    widths = [
        (o.corrected_interval.high - o.corrected_interval.low) / (o.raw_interval.high - o.raw_interval.low)
        for o in found
    ]
    assert statistics.mean(widths) == pytest.approx(1, abs=0.05)
    assert statistics.mean(o.corrected - o.raw for o in found) == pytest.approx(0, abs=0.002)


def test_the_same_study_gives_the_same_number_to_the_last_bit() -> None:
    correct = simulated(np.random.default_rng(3), np.full(12, 0.8), 300, 0.5)
    assert honest_number(correct) == honest_number(correct.copy())
    assert honest_number(correct, seed=1) != honest_number(correct)


def test_the_matrix_product_chooses_as_a_loop_over_resamplings_does() -> None:
    correct = simulated(np.random.default_rng(1), np.linspace(0.6, 0.7, 5), 40, 0.3)
    draw = np.random.default_rng(9)
    expected = []
    for places in draw.integers(0, 40, (50, 40)):
        hits = [int(row[places].sum()) for row in correct]
        left_out = np.setdiff1d(np.arange(40), places)
        expected.append(correct[hits.index(max(hits))][left_out].mean())  # the first of equals
    assert resampled(correct, 50, 9).tolist() == pytest.approx(expected)


def test_the_first_of_equals_wins() -> None:
    one = np.array([True, True, False, False])
    correct = np.stack([~one, one, one])
    assert honest_number(correct).raw == 0.5
    assert set(resampled(np.stack([one, one]), 20, 0)) <= {0.0, 0.5, 1.0, 1 / 3, 2 / 3}


def test_trials_that_cannot_win_do_not_take_part() -> None:
    draw = np.random.default_rng(5)
    good, bad = simulated(draw, np.full(4, 0.8), 500, 0.5), simulated(draw, np.full(3000, 0.5), 500, 0.5)
    correct = np.concatenate([bad[:1500], good, bad[1500:]])
    winner = int(correct.sum(axis=1).argmax())
    assert np.flatnonzero(rivals(correct, winner)).tolist() == [1500, 1501, 1502, 1503]
    found, alone = honest_number(correct), honest_number(good)
    assert (found.trials, found.rivals, alone.trials) == (3004, 4, 4)
    assert (found.corrected, found.corrected_interval) == (alone.corrected, alone.corrected_interval)


def test_a_trial_ahead_by_every_sentence_that_differs_may_still_be_overtaken_when_few_do() -> None:
    best = np.ones(100, dtype=bool)
    close, far = best.copy(), best.copy()
    close[:3] = False
    far[:40] = False
    assert rivals(np.stack([best, close, far]), 0).tolist() == [True, True, False]


def test_a_perfect_trial_stays_perfect() -> None:
    found = honest_number(np.ones((3, 50), dtype=bool))
    assert (found.raw, found.corrected, found.rivals, found.sentences) == (1.0, 1.0, 3, 50)


@pytest.mark.parametrize("shape", [(0, 10), (3, 1)])
def test_nothing_to_judge_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1 trial and 2 sentences"):
        honest_number(np.ones(shape, dtype=bool))
