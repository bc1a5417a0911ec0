"""When does a temperature help, and do the accuracies of `--at-accuracy` hold?

    python -m benchmarks.quality.calibration            2,000 draws of each size: two minutes
    python -m benchmarks.quality.calibration --quick    50 of each: shows that it works, not what holds

The models are those of benchmarks.quality.recorded_epochs with an accuracy of at least GOOD. A draw takes one of them
and n of the 5,000 sentences as its validation split. The other sentences are the truth. The first table compares log
loss and expected calibration error on them, with the temperature fitted on the n sentences and without. The second
table asks for the probability whose answers have a given accuracy. It counts how often their true accuracy is lower.
"""

import argparse
from collections.abc import Iterator, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.recorded_epochs import RecordedEpochs
from benchmarks.quality.selection_bias import read_record
from benchmarks.results import table_head, table_row
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Use 50 draws of each size.")
    draws = 50 if parser.parse_args().quick else 2000
    labels, models = read_record().labels, outputs(read_record())
    print(f"{len(models)} models, {draws} draws of each size\n")
    calibration.MIN_SENTENCES = 2  # what it should be is the question
    print(*table_head(("sentences", "log loss", "worse", "calibration error", "worse")), sep="\n")
    for n in SIZES:
        print(table_row(temperature_row(labels, models, n, draws)), flush=True)
    columns = ("sentences", "accuracy", "no such probability", "answered", "below the accuracy")
    print("", *table_head(columns), sep="\n")
    for n in SIZES[2:]:
        for accuracy in ACCURACIES:
            print(table_row(answers_row(labels, models, n, accuracy, draws)), flush=True)


def outputs(recorded: RecordedEpochs) -> list[NDArray[np.float32]]:
    """Return the probabilities (n, 2) of each model after the epoch with the best accuracy."""
    accuracies = (recorded.predictions == recorded.labels).mean(axis=2)  # (T, E)
    best = [(trial, int(each.argmax())) for trial, each in enumerate(accuracies) if each.max() >= GOOD]
    return [to_probabilities(recorded.log_odds[place][:, None]) for place in best]


def draw_splits(
    labels: NDArray[np.int64], models: Sequence[NDArray[np.float32]], n: int, draws: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the probabilities of a model, n sentences, and all others."""
    for draw in range(draws):
        random = np.random.default_rng([n, draw])
        order = random.permutation(len(labels))
        yield models[random.integers(len(models))], order[:n], order[n:]


def temperature_row(
    labels: NDArray[np.int64], models: Sequence[NDArray[np.float32]], n: int, draws: int
) -> Sequence[str]:
    losses, errors = [], []
    for probabilities, val, others in draw_splits(labels, models, n, draws):
        found = apply_temperature(probabilities[others], fit_temperature(labels[val], probabilities[val]))
        both = probabilities[others].astype(np.float64), found
        before, after = (float(sentence_losses(labels[others], each).mean()) for each in both)
        losses.append(after - before)
        correct = both[0].argmax(axis=1) == labels[others]
        before, after = (expected_calibration_error(reliability(correct, each)) for each in both)
        errors.append(after - before)
    return (f"{n:,}", *(part for each in (losses, errors) for part in (f"{fmean(each):+.4f}", _share(each))))


def answers_row(
    labels: NDArray[np.int64], models: Sequence[NDArray[np.float32]], n: int, accuracy: float, draws: int
) -> Sequence[str]:
    answered, below = [], []
    for probabilities, val, others in draw_splits(labels, models, n, draws):
        correct = probabilities.argmax(axis=1) == labels
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
