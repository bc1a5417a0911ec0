"""The bias-corrected accuracy: the best validation accuracy without the bias from choosing the best of many trials.

The winner of a search owes part of its accuracy to the sentences that it was chosen on. The bootstrap bias corrected
estimate (BBC, Tsamardinos, Greasidou and Borboudakis 2018, Machine Learning 107) repeats the choice: it resamples the
validation sentences with replacement, chooses the winner on the sample, and evaluates it on the other sentences.
Nothing is trained again.

It does not correct two other choices by the same sentences: each trial's best epoch, because only its predictions are
recorded, and the settings that the sampler suggested from earlier accuracies. benchmarks/honesty.py measures the bias
of the first: 0.4 to 1.3 points on 400 sentences. Only the test split has neither.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.stats import LEVEL, Correct, Interval, wilson

AT_ONCE = 2**22
"""Numbers in one block of resampling counts."""
HOPELESS = 5.0
"""A trial that is this many standard errors behind the best is left out: it wins 3 resamplings in 10 million."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrectedAccuracy:
    """Of one study."""

    raw: float
    """Validation accuracy of the winner, by which it was chosen."""
    raw_interval: Interval
    """Binomial (Wilson): as if it had not been chosen."""
    corrected: float
    """What a winner chosen in this way is expected to reach on sentences that it was not chosen on."""
    corrected_interval: Interval
    trials: int
    """Number of trials from which the best was chosen."""


def corrected_accuracy(correct: Correct, *, repeats: int = 2000, seed: int = 0) -> CorrectedAccuracy:
    """Raw and corrected accuracy of the best of T trials.

    Args:
        correct: (T, n) whether each trial got each of the n validation sentences right, by number.
        repeats: resamplings.
        seed: of the resampling; the same arguments give the same number.

    Raises:
        ValueError: there is no trial, or there are fewer than 2 sentences.
    """
    if not len(correct) or correct.shape[1] < 2:
        raise ValueError(f"needs at least 1 trial and 2 sentences, got {correct.shape}")
    n = correct.shape[1]
    hits = correct.sum(axis=1)
    winner = int(hits.argmax())  # the first of equals
    could_win = contenders(correct, winner)
    scores, winner_scores = bootstrap(correct[could_win], int(could_win[:winner].sum()), repeats, seed)
    # What the choice costs in each resampling: less random than the figures themselves, whose mean is the same.
    gain = float((scores - winner_scores).mean())  # hardly ever above 0
    estimate = min(1.0, max(0.0, int(hits[winner]) / n + gain))
    return CorrectedAccuracy(
        raw=int(hits[winner]) / n,
        raw_interval=wilson(int(hits[winner]), n),
        corrected=estimate,
        corrected_interval=bootstrap_interval(scores, estimate, n),
        trials=len(correct),
    )


def contenders(correct: Correct, winner: int) -> NDArray[np.bool_]:
    """(T,) which trials may overtake the winner in a resampling; the winner is one of them."""
    n = correct.shape[1]
    ahead = (correct[winner] & ~correct).sum(axis=1)  # sentences by which the winner is ahead
    behind = (~correct[winner] & correct).sum(axis=1)
    lead = ahead - behind
    variance = ahead + behind - lead**2 / n  # of the lead, over resamplings
    return np.asarray(lead <= HOPELESS * np.sqrt(variance))


def bootstrap(
    correct: Correct, winner: int, repeats: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sentences that each resampling left out, as two trials answer them.

    Args:
        correct: (T, n) in the order of the trials' numbers.
        winner: the place of the trial that wins on all n sentences.
        repeats: resamplings.
        seed: of the drawing.

    Returns:
        (repeats,) accuracy of the trial that wins on the sentences drawn; (repeats,) that of `winner`.
    """
    n = correct.shape[1]
    draw = np.random.default_rng(seed)
    scores: list[float] = []
    winner_scores: list[float] = []
    columns = correct.T.astype(np.float32)  # (n, T) products of small whole numbers, exact in any order
    while len(scores) < repeats:
        size = min(max(1, AT_ONCE // n), repeats - len(scores))
        places = draw.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(places.ravel(), minlength=size * n).reshape(size, n)  # how often each is drawn
        left_out = counts == 0
        counts, left_out = counts[left_out.any(axis=1)], left_out[left_out.any(axis=1)]
        winners = (counts.astype(np.float32) @ columns).argmax(axis=1)  # (b,) the first of equals
        sizes = left_out.sum(axis=1)
        scores += ((left_out & correct[winners]).sum(axis=1) / sizes).tolist()
        winner_scores += ((left_out & correct[winner]).sum(axis=1) / sizes).tolist()
    return np.array(scores), np.array(winner_scores)


def bootstrap_interval(scores: NDArray[np.float64], estimate: float, n: int) -> Interval:
    """The interval of the estimate from how the resamplings' figures spread, and no narrower than a binomial one.

    Each figure comes from the 0.368 n sentences left out, drawn from n without replacement. By the theory of
    subsampling (Politis, Romano and Wolf 1999, with the finite population correction) the estimate of n sentences
    spreads sqrt(0.368 / 0.632) times as much; the plain percentiles of the paper are too wide, and hold the truth in 97
    to 100% of simulated searches. benchmarks/honesty.py says how often these do.

    Args:
        scores: (repeats,) from `bootstrap`.
        estimate: the middle of the interval.
        n: validation sentences.
    """
    left_out = np.exp(-1.0)
    scale = float(np.sqrt(left_out / (1 - left_out)))
    below, above = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - scores.mean()
    binomial = wilson(estimate * n, n)
    return Interval(
        low=min(binomial.low, estimate + scale * float(below)),
        high=max(binomial.high, estimate + scale * float(above)),
    )
