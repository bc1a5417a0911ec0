"""tuning.analysis.selection_bias and recommendation: figures of choices that are repeated on resampled sentences."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import pytest

from core.metrics import METRICS
from core.stats import wilson
from tuning.analysis.recommendation import Recommendation
from tuning.analysis.selection_bias import ADDED, FIXED, Resamples, Terms, adjusted, class_terms, n_repeats

LABELS = np.arange(400) % 2


def predictions(draw: np.random.Generator, accuracies: Sequence[float], n: int = 400) -> list[np.ndarray]:
    """Independent outputs with these true accuracies."""
    return [np.where(draw.random(n) < each, np.arange(n) % 2, 1 - np.arange(n) % 2) for each in accuracies]


def resampled(outputs: Sequence[Sequence[np.ndarray]], name: str = "accuracy", **options: int) -> Resamples:
    trials, labels = range(len(outputs)), np.arange(outputs[0][0].shape[0]) % 2
    return Resamples(metric=METRICS[name], labels=labels, n_classes=2, trials=trials, outputs=outputs, **options)


def test_many_sentences_have_fewer_resamples() -> None:
    assert [n_repeats(n) for n in (200, 16_000, 33_554, 100_000, 10**6)] == [2000, 2000, 1000, 335, 200]
    assert n_repeats(200, 500) == n_repeats(50_000, 500) == 500


def mean_error(trials: int, epochs: int, searches: int = 60) -> tuple[float, float]:
    """Raw and corrected minus true accuracy of the best of equal candidates of accuracy 0.75."""
    errors = []
    for seed in range(searches):
        draw = np.random.default_rng(seed)
        found = resampled([predictions(draw, [0.75] * epochs) for _ in range(trials)], repeats=400)
        best = found.corrected(found.repeated(found.first))
        errors.append((best.raw - 0.75, best.value - 0.75))
    raw, corrected = np.mean(errors, axis=0)
    return raw, corrected


@pytest.mark.slow
def test_the_choice_among_trials_and_their_epochs_is_corrected() -> None:
    """30 equal candidates raise the best by 4 points; the standard error of the mean is 0.3 points."""
    for trials, epochs in ((30, 1), (6, 5), (1, 30)):
        raw, corrected = mean_error(trials, epochs)
        assert raw > 0.035
        assert abs(corrected) < 0.009


def test_the_figures_do_not_depend_on_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 1,048 sentences need several blocks."""
    draw = np.random.default_rng(0)
    outputs = [predictions(draw, [0.7, 0.72]) for _ in range(3)]
    whole = resampled(outputs, repeats=95)
    monkeypatch.setattr("tuning.analysis.selection_bias.AT_ONCE", 2**13)  # ten resamples of 800 sentences
    monkeypatch.setattr("tuning.analysis.selection_bias.CANDIDATES_AT_ONCE", 4 * 400)  # of six
    parts = resampled(outputs, repeats=95)
    np.testing.assert_array_equal(parts.best, whole.best)
    np.testing.assert_array_equal(parts.own_change, whole.own_change)
    assert parts.corrected(parts.repeated(parts.first)) == whole.corrected(whole.repeated(whole.first))


def test_a_single_candidate_needs_no_correction_and_has_at_least_its_binomial_interval() -> None:
    outputs = predictions(np.random.default_rng(0), [0.7])
    found = resampled([outputs])
    alone, accuracy = found.corrected(found.repeated(found.first)), float((outputs[0] == LABELS).mean())
    assert alone.raw == alone.value == accuracy
    binomial = wilson(accuracy * 400, 400)
    assert alone.interval.low <= binomial.low
    assert alone.interval.high >= binomial.high


@pytest.mark.slow
def test_the_gain_over_fixed_outputs_is_corrected_and_they_are_never_chosen() -> None:
    """The truth is no gain: the best of 20 equal trials against outputs that were not chosen and are as accurate."""
    gains = []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        outputs = [predictions(draw, [0.75]) for _ in range(20)]
        labels, fixed = LABELS, predictions(draw, [0.75])
        found = Resamples(
            metric=METRICS["accuracy"],
            labels=labels,
            n_classes=2,
            trials=[*range(20), FIXED],
            outputs=[*outputs, fixed],
            repeats=300,
        )
        assert list(found.places)[int(found.first(found.raw[None])[0])] != FIXED
        gain = found.difference(found.repeated(found.first), found.only(FIXED))
        gains.append((gain.raw, gain.value, gain.interval.low <= 0 <= gain.interval.high))
    raw, corrected, covered = np.mean(gains, axis=0)
    assert raw > 0.03
    assert abs(corrected) < 0.013
    assert covered > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "mcc"])
