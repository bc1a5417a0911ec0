"""tuning.analysis.ensemble: the selected models, and the expected score of their mean."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.errors import ConfigError, CorruptionError
from core.metrics import METRICS
from tests.support.assessed_studies import attributes, predicting, store_probabilities, trial
from tuning.analysis.assessment import assess
from tuning.analysis.ensemble import EPOCH_SHARE, MAX_CANDIDATES, Library, estimate_ensemble, select
from tuning.analysis.selection_bias import DENSITY, FIXED, Resamples, draw_counts
from tuning.journal.probabilities import epoch_name
from tuning.journal.records import PLAIN_BASELINE


def library(
    n_models: int, n: int = 60, n_classes: int = 2, metric: str = "accuracy", seed: int = 0, plain: bool = True
) -> Library:
    """Models that are right more often than not; a few distinct probabilities, so that there are many ties."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, n_classes, n)
    weights = draw.integers(1, 4, (n_classes, n_models, n)).astype(float)
    weights[labels, :, np.arange(n)] += draw.integers(0, 3, (n, n_models))
    models = [*range(n_models - 1), FIXED] if plain else list(range(n_models))
    return Library(
        metric=METRICS[metric],
        labels=labels,
        models=models,
        probabilities=(weights / weights.sum(axis=0)).astype(np.float32),
        costs=draw.integers(1, 10, n_models).astype(float),
    )


def plain_select(found: Library, count: NDArray[np.integer], size: int, max_cost: float = np.inf) -> list[int]:
    """Select for one resample, by the rules as they are written, on the repeated sentences."""
    rows = np.repeat(np.arange(len(found.labels)), count)
    labels, n_classes = found.labels[rows], len(found.probabilities)

    def scores(places: Sequence[int]) -> tuple[float, float]:
        total = found.probabilities[:, sorted(places)].astype(np.float64).sum(axis=1)[:, rows].T  # (n, C)
        mean = (total / len(places)).astype(np.float32)
        by_metric = found.metric.value(labels, total.argmax(axis=1), mean, n_classes)
        loss = METRICS["log_loss"].value(labels, total.argmax(axis=1), mean, n_classes)
        by_metric = found.metric.oriented(by_metric)
        return round(by_metric, 12) if found.metric.name == "log_loss" else by_metric, round(-loss, 12)

    def cost(places: Sequence[int]) -> float:
        return float(found.costs[sorted(set(places))].sum())

    every = [place for place in range(len(found.models)) if cost([place]) <= max_cost]
    best = sorted(every, key=lambda place: (-scores([place])[0], place))[:MAX_CANDIDATES]
    every = [place for place in every if place in best or found.models[place] == FIXED]
    chosen: list[int] = []
    for step in range(size):
        allowed = [place for place in every if cost([*chosen, place]) <= max_cost]
        plain = [place for place in allowed if found.models[place] == FIXED and step % 2]
        if plain and scores([*chosen, *plain])[1] > scores(chosen)[1]:
            chosen += plain
        else:
            chosen.append(max(allowed, key=lambda place: (*scores([*chosen, place]), -place)))
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n_classes", "plain"), [(2, True), (3, False)])
def test_the_selection_follows_the_rules_in_each_resample(metric: str, n_classes: int, plain: bool) -> None:
    found = library(14, 40, n_classes, metric, plain=plain)
    counts = np.concatenate([np.ones((1, 40), dtype=np.int64), *draw_counts(40, repeats=12)])
    for max_cost in (None, 12.0):
        selected = select(found, counts, size=4, max_cost=max_cost)
        for row, count in zip(selected, counts, strict=True):
            expected = plain_select(found, count, 4, max_cost or np.inf)
            assert row.tolist() == np.bincount(expected, minlength=14).tolist()


def test_the_selection_does_not_depend_on_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    found = library(6, 40, 3, "macro_f1")
    counts = np.concatenate(list(draw_counts(40, repeats=13)))
    whole = select(found, counts, size=4)
    monkeypatch.setattr("tuning.analysis.ensemble.AT_ONCE", 36)  # two resamples of six models and three classes
    assert select(found, counts, size=4).tolist() == whole.tolist()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6), n_models=st.integers(1, 6), n=st.integers(2, 12), size=st.integers(1, 6),
    plain=st.booleans(),
)  # fmt: skip
def test_any_small_library_is_selected_from_by_the_rules(
    seed: int, n_models: int, n: int, size: int, plain: bool
) -> None:
    found = library(n_models, n, seed=seed, plain=plain)
    once = np.ones((1, n), dtype=np.int64)
    expected = np.bincount(plain_select(found, once[0], size), minlength=n_models)
    assert select(found, once, size=size)[0].tolist() == expected.tolist()


