"""Do the corrected values and the intervals hold with few sentences of a class?

    python -m benchmarks.quality.rare_classes            200 simulated splits of each kind: MINUTES of processor time
    python -m benchmarks.quality.rare_classes --quick    5 of each: shows that it works, not what holds

A model's logits are standard normal, and SHIFT higher for the label. All trials of a search are equally good, so the
best one is best by chance. One trial is also a model on its test split. The truth is the metric on a million sentences
with the same shares of the classes. The code of `sentune best` and `retrain` gives the values and the intervals.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.selection_bias import covers
from benchmarks.results import mean_and_error, process_pool, table_head, table_row
from core.metrics import METRICS
from tuning.analysis.selection_bias import Resamples

SHIFT = 1.5
"""With two classes, a model finds 86% of the sentences of each."""
POPULATION = 1_000_000
SIZES = (
    (298, 2), (297, 3), (295, 5), (290, 10), (270, 30), (997, 3), (970, 30),
    (75, 74, 74, 74, 3), (*[19] * 15, *[3] * 5),
)  # fmt: skip
"""Sentences of each class."""
TRIALS = (1, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Simulate 5 splits of each kind.")
    parser.add_argument("--processes", type=int, default=2, help="Number of processes of one thread (default: 2).")
    arguments = parser.parse_args()
    names = [name for name in METRICS if name != "accuracy"]
    titles = ("sentences", "classes", "smallest", "trials", *(METRICS[name].title for name in names))
    print(*table_head(titles), sep="\n")
    with process_pool(arguments.processes) as pool:
        for sizes in SIZES:
            for trials in TRIALS:
                cells = [f"{sum(sizes):,}", str(len(sizes)), str(min(sizes)), str(trials)]
                for name in names:
                    truth = true_value(name, sizes)
                    seeds = range(5 if arguments.quick else 200)
                    found = list(pool.map(partial(compare, name, sizes, trials, truth), seeds, chunksize=5))
                    covered, errors = fmean(held for _, held in found), [error for error, _ in found]
                    cells.append(f"{covered:.0%}, {mean_and_error(errors)}")
                print(table_row(cells), flush=True)


def draw_outputs(
    draw: np.random.Generator, labels: NDArray[np.int64], n_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return a model's predictions (n,) and its probabilities (n, C), which are those for equally frequent classes."""
    logits = draw.standard_normal((len(labels), n_classes))
    logits[np.arange(len(labels)), labels] += SHIFT
    odds = np.exp(SHIFT * logits)
    return logits.argmax(axis=1), odds / odds.sum(axis=1, keepdims=True)


def true_value(name: str, sizes: Sequence[int]) -> float:
    """Return the metric on the population."""
    labels = np.repeat(np.arange(len(sizes)), np.array(sizes) * POPULATION // sum(sizes))
    predictions, probabilities = draw_outputs(np.random.default_rng(0), labels, len(sizes))
    return METRICS[name].value(labels, predictions, probabilities, len(sizes))


def compare(name: str, sizes: Sequence[int], trials: int, truth: float, seed: int) -> tuple[float, bool]:
    """Return the corrected value of the best trial minus the truth, in points, and whether its interval has that."""
    labels, draw = np.repeat(np.arange(len(sizes)), sizes), np.random.default_rng([1, trials, seed])
    metric = METRICS[name]
    outputs = [draw_outputs(draw, labels, len(sizes))[metric.needs_probabilities] for _ in range(trials)]
    resamples = Resamples(
        metric=metric, labels=labels, n_classes=len(sizes), trials=range(trials), outputs=[[each] for each in outputs]
    )
    corrected = resamples.corrected(resamples.first)
    return 100 * (corrected.value - truth), covers(corrected, truth)


if __name__ == "__main__":
    main()