@pytest.mark.parametrize(("n", "rare", "accuracy"), [(100, 10, 0.9), (100, 50, 0.97), (100, 5, 0.6)])
def test_the_interval_of_a_mean_over_classes_covers_the_truth(name: str, n: int, rare: int, accuracy: float) -> None:
    """A class that is (almost) all right hardly varies in the resamples: with them alone, it is 69 to 93%."""
    metric, covered = METRICS[name], []
    labels = np.arange(n) < rare
    many = np.repeat(labels, 1000)
    truth = metric.value(many, many ^ (np.random.default_rng(0).random(1000 * n) > accuracy), None, 2)
    for seed in range(100):
        draw = np.random.default_rng(seed)
        outputs = [[labels ^ (draw.random(n) > accuracy)] for _ in range(6)]
        found = Resamples(
            metric=metric, labels=labels.astype(int), n_classes=2, trials=range(6), outputs=outputs, repeats=100
        )
        interval = found.corrected(found.repeated(found.first)).interval
        covered.append(interval.low <= truth <= interval.high)
    assert np.mean(covered) >= 0.9


def test_each_class_gets_some_sentences_at_both_ends() -> None:
    """Expected: the means and variances of Price and Bonett, with one right and one wrong sentence more per class."""
    labels, right = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1])
    terms = class_terms(METRICS["balanced_accuracy"], labels, right, 3)  # no label has the third class
    shift, error = adjusted(terms, labels, ADDED)
    assert shift == pytest.approx((4 / 6 - 3 / 4 + 3 / 4 - 1) / 2)
    assert error == pytest.approx((4 / 6 * 2 / 6 / 6 + 3 / 4 * 1 / 4 / 4) ** 0.5 / 2)
    none = Terms(values=0 * terms.values, low=terms.low, high=terms.high)
    shift, error = adjusted(terms.minus(none), labels, ADDED)  # 3 of 4 and 2 of 2 pairs are discordant
    assert shift == pytest.approx((3 / 6 - 3 / 4 + 2 / 4 - 1) / 2)
    assert error == pytest.approx(((5 / 6 - 1 / 4) / 6 + (1 - 1 / 4) / 4) ** 0.5 / 2)


@pytest.mark.parametrize(
    "name", [name for name, metric in METRICS.items() if not metric.needs_probabilities and name != "accuracy"]
)
def test_the_terms_tell_how_a_score_changes_with_a_prediction(name: str) -> None:
    draw, metric = np.random.default_rng(0), METRICS[name]
    labels = draw.choice(3, 3000, p=[0.6, 0.3, 0.1])
    outputs = np.where(draw.random(3000) < 0.7, labels, draw.integers(0, 3, 3000))
    terms, sizes = class_terms(metric, labels, outputs, 3), np.bincount(labels)
    before = metric.value(labels, outputs, None, 3)
    for place in range(30):
        other = outputs.copy()
        other[place] = (outputs[place] + 1) % 3
        found = class_terms(metric, labels, other, 3).values[place] - terms.values[place]
        change = metric.value(labels, other, None, 3) - before
        assert found / sizes[labels[place]] == pytest.approx(change, rel=0.02, abs=1e-7)
        assert terms.low[labels[place]] <= terms.values[place] <= terms.high[labels[place]]


@pytest.mark.parametrize(("name", "found"), [("balanced_accuracy", 2), ("macro_f1", 2), ("mcc", 2), ("mcc", 3)])
def test_two_or_three_sentences_of_a_rare_class_show_no_gain(name: str, found: int) -> None:
    """One trial finds all of them, the other none; both have the same false alarms."""
    labels, alarms = (np.arange(200) < found).astype(int), (np.arange(200) >= 195).astype(int)
    study = Resamples(
        metric=METRICS[name], labels=labels, n_classes=2, trials=[0, 1], outputs=[[alarms | labels], [alarms]]
    )
    gain = study.difference(study.only(0), study.only(1)).interval
    assert gain.low < 0 < gain.high
    leads, errors = study.leads(0)
    assert leads[1] < 1.96 * errors[1]


def ranked(places: Sequence[int]) -> np.ndarray:
    """Probabilities (60, 2) that rank the first of 60 sentences at these places."""
    scores = np.linspace(0.3, 0.1, 60)
    scores[: len(places)] = [0.3 - 0.2 * each / 59 + 1e-3 for each in places]
    return np.stack([1 - scores, scores], axis=1)


def test_the_terms_of_roc_auc_count_each_pair_for_both_of_its_sentences() -> None:
    draw, metric = np.random.default_rng(0), METRICS["roc_auc"]
    labels = draw.choice(3, 300, p=[0.6, 0.3, 0.1])
    outputs = draw.dirichlet([1, 1, 1], 300)
    terms = class_terms(metric, labels, outputs, 3)
    means = [terms.values[labels == k].mean() for k in range(3)]
    assert sum(means) == pytest.approx(2 * metric.value(labels, labels, outputs, 3))
    assert (terms.values <= terms.high[labels]).all()
    perfect = class_terms(metric, labels, np.eye(3)[labels], 3)
    assert perfect.values == pytest.approx(perfect.high[labels])