def resamples_of(found: Library, repeats: int) -> Resamples:
    """Resamples of the library's own outputs, one epoch each."""
    outputs = found.probabilities.argmax(axis=0)
    return Resamples(
        metric=found.metric,
        labels=found.labels,
        n_classes=len(found.probabilities),
        trials=found.models,
        outputs=[[each] for each in outputs],
        repeats=repeats,
    )


def test_a_part_of_the_bias_by_the_choice_of_the_members_epochs_is_subtracted() -> None:
    """Each trial has a second epoch that is as good, on other sentences."""
    found, repeats = library(6, 50), 40
    first = found.probabilities.argmax(axis=0)
    second = np.where(np.roll(first == found.labels, 1, axis=1), found.labels, 1 - found.labels)
    pairs = zip(found.models, first, second, strict=True)
    both = Resamples(
        metric=found.metric, labels=found.labels, n_classes=2, trials=found.models, repeats=repeats,
        outputs=[[one] if number == FIXED else [one, other] for number, one, other in pairs],
    )  # fmt: skip
    counts = np.concatenate(list(draw_counts(50, repeats=repeats)))
    shares = select(found, counts, size=3).mean(axis=0) / 3
    bias = EPOCH_SHARE * float(shares @ np.array([both.epoch_bias(number) for number in found.models]))
    alone, chosen = (estimate_ensemble(found, each, size=3) for each in (resamples_of(found, repeats), both))
    assert bias > 0
    assert alone.corrected.value - chosen.corrected.value == pytest.approx(bias)


def test_the_estimate_repeats_the_selection_in_the_resamples_of_the_best_trial() -> None:
    found, repeats = library(6, 50), 40
    resamples = resamples_of(found, repeats)
    estimate = estimate_ensemble(found, resamples, size=3)
    counts = np.concatenate(list(draw_counts(50, repeats=repeats)))
    once = np.ones(50, dtype=np.int64)

    def accuracy(places: Sequence[int], count: NDArray[np.integer]) -> float:
        predictions = found.probabilities[:, list(places)].astype(np.float64).sum(axis=1).argmax(axis=0)
        return float(((predictions == found.labels) * count).sum() / count.sum())

    def corrected(chosen: Sequence[Sequence[int]], actual: Sequence[int]) -> float:
        changes = [accuracy(each, count) - accuracy(each, once) for each, count in zip(chosen, counts, strict=True)]
        own = np.array([accuracy(actual, count) - accuracy(actual, once) for count in counts])
        base = [accuracy(each, once) for each in chosen]
        shift = own.mean()
        return float(np.mean(np.array(base) - DENSITY * ((np.array(changes) - shift) - (own - shift))))

    ensemble = corrected([plain_select(found, count, 3) for count in counts], plain_select(found, once, 3))
    assert estimate.corrected.value == pytest.approx(ensemble)
    best = resamples.corrected(resamples.repeated(resamples.first))
    assert estimate.gain.value == pytest.approx(ensemble - best.value)
    assert estimate.gain_over_plain is not None
    assert estimate.gain_over_plain.value == pytest.approx(ensemble - accuracy([5], once))
    assert estimate.corrected.raw == pytest.approx(accuracy(plain_select(found, once, 3), once))
    assert estimate.counts == {
        found.models[place]: count
        for place, count in sorted(enumerate(np.bincount(plain_select(found, once, 3))), key=lambda e: (-e[1], e[0]))
        if count
    }


def test_figures_of_fewer_resamples_differ_by_the_gain_from_the_best_trials_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tuning.analysis.ensemble.REPEATS", 30)
    found = library(6, 50)
    resamples = resamples_of(found, 90)
    estimate = estimate_ensemble(found, resamples)
    best = resamples.corrected(resamples.repeated(resamples.first))
    assert estimate.corrected.value == pytest.approx(best.value + estimate.gain.value)


