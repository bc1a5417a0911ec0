"""The recommendation: a cheap trial that is within one standard error of the best (Breiman et al. 1984)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.metrics import METRICS, constant_value
from tuning.analysis.selection_bias import Resamples
from tuning.console import in_callers_terms
from tuning.journal.predictions import journal_damage
from tuning.journal.records import TrialRecord

ALIKE = 2.0
"""Trials with at most this many times the multiplications of the cheapest one count as equally cheap, and the best of
them is recommended. Otherwise a model that is 5% cheaper would be recommended although it loses a point of accuracy."""
ONE_CLASS, NOT_BETTER = "one class", "not better"
"""Reasons why a trial is never recommended: its predictions (or probabilities) are constant; it is not better than the
majority class."""
NOTHING_LEARNED = "nothing was learned: no trial is shown to be better than always predicting the majority class"


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Recommendation:
    """The rule, as a Choice of tuning.analysis.selection_bias."""

    resamples: Resamples
    multiplications: NDArray[np.float64]
    """(T,) multiplications per word."""
    sizes: NDArray[np.float64]
    """(T,) number of trained parameters, which decide ties."""
    useful: NDArray[np.bool_]
    """(T,) whether a trial may be recommended; false for FIXED."""

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return (R,) the trial chosen by the scores (R, T) of each resample; the best if none may be recommended."""
        useful = self.useful
        if not useful.any():
            return self.resamples.first(scores)
        allowed = np.where(useful, scores, -np.inf)
        best = allowed.argmax(axis=1)
        near = np.zeros(allowed.shape, dtype=bool)
        for place in np.unique(best):
            rows = best == place
            limit = allowed[rows, place][:, None] - self.resamples.errors(int(place))
            near[rows] = useful & (allowed[rows] >= limit)
        # With paired errors, a worse trial may be near and a better one not: the better one counts, too.
        near |= useful & (allowed >= np.where(near, allowed, np.inf).min(axis=1, keepdims=True))
        cheapest = np.where(near, self.multiplications, np.inf).min(axis=1, keepdims=True)
        alike = np.where(near & (self.multiplications <= ALIKE * cheapest), scores, -np.inf)
        equal = alike == alike.max(axis=1, keepdims=True)
        return np.asarray(np.where(equal, self.sizes, np.inf).argmin(axis=1))


def useless_trials(
    records: Sequence[TrialRecord], majority: float, outputs: Mapping[int, NDArray[Any]]
) -> dict[int, str]:
    """Return why trials may not be recommended, by number.

    Args:
        records: The trials.
        majority: Score of always predicting the majority class.
        outputs: Predictions (n,) by number, or the probabilities (n, C) if the metric needs them: with a rare class, a
            good model may predict one class with different probabilities.
    """
    found = {r.number: NOT_BETTER for r in records if r.best is not None and r.best.score <= majority}
    constant = (number for number, each in outputs.items() if not np.ptp(each, axis=0).any())
    return found | dict.fromkeys(constant, ONE_CLASS)


def nothing_learned(metric: str) -> list[str]:
    """Return the message of the commands and the page if nothing was learned, and the advice in the caller's terms."""
    other = " or --metric macro_f1 for rare classes" if metric == "accuracy" else ""
    longer = f"search with more --trials, or with another --name more --epochs{other}"
    return [
        NOTHING_LEARNED,
        in_callers_terms(f"{longer}; check the labels if the plain baseline is not better either"),
    ]


def majority_baseline(attributes: Mapping[str, Any], labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
    """Return (n,) predictions and the value of a classifier that ignores the n validation sentences with these labels.

    The shares of the classes are those of the train split.

    Raises:
        CorruptionError: The audit has another number of classes.
    """
    metric, classes = METRICS[attributes["spec"]["metric"]], attributes["validation"]["classes"]
    shares = np.array(attributes["audit"]["majority_baseline"]["train_shares"])
    if len(shares) != len(classes):
        raise journal_damage("the audit of the study", f"it has shares of {len(shares)} of {len(classes)} classes")
    return np.full_like(labels, shares.argmax()), constant_value(metric, labels, shares)
