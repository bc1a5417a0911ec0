"""An ensemble of a study's trials and its plain baseline: the mean of the probabilities of several models.

The models are selected greedily with replacement, by the study's metric on the validation sentences: each selection
adds the model with which the mean of all selected ones is best (Caruana et al. 2004, "Ensemble selection from libraries
of models"). Ties go to the lower log loss, then to the first model. A model's weight is its share of the
selections. Two rules make the choice less random: only the best models may be selected (Caruana, Munson and
Niculescu-Mizil 2006), and each second selection is the plain baseline if that lowers the log loss. On new sentences,
that is worth half a point (benchmarks/quality/ensemble_selection.py).

The selection is repeated in the resamples of tuning.analysis.selection_bias, so that its figures are comparable with a
single trial's. Resamples in which the same models are selected so far are evaluated together. Only the best epoch of a
trial has probabilities, so the choice of the epochs is not repeated. Most of its effect on the members' own scores is
subtracted (EPOCH_SHARE).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError, CorruptionError
from core.metrics import METRICS, Metric
from core.stats import wilson
from tuning.analysis.selection_bias import AT_ONCE, FIXED, Corrected, Repeated, Resamples, draw_counts
from tuning.journal.probabilities import epoch_name, load_probabilities
from tuning.journal.records import PLAIN_BASELINE, TrialRecord

SIZE = 5
"""Default number of selections."""
LOG_LOSS = METRICS["log_loss"]
EPOCH_SHARE = 0.75
"""Share of the members' epoch bias, weighted, that is subtracted from the score of their mean. It is empirical: with 1,
the figure is up to 0.5 points too low with 200 sentences."""
MAX_CANDIDATES = 10
"""Number of best single models of a resample that may be selected. The plain baseline always may."""
MAX_NUMBERS = 2**24
"""Maximum number of stored probabilities that are compared: 7,900 trials on 1,057 sentences of two classes."""
REPEATS = 500
"""Number of resamples in which the selection is repeated; fewer if they would have more than MAX_COUNTS counts."""
MAX_COUNTS = 2**23
REPEATS_OF_ROC_AUC = 100
"""Number of resamples for roc_auc, which takes much longer."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Library:
    """T models that may be selected, and their outputs on the n validation sentences. Ties go to the first one."""

    metric: Metric
    labels: NDArray[np.int64]
    """(n,)."""
    models: Sequence[int]
    """Numbers of the trials; FIXED is the plain baseline."""
    probabilities: NDArray[np.float32]
    """(C, T, n) probabilities."""
    costs: NDArray[np.float64]
    """(T,) multiplications per word."""

    def of_labels(self) -> "Library":
        """Return the models with the probability of each label alone, on which the log loss depends."""
        own = self.probabilities[self.labels, :, np.arange(len(self.labels))]  # (n, T)
        return replace(self, labels=np.zeros_like(self.labels), probabilities=np.ascontiguousarray(own.T)[None])


def read_library(
    folder: Path,
    metric: Metric,
    labels: NDArray[np.int64],
    n_classes: int,
    trials: Sequence[TrialRecord],
    costs: Mapping[int, int],
    *,
    plain: NDArray[np.integer] | None,
) -> Library | None:
    """Return the models of a study whose probabilities are stored; None if there are none, or no two fit in memory.

    Args:
        folder: Folder of the study.
        metric: Metric that the study optimises.
        labels: (n,) of the validation sentences.
        n_classes: Number of classes C.
        trials: The trials that may be selected, best first. If their probabilities need too much memory
            (MAX_NUMBERS), the last ones are left out.
        costs: Multiplications per word by trial number.
        plain: (n,) predictions of the plain baseline; None if the study has none.

    Raises:
        CorruptionError: Stored probabilities are damaged.
    """
    most = MAX_NUMBERS // (len(labels) * n_classes)
    if most < 2:  # an ensemble of one trial would show nothing about the others
        return None
    ordered = sorted((r.best.val_loss, r.number, r.best.epoch) for r in trials[:most] if r.best and r.number in costs)
    names = {number: epoch_name(number, epoch) for _, number, epoch in ordered}
    found = {
        number: probabilities
        for number, name in names.items()
        if (probabilities := load_probabilities(folder, name, len(labels), n_classes)) is not None
    }
    if plain is not None and (probabilities := load_plain_probabilities(folder, plain, n_classes)) is not None:
        found[FIXED] = probabilities
    if not found:
        return None
    return Library(
        metric=metric,
        labels=labels,
        models=list(found),
        probabilities=np.stack([np.ascontiguousarray(each.T) for each in found.values()], axis=1),
        costs=np.array([2 * n_classes if number == FIXED else costs[number] for number in found], dtype=float),
    )