@pytest.mark.slow
def test_the_mean_of_equal_models_is_corrected() -> None:
    """Ensembles of independent models of accuracy 0.7; the true accuracy is that on as many other sentences again."""
    errors = []
    for seed in range(30):
        draw = np.random.default_rng(seed)
        labels = draw.integers(0, 2, 4300)
        odds = draw.normal(0.6, 1.0, (12, 4300)) * np.where(labels, 1, -1)
        share = (1 / (1 + np.exp(-odds))).astype(np.float32)
        every = np.stack([1 - share, share])
        found = Library(metric=METRICS["accuracy"], labels=labels[:300], models=list(range(12)),
                        probabilities=every[:, :, :300], costs=np.ones(12))  # fmt: skip
        estimate = estimate_ensemble(found, resamples_of(found, 300))
        mean = np.tensordot([estimate.counts.get(number, 0) for number in range(12)], every[:, :, 300:], (0, 1))
        true = (mean.argmax(axis=0) == labels[300:]).mean()
        errors.append((estimate.corrected.raw - true, estimate.corrected.value - true,
                       estimate.corrected.interval.low <= true <= estimate.corrected.interval.high))  # fmt: skip
    raw, corrected, covered = np.mean(errors, axis=0)
    assert raw > 0.02
    assert abs(corrected) < 0.012
    assert covered > 0.85


def test_members_cost_at_most_the_limit_and_a_repeated_one_costs_once() -> None:
    found = library(8, 80)
    for limit in (float(found.costs.min()), 10.0, 15.0):
        for row in select(found, np.ones((1, 80), dtype=np.int64), size=6, max_cost=limit):
            assert row.sum() == 6
            assert found.costs[row > 0].sum() <= limit
    with pytest.raises(
        ConfigError,
        match=r"no model has at most 0 multiplications per word, the cheapest model needs [1-9].*; pass a larger --max",
    ):
        select(found, np.ones((1, 80), dtype=np.int64), max_cost=0.5)


def test_of_more_equal_models_than_candidates_the_first_member_is_a_candidate() -> None:
    """Model 11 has the lowest log loss, but it is none of the first models, and costs as much as the limit."""
    right = np.full((12, 20), 0.94)
    right[:11, 0] = 0.19
    right[11], right[11, 1] = 0.95, 0.2
    found = Library(
        metric=METRICS["accuracy"],
        labels=np.zeros(20, dtype=np.int64),
        models=list(range(12)),
        probabilities=np.stack([right, 1 - right]).astype(np.float32),
        costs=np.array([60.0] * 11 + [100.0]),
    )
    selected = select(found, np.ones((1, 20), dtype=np.int64), size=2, max_cost=100)[0]
    assert selected.tolist() == [2, *[0] * 11]


def study(folder: Path, wrong: Sequence[range], *, plain: range | None = None) -> dict[str, object]:
    """Store probabilities of trials that are wrong on these sentences; return the study's attributes."""
    for number, each in enumerate(wrong):
        store_probabilities(folder, epoch_name(number, 2), each)
    if plain is None:
        return attributes()
    store_probabilities(folder, PLAIN_BASELINE, plain)
    return attributes(plain_baseline={"val_predictions": predicting(plain)})


WRONG = (range(60), range(20, 70), range(60, 105), range(100, 150))


@pytest.mark.parametrize(("most", "found"), [(799, False), (800, True)])
def test_without_memory_for_two_trials_there_is_no_ensemble(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, most: int, found: bool
) -> None:
    """Each trial has 400 probabilities. An ensemble of the best trial alone would show nothing about the others."""
    monkeypatch.setattr("tuning.analysis.ensemble.MAX_NUMBERS", most)
    kept, trials = study(tmp_path, WRONG), [trial(number, each) for number, each in enumerate(WRONG)]
    assert (assess(trials, kept, tmp_path).ensemble is not None) == found


def test_an_assessment_has_the_ensemble_of_trials_and_plain_baseline(tmp_path: Path) -> None:
    kept = study(tmp_path, WRONG, plain=range(140, 190))
    found = assess([trial(number, each) for number, each in enumerate(WRONG)], kept, tmp_path)
    assert found.ensemble is not None
    assert sum(found.ensemble.weights.values()) == pytest.approx(1)
    assert dataclasses.replace(found.ensemble, counts={1: 4, FIXED: 1}).weights == {1: 0.8, FIXED: 0.2}
    assert FIXED in found.ensemble.counts
    assert found.ensemble.multiplications == 4 + 384 * (len(found.ensemble.counts) - 1)
    assert found.ensemble.gain.raw > 0.1
    assert found.ensemble.gain.interval.low > 0
    again = assess([trial(number, each) for number, each in enumerate(WRONG)], kept, tmp_path)
    assert again.ensemble == found.ensemble


