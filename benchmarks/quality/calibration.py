"""When does a temperature help, and do the accuracies of `--at-accuracy` hold?

    python -m benchmarks.quality.calibration            2,000 draws of each size: three minutes
    python -m benchmarks.quality.calibration --quick    50 of each: shows that it works, not what holds

The models are those of benchmarks.quality.recorded_epochs with an accuracy of at least GOOD. A draw takes n of the
5,000 sentences as its validation split. The other sentences are the truth. The first table takes any of the models. It
compares log loss and expected calibration error on the other sentences, with the temperature fitted on the n sentences
and without. The second table simulates models that make few mistakes: their scores are normal, right up to a factor,
and a draw has another number of mistakes among its n sentences. The third table takes the best epoch of TRIALS
models on the n sentences, as a search does, and asks for the probability whose answers have a given accuracy. It counts
how often their true accuracy is lower.
"""

from collections.abc import Iterator, Sequence
from statistics import fmean

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.quality.recorded_epochs import RecordedEpochs
from benchmarks.quality.selection_bias import read_record
from benchmarks.results import new_parser, table_head, table_row
from core import calibration
from core.calibration import (
    apply_temperature,
    coverage_table,
    expected_calibration_error,
    find_min_probability,
    fit_temperature,
    reliability,
)
from core.log_odds import to_probabilities
from core.metrics import sentence_losses

SIZES = (25, 50, 100, 200, 400, 1000)
"""Validation sentences."""
ACCURACIES = (0.8, 0.85, 0.9)
"""Requested accuracies of the answers."""
GOOD = 0.65
"""Accuracy of a model that takes part."""
MISTAKES = (0, 2, 4, 9, 19, 39)
"""Limits of the rows of the second table."""
FACTORS = (1.0, 1.5, 2.5)
"""Temperatures at which the simulated probabilities are right."""
TRIALS = 16
"""Models from which the best one is chosen."""


def main() -> None:
    draws = 50 if new_parser(__doc__, "Use 50 draws of each size.").parse_args().quick else 2000
    recorded = read_record()
    labels, models = recorded.labels, outputs(recorded)
    print(f"{len(models)} models, {draws} draws of each size\n")
    calibration.MIN_SENTENCES, calibration.MIN_MISTAKES = 2, 0  # what they should be is the question
    print(*table_head(("sentences", "log loss", "worse", "calibration error", "worse")), sep="\n")
    for n in SIZES:
        print(table_row(temperature_row(labels, models, n, draws)), flush=True)
    print("", *table_head(("mistakes", *(f"right at temperature {factor}" for factor in FACTORS))), sep="\n")
    print(*mistake_rows(draws), sep="\n", flush=True)
    columns = ("sentences", "accuracy", "no such probability", "answered", "below the accuracy")
    print("", *table_head(columns), sep="\n")
    for n in SIZES[2:]:
        for accuracy in ACCURACIES:
            print(table_row(answers_row(recorded, n, accuracy, draws)), flush=True)


def outputs(recorded: RecordedEpochs) -> list[NDArray[np.float32]]:
    """Return the probabilities (n, 2) of each model after the epoch with the best accuracy."""
    accuracies = (recorded.predictions == recorded.labels).mean(axis=2)  # (T, E)
    best = [(trial, int(each.argmax())) for trial, each in enumerate(accuracies) if each.max() >= GOOD]
    return [to_probabilities(recorded.log_odds[place][:, None]) for place in best]


def draw_splits(
    n_sentences: int, n: int, draws: int
) -> Iterator[tuple[Generator, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield a generator, n sentences, and all others."""
    for draw in range(draws):
        random = np.random.default_rng([n, draw])
        order = random.permutation(n_sentences)
        yield random, order[:n], order[n:]


def temperature_row(
    labels: NDArray[np.int64], models: Sequence[NDArray[np.float32]], n: int, draws: int
) -> Sequence[str]:
    losses, errors = [], []
    for random, val, others in draw_splits(len(labels), n, draws):
        probabilities = models[random.integers(len(models))]
        found = apply_temperature(probabilities[others], fit_temperature(labels[val], probabilities[val]))
        both = probabilities[others].astype(np.float64), found
        before, after = (float(sentence_losses(labels[others], each).mean()) for each in both)
        losses.append(after - before)
        correct = both[0].argmax(axis=1) == labels[others]
        before, after = (expected_calibration_error(reliability(correct, each)) for each in both)
        errors.append(after - before)
    return (f"{n:,}", *(part for each in (losses, errors) for part in (f"{fmean(each):+.4f}", _share(each))))


def mistake_rows(draws: int) -> Iterator[str]:
    """Yield, by number of mistakes, the mean change of the log loss with its number of draws, for each of FACTORS."""
    changes: dict[tuple[int, float], list[float]] = {}
    for factor in FACTORS:
        for random, val, others in draw_splits(5_000, 200, draws):
            odds = random.normal(0, 5 * 40 ** random.random(), 5_000)
            labels = (random.random(5_000) < expit(odds)).astype(np.int64)
            probabilities = np.stack([expit(-factor * odds), expit(factor * odds)], axis=1)
            mistakes = int((probabilities[val].argmax(axis=1) != labels[val]).sum())
            found = apply_temperature(probabilities[others], fit_temperature(labels[val], probabilities[val]))
            before, after = (
                float(sentence_losses(labels[others], each).mean()) for each in (probabilities[others], found)
            )
            row = next((limit for limit in MISTAKES if mistakes <= limit), None)
            if row is not None:
                changes.setdefault((row, factor), []).append(after - before)
    for low, limit in zip((0, *(limit + 1 for limit in MISTAKES[:-1])), MISTAKES, strict=True):
        cells = [changes.get((limit, factor), []) for factor in FACTORS]
        shown = (f"{fmean(each):+.4f} ({len(each):,} draws)" if each else "" for each in cells)
        yield table_row((f"{low} to {limit}" if low < limit else str(limit), *shown))


def answers_row(recorded: RecordedEpochs, n: int, accuracy: float, draws: int) -> Sequence[str]:
    answered, below = [], []
    right = recorded.predictions == recorded.labels  # (T, E, n)
    good = np.flatnonzero(right.mean(axis=2).max(axis=1) >= GOOD)
    for random, val, others in draw_splits(len(recorded.labels), n, draws):
        tried = random.permutation(good)[:TRIALS]
        found = right[tried][:, :, val].mean(axis=2)
        trial, epoch = np.unravel_index(int(found.argmax()), found.shape)
        correct = right[tried[trial], epoch]
        probabilities = to_probabilities(recorded.log_odds[tried[trial], epoch][:, None])
        least = find_min_probability(coverage_table(correct[val], probabilities[val]), accuracy)
        if least is None:
            continue
        kept = probabilities[others].max(axis=1) >= least
        answered.append(float(kept.mean()))
        below.append(float(accuracy - correct[others][kept].mean()))
    none = f"{1 - len(below) / draws:.0%}"
    return f"{n:,}", f"{accuracy:.0%}", none, f"{fmean(answered):.0%}" if answered else "", _share(below)


def _share(differences: Sequence[float]) -> str:
    """Return how often a difference is above 0."""
    return f"{fmean(each > 0 for each in differences):.1%}" if differences else ""


if __name__ == "__main__":
    main()