def load_plain_probabilities(
    folder: Path, predictions: NDArray[np.integer], n_classes: int
) -> NDArray[np.float32] | None:
    """Return the (n, C) stored probabilities of the plain baseline; None if there are none.

    Args:
        folder: Folder of the study.
        predictions: (n,) the plain baseline's predictions in the journal.
        n_classes: Number of classes C.

    Raises:
        CorruptionError: The file is damaged, or does not have these predictions.
    """
    found = load_probabilities(folder, PLAIN_BASELINE, len(predictions), n_classes)
    if found is not None and not np.array_equal(found.argmax(axis=1), predictions):
        raise CorruptionError(
            f"probabilities/{PLAIN_BASELINE}.npz differs from the plain baseline's predictions in the journal; "
            "restore a copy, or remove the file to leave out the plain baseline"
        )
    return found


def select(
    library: Library, counts: NDArray[np.integer], *, size: int = SIZE, max_cost: float | None = None
) -> NDArray[np.int64]:
    """Return (R, T) how often each model is selected in each resample.

    Args:
        library: Models, at least one.
        counts: (R, n) how often each resample contains each sentence.
        size: Number of selections.
        max_cost: Upper bound of the sum of the costs of the different members; None for no bound.

    Raises:
        ConfigError: Each model costs more than `max_cost`.
    """
    limit = np.inf if max_cost is None else max_cost
    if library.costs.min() > limit:
        cheapest = f"the cheapest model needs {library.costs.min():,.0f}"
        raise ConfigError(
            f"no model has at most {limit:,.0f} multiplications per word, {cheapest}; pass a larger --max-cost"
        )
    nothing, for_loss = np.zeros(len(library.models), dtype=np.int64), library.of_labels()
    if library.metric is LOG_LOSS:
        library = for_loss
    alone = _scores(library, nothing, counts, np.broadcast_to(library.costs <= limit, (len(counts), len(nothing))))
    eligible = _pruned(library, alone)
    added = _first_best(for_loss, nothing, counts, np.where(eligible, alone, -np.inf))
    selected = np.zeros(alone.shape, dtype=np.int64)
    selected[np.arange(len(counts)), added] = 1
    for _ in range(size - 1):
        for rows in _equal_rows(selected):
            members = selected[rows[0]]
            affordable = (members > 0) | (library.costs[members > 0].sum() + library.costs <= limit)
            added[rows] = _additions(library, for_loss, members, counts[rows], eligible[rows] & affordable)
        selected[np.arange(len(counts)), added] += 1
    return selected


def _additions(
    library: Library,
    for_loss: Library,
    members: NDArray[np.int64],
    counts: NDArray[np.integer],
    allowed: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return (R,) the allowed model that is selected next in each resample; `for_loss` is `library.of_labels()`."""
    added = np.full(len(counts), -1)
    if members.sum() % 2 and FIXED in library.models:
        plain = list(library.models).index(FIXED)
        with_plain = members.copy()
        with_plain[plain] += 1
        before, after = (_score_of(for_loss, each, counts, LOG_LOSS) for each in (members, with_plain))
        added[allowed[:, plain] & (after > before)] = plain
    rows = np.flatnonzero(added < 0)
    if len(rows):
        scores = _scores(library, members, counts[rows], allowed[rows])
        added[rows] = _first_best(for_loss, members, counts[rows], scores)
    return added


def _equal_rows(selected: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the places of the resamples in which the same models are selected so far."""
    _, group = np.unique(selected, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(group.ravel()[order])) + 1)