@pytest.mark.parametrize(("positive", "low"), [(1, 0.23), (3, 0.65), (30, 0.94)])
def test_a_perfect_ranking_of_few_sentences_is_not_sure(positive: int, low: float) -> None:
    """Without the sentences that are added, the interval begins at 0.967 in each case."""
    labels = (np.arange(60) < positive).astype(int)
    outputs = [[ranked(range(positive))], [ranked(range(40, 40 + positive))]]
    study = Resamples(metric=METRICS["roc_auc"], labels=labels, n_classes=2, trials=[0, 1], outputs=outputs)
    assert study.corrected(study.only(0)).interval.low == pytest.approx(low, abs=0.01)
    gain = study.difference(study.only(0), study.only(1)).interval
    assert (gain.low > 0) == (positive == 30)


def test_a_loss_is_corrected_upwards_and_stays_in_its_own_direction() -> None:
    draw = np.random.default_rng(0)
    chances = [draw.uniform(0.2, 0.8, 400) for _ in range(20)]
    found = resampled([[np.stack([1 - each, each], axis=1)] for each in chances], "log_loss")
    best = found.corrected(found.repeated(found.first))
    assert best.value > best.raw > 0
    assert best.interval.low < best.value < best.interval.high


def test_a_rare_class_that_some_resamples_lack_leaves_the_figures_finite() -> None:
    """About 270 of the 2,000 resamples lack the class of one sentence in 200."""
    labels = np.arange(200) == 7
    draw = np.random.default_rng(0)
    chances = [np.clip(0.4 * labels + draw.uniform(0, 0.6, 200), 0.01, 0.99) for _ in range(3)]
    outputs = [[np.stack([1 - each, each], axis=1)] for each in chances]
    found = Resamples(
        metric=METRICS["roc_auc"], labels=labels.astype(int), n_classes=2, trials=range(3), outputs=outputs
    )
    first = found.repeated(found.first)
    best, gain = found.corrected(first), found.difference(first, found.only(0))
    assert 0 < best.interval.low < best.value <= best.raw <= 1
    assert np.isfinite([gain.value, *astuple(gain.interval), *found.errors(0)]).all()


def test_a_perfect_score_stays_within_its_range() -> None:
    found = resampled([[np.arange(50) % 2]] * 3, "macro_f1")
    best = found.corrected(found.repeated(found.first))
    assert (best.raw, best.value, best.interval.high) == (1.0, 1.0, 1.0)
    assert best.interval.low < 1  # n sentences cannot resolve less


def test_a_difference_stays_within_its_range_and_a_few_sentences_show_none() -> None:
    """One trial is right on all sentences, the other one on none."""
    for n, shown in ((2, False), (29, False), (30, True)):
        right = np.arange(n) % 2
        for name, most in (("accuracy", 1), ("mcc", 2)):
            found = resampled([[right], [1 - right]], name, repeats=100)
            gain, loss = (found.difference(found.only(a), found.only(1 - a)) for a in (0, 1))
            assert (gain.value, gain.interval.high) == (most, most)
            assert (loss.value, loss.interval.low) == (-most, -most)
            assert (gain.interval.low > 0) == (loss.interval.high < 0) == shown


@pytest.mark.slow
def test_many_classes_need_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one block, the figures of 50 classes would take 42 MB."""
    monkeypatch.setattr("tuning.analysis.selection_bias.AT_ONCE", 2**16)
    draw, labels = np.random.default_rng(0), np.arange(200) % 50
    outputs = [[draw.integers(0, 50, 200)] for _ in range(200)]
    tracemalloc.start()
    Resamples(metric=METRICS["macro_f1"], labels=labels, n_classes=50, trials=range(200), outputs=outputs, repeats=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def rule(wrong: Sequence[int], multiplications: Sequence[float], sizes: Sequence[float] = (), useful: str = "") -> int:
    """Return the place of the recommended of trials that are wrong on different sentences of 400, this many each."""
    outputs = [[np.where(np.roll(np.arange(400), 60 * i) < each, 1 - LABELS, LABELS)] for i, each in enumerate(wrong)]
    found = resampled(outputs, repeats=200)
    choose = Recommendation(
        resamples=found,
        multiplications=np.array(multiplications, dtype=float),
        sizes=np.array(sizes or [1.0] * len(wrong)),
        useful=np.array([each == "y" for each in useful or "y" * len(wrong)]),
    )
    return int(choose(found.raw[None])[0])


def test_the_cheapest_within_one_standard_error_is_recommended() -> None:
    assert rule([40, 48], [100, 10]) == 1  # 8 of 400 sentences apart, the error is 9.4
    assert rule([40, 52], [100, 10]) == 0  # 12 apart, the error is 9.6
    assert rule([40, 48], [100, 51]) == 0  # hardly cheaper: the better one


def test_of_equal_scores_the_smaller_trial_is_recommended() -> None:
    assert rule([40, 40], [10, 10], [7, 5]) == 1


def test_what_may_not_be_recommended_is_not() -> None:
    assert rule([40, 41, 42], [100, 10, 1], useful="ynn") == 0
    assert rule([40, 41], [100, 10], useful="nn") == 0  # none may be: the best, and the caller says so
