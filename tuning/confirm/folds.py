"""The winner over cross-validation folds: the figure that papers report."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.stats import Interval, wilson
from tuning.confirm.runs import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class Folds:
    """The winner over cross-validation folds."""

    trial: int
    folds: int
    accuracies: tuple[float, ...]
    """On the test split of each fold that ended well."""
    mean: float
    sd: float
    interval: Interval
    """Wilson's, over the sentences of all folds."""
    sentences: int


def over_folds(ended: Sequence[tuple[Run, Mapping[str, Any]]]) -> Folds | None:
    good = [(run, outcome) for run, outcome in ended if "error" not in outcome]
    if len(good) < 2:
        return None
    run = good[0][0]
    accuracies = [outcome["test_accuracy"] for _, outcome in good]
    sentences = sum(outcome["test_sentences"] for _, outcome in good)
    correct = sum(round(outcome["test_accuracy"] * outcome["test_sentences"]) for _, outcome in good)
    return Folds(
        trial=run.trial,
        folds=run.folds or 0,
        accuracies=tuple(accuracies),
        mean=statistics.fmean(accuracies),
        sd=statistics.stdev(accuracies),
        interval=wilson(correct, sentences),
        sentences=sentences,
    )