def _pruned(library: Library, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (R, T) whether a model is one of the MAX_CANDIDATES best single ones of a resample, or the baseline."""
    allowed = np.zeros(scores.shape, dtype=bool)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :MAX_CANDIDATES]
    np.put_along_axis(allowed, best, True, axis=1)
    return np.asarray((allowed | (np.asarray(library.models) == FIXED)) & (scores > -np.inf))


def _sums(library: Library, members: NDArray[np.int64], added: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    """Yield for each class (M, n) the sums of the probabilities of the members and of one more of M models.

    The sum of single-precision numbers in double precision is exact for all but the smallest probabilities.
    """
    for each in library.probabilities:  # (T, n); those of all classes would not fit in the processor's cache
        total = np.zeros(each.shape[1])
        for place in np.flatnonzero(members):
            total += members[place] * each[place].astype(np.float64)
        yield total + each[added]


def _scores(
    library: Library, members: NDArray[np.int64], counts: NDArray[np.integer], allowed: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return (R, T) scores with each allowed model added, else minus infinity; larger is better."""
    scores = np.full(allowed.shape, -np.inf)
    added = np.flatnonzero(allowed.any(axis=0))
    found = _evaluate(library.metric, library, _sums(library, members, added), int(members.sum()) + 1, counts)
    scores[:, added] = np.where(allowed[:, added], found, -np.inf)
    return scores


def _evaluate(
    metric: Metric, library: Library, sums: Iterator[NDArray[np.float64]], size: int, counts: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return (R, M) scores of the sums, of each class (M, n), of the probabilities of `size` models."""
    outputs, n_classes = _outputs(metric, sums, size), len(library.probabilities)
    rows = max(1, AT_ONCE // (len(outputs) * n_classes))  # in a block: the figures of each class may be in memory
    blocks = (counts[start : start + rows] for start in range(0, len(counts), rows))
    found = [metric.resampled(library.labels, outputs, each, n_classes) for each in blocks]
    return np.asarray(metric.oriented(np.concatenate(found)))


def _outputs(metric: Metric, sums: Iterator[NDArray[np.float64]], size: int) -> NDArray[Any]:
    """Return (M, n) predicted classes, or (M, n, C) probabilities if the metric needs them, of the sums."""
    if metric.needs_probabilities:
        return np.moveaxis(np.stack([(each / size).astype(np.float32) for each in sums]), 0, -1)
    best = next(sums)
    outputs = np.zeros(best.shape, dtype=np.int64)
    for k, each in enumerate(sums, 1):  # as argmax, which is slow over a short axis
        outputs[each > best] = k
        np.maximum(best, each, out=best)
    return outputs


def _first_best(
    library: Library, members: NDArray[np.int64], counts: NDArray[np.integer], scores: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return (R,) the model with the best score; of equal ones the lowest log loss, then the first."""
    equal = scores == scores.max(axis=1, keepdims=True)
    tied = np.flatnonzero(equal.sum(axis=1) > 1)
    if len(tied):
        added = np.flatnonzero(equal[tied].any(axis=0))
        sums, size = _sums(library, members, added), int(members.sum()) + 1
        found = np.full((len(tied), equal.shape[1]), -np.inf)
        found[:, added] = _evaluate(LOG_LOSS, library, sums, size, counts[tied])
        found[~equal[tied]] = -np.inf
        equal[tied] = found == found.max(axis=1, keepdims=True)
    return np.asarray(equal.argmax(axis=1))


@dataclass(frozen=True, kw_only=True, slots=True)
class EnsembleEstimate:
    """An ensemble, and its expected score on other sentences."""

    metric: str
    """Metric that the study optimises."""
    counts: Mapping[int, int]
    """How often each model was selected, by trial number, most often first; FIXED is the plain baseline."""
    multiplications: int
    """Multiplications per word of all members together."""
    corrected: Corrected
    gain: Corrected
    """Gain over the best trial."""
    gain_over_plain: Corrected | None
    """Gain over the plain baseline; None without one."""

    @property
    def gains(self) -> bool:
        """Whether it has several members and is expected to be better than the best trial."""
        return len(self.counts) > 1 and self.gain.value > 0

    @property
    def weights(self) -> dict[int, float]:
        """Share of the selections of each model; the sum is 1."""
        size = sum(self.counts.values())
        return {number: count / size for number, count in self.counts.items()}


def estimate_ensemble(
    library: Library, resamples: Resamples, *, size: int = SIZE, max_cost: float | None = None
) -> EnsembleEstimate:
    """Select an ensemble, and estimate its score with the selection repeated in each resample.

    The plain baseline alone, or the best trial alone, has the figures that it has elsewhere.

    Args:
        library: Models, at least one.
        resamples: Resamples of the study's trials, and of the plain baseline if there is one.
        size: Number of selections.
        max_cost: Upper bound of the sum of the costs of the different members; None for no bound.

    Raises:
        ConfigError: Each model costs more than `max_cost`.
    """
    actual = select(library, np.ones((1, resamples.n), dtype=np.int64), size=size, max_cost=max_cost)[0]
    order = [place for place in np.argsort(-actual, kind="stable") if actual[place]]
    members = [library.models[place] for place in order]
    first = resamples.repeated(resamples.first)
    best = list(resamples.places)[int(resamples.first(resamples.raw[None])[0])]
    if members in ([FIXED], [best]):
        found = first if members == [best] else resamples.only(FIXED)
        gain = resamples.difference(found, first)
    else:
        repeated = _repeated(library, resamples, actual, size, max_cost)
        gain = resamples.difference(repeated, first)
        # With as many resamples as for the best trial, so that the two figures differ by the gain.
        base = repeated.base + (first.value + gain.value - repeated.value)
        found = replace(repeated, base=base)
    corrected = resamples.corrected(found)
    if members == [FIXED] and library.metric.name == "accuracy":
        corrected = replace(corrected, interval=wilson(corrected.value * resamples.n, resamples.n))
    return EnsembleEstimate(
        metric=library.metric.name,
        counts={library.models[place]: int(actual[place]) for place in order},
        multiplications=int(library.costs[order].sum()),
        corrected=corrected,
        gain=gain,
        gain_over_plain=resamples.difference(found, resamples.only(FIXED)) if FIXED in resamples.places else None,
    )


def _repeated(
    library: Library, resamples: Resamples, actual: NDArray[np.int64], size: int, max_cost: float | None
) -> Repeated:
    """Repeat the selection whose actual result is `actual` (T,)."""
    most = REPEATS_OF_ROC_AUC if library.metric.name == "roc_auc" else REPEATS
    repeats = min(len(resamples.best), most, max(50, MAX_COUNTS // resamples.n))
    counts = np.concatenate(list(draw_counts(resamples.n, repeats=repeats)))  # as in Resamples
    once = np.ones((1, resamples.n), dtype=np.int64)
    selected = select(library, counts, size=size, max_cost=max_cost)
    base, change = np.empty(repeats), np.empty(repeats)
    for rows in _equal_rows(selected):
        found = _score_of(library, selected[rows[0]], np.concatenate([once, counts[rows]]), library.metric)
        base[rows], change[rows] = found[0], found[1:] - found[0]
    own = _score_of(library, actual, np.concatenate([once, counts]), library.metric)
    shift = (own[1:] - own[0]).mean()
    epochs = EPOCH_SHARE * np.array([resamples.epoch_bias(number) for number in library.models])  # (T,)
    return Repeated(
        raw=float(own[0]),
        base=base - (selected / size) @ epochs,
        change=change - shift,
        own_change=own[1:] - own[0] - shift,
        terms=resamples.terms(_outputs(library.metric, _sum_of(library, actual), size)[0]),
    )


def _score_of(
    library: Library, members: NDArray[np.int64], counts: NDArray[np.integer], metric: Metric
) -> NDArray[np.float64]:
    """Return (R,) the scores of one ensemble; larger is better."""
    return _evaluate(metric, library, _sum_of(library, members), int(members.sum()), counts)[:, 0]


def _sum_of(library: Library, members: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    """Yield for each class (1, n) the sum of the probabilities of one ensemble."""
    last = np.flatnonzero(members)[-1:]
    others = members.copy()
    others[last] -= 1
    return _sums(library, others, last)
