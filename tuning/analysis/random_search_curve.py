"""Expected best validation value of the metric in a random search of this space, by budget.

Only trials that were drawn at random count. A trial that a sampler chose by earlier results is no independent draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import UserError
from core.metrics import METRICS
from tuning.journal.records import RANKED, TrialRecord
from tuning.space.portfolio import PORTFOLIO

BAND = (0.1, 0.9)
"""Quantiles of the band: eight of ten searches with this budget end within it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """Expected best value of `trials` random trials."""

    trials: int
    """Number of random trials."""
    epochs: float
    """Number of epochs that they take on average, with the stopping of this study."""
    plugin: float
    """Expected best validation value of the metric by Dodge et al. 2019; too pessimistic for more than one trial."""
    unbiased: float
    """The same by Tang et al. 2020, without this bias."""
    low: float
    """Lower end of the band that holds the best of eight in ten searches, by the plug-in estimator."""
    high: float
    """Upper end of this band."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomSearchCurve:
    """The curve of one study."""

    metric: str
    """Metric that the study optimises."""
    random_trials: int
    """Number of random trials with at least one epoch, which the curve is made from."""
    failed: int
    """Number of random trials that failed and are left out."""
    budgets: tuple[CurvePoint, ...]
    """One entry for each number of trials, from 1 to all of them."""


def expected_best(values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the expected maximum of n draws, n = 1..N, from N independent ones, by two estimators.

    Plug-in (Dodge, Gururangan, Card, Schwartz and Smith 2019, "Show Your Work", EMNLP): as if the N values were all of
    the distribution, drawn from with replacement. Unbiased (Tang, Lee, Xin, Liu, Yu and Lin 2020, "Showing Your Work
    Doesn't Always Work", ACL): the mean over all subsets of n of the N values.

    Args:
        values: (N,), at least one.

    Returns:
        (N,) plug-in and (N,) unbiased.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n_values = len(ordered)
    places = np.arange(1, n_values + 1)
    plugin, unbiased = [], []
    weights = np.full(n_values, 1 / n_values)  # of a value to be the highest in a subset of n
    for n in places:
        chances = (places / n_values) ** n
        plugin.append(float(np.diff(chances, prepend=0.0) @ ordered))
        unbiased.append(float(weights @ ordered))
        weights = weights * (places - n) * (n + 1) / (n * np.maximum(1, n_values - n))
    return np.array(plugin), np.array(unbiased)


def random_search_curve(records: Sequence[TrialRecord]) -> RandomSearchCurve:
    """Return the curve of a study.

    Raises:
        UserError: The study has fewer than two random trials.
    """
    random = [record for record in records if record.origin == "random" and record.state in (*RANKED, "FAIL")]
    ended = [record for record in random if record.state != "FAIL"]
    scores = [record.best.score for record in ended if record.best]
    if len(scores) < 2:
        raise UserError(_too_few(len(scores), records))
    metric = METRICS[ended[0].config["metric"]]
    values = np.sort(scores)
    plugin, unbiased = expected_best(values)
    epochs = sum(len(record.epochs) for record in ended) / len(ended)
    budgets = []
    for n in range(1, len(values) + 1):
        low, high = sorted(metric.oriented(_best_of(values, n, share)) for share in BAND)
        found = {"plugin": metric.oriented(float(plugin[n - 1])), "unbiased": metric.oriented(float(unbiased[n - 1]))}
        budgets.append(CurvePoint(trials=n, epochs=n * epochs, **found, low=low, high=high))
    return RandomSearchCurve(
        metric=metric.name, random_trials=len(values), failed=len(random) - len(ended), budgets=tuple(budgets)
    )


def _too_few(count: int, records: Sequence[TrialRecord]) -> str:
    """Return why there is no curve, and what to run.

    More trials do not help once the sampler chooses them, and rarely if it has the results of first trials.
    """
    chosen = sum(record.origin == PORTFOLIO for record in records)
    first = f" (those of --first-trials are not random: {chosen})" if chosen else ""
    more = "" if chosen or any(record.origin == "sampler" for record in records) else "run more trials, or "
    return (
        f"the curve needs at least 2 finished trials that were drawn at random, this study has {count}{first}; "
        f"{more}run a study with --sampler random --first-trials random under another --name"
    )


def _best_of(values: NDArray[np.float64], n: int, share: float) -> float:
    """Return the quantile of the best of n draws with replacement from (N,) ascending values."""
    chances = (np.arange(1, len(values) + 1) / len(values)) ** n
    return float(values[int(np.searchsorted(chances, share - 1e-12))])