def test_size_and_cost_are_those_of_the_caller(tmp_path: Path) -> None:
    kept, trials = study(tmp_path, WRONG, plain=range(80)), [trial(number, each) for number, each in enumerate(WRONG)]
    small = assess(trials, kept, tmp_path, ensemble_size=2, max_cost=400).ensemble
    assert small is not None
    assert (sum(small.counts.values()), small.multiplications <= 400) == (2, True)
    cheap = assess(trials, kept, tmp_path, max_cost=4).ensemble
    assert cheap is not None
    assert dict(cheap.counts) == {FIXED: 5}
    with pytest.raises(ConfigError, match=r"no model has at most 3 multiplications per word, the cheapest .* needs 4"):
        assess(trials, kept, tmp_path, max_cost=3)


def test_the_best_trial_alone_has_its_own_figures(tmp_path: Path) -> None:
    """The choice between its two epochs is corrected in full, as in the row of the trial."""
    kept = study(tmp_path, [range(60)])
    epochs = (predicting(range(100, 161)), predicting(range(60)))
    found = assess([trial(0, range(60), predictions=epochs)], kept, tmp_path)
    assert found.ensemble is not None
    assert found.corrected is not None
    assert found.corrected.value < found.corrected.raw
    assert dict(found.ensemble.counts) == {0: 5}
    assert found.ensemble.corrected == found.corrected
    assert (found.ensemble.gain.raw, found.ensemble.gain.value) == (0, 0)


def test_the_plain_baseline_alone_has_its_own_figures(tmp_path: Path) -> None:
    kept, trials = study(tmp_path, WRONG, plain=range(80)), [trial(number, each) for number, each in enumerate(WRONG)]
    found = assess(trials, kept, tmp_path, max_cost=4)
    alone, plain, gain = found.ensemble, found.references[0], found.gain_over_plain
    assert alone is not None
    assert gain is not None
    assert (alone.corrected.value, alone.corrected.interval) == (plain.accuracy, plain.interval)
    assert alone.gain.value == pytest.approx(-gain.value)
    assert alone.gain.interval.low == pytest.approx(-gain.interval.high)
    assert alone.gain_over_plain is not None
    assert alone.gain_over_plain.value == 0


def test_a_trial_without_probabilities_of_its_best_epoch_is_no_member(tmp_path: Path) -> None:
    kept, trials = study(tmp_path, WRONG), [trial(number, each) for number, each in enumerate(WRONG)]
    files = {number: tmp_path / f"probabilities/{epoch_name(number, 2)}.npz" for number in range(4)}
    files[2].unlink()
    files[1].rename(files[1].with_stem(epoch_name(1, 1)))
    found = assess(trials, kept, tmp_path).ensemble
    assert found is not None
    assert set(found.counts) <= {0, 3}
    assert found.gain_over_plain is None
    for number in (0, 3):
        files[number].unlink()
    assert assess(trials, kept, tmp_path).ensemble is None


def test_a_trial_that_predicts_one_class_is_no_member(tmp_path: Path) -> None:
    constant = range(0, 200, 2)
    wrong = [*WRONG, constant]
    kept = study(tmp_path, wrong)
    found = assess([trial(number, each) for number, each in enumerate(wrong)], kept, tmp_path, ensemble_size=9)
    assert found.useless[4] == "one class"
    assert found.ensemble is not None
    assert 4 not in found.ensemble.counts


def test_damaged_probabilities_are_reported(tmp_path: Path) -> None:
    kept = study(tmp_path, WRONG)
    (tmp_path / f"probabilities/{epoch_name(2, 2)}.npz").write_bytes(b"PK")
    with pytest.raises(CorruptionError, match=r"00002-2\.npz is damaged .*; restore a copy, or remove the file to"):
        assess([trial(number, each) for number, each in enumerate(WRONG)], kept, tmp_path)
