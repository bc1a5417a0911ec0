"""Log-odds: the probabilities of the classes, rounded so that they take two bytes per sentence and class on disk.

Evaluation computes log_loss and roc_auc from the rounded probabilities. A metric of stored probabilities therefore
equals the recorded one. Rounding changes a probability by at most 0.1% of its value: the error of each of two
log-odds is at most 1 / (2 STEPS). Mean losses on 1,000 sentences change by less than 0.0001, which is about a hundredth
of their sampling error.
"""

import numpy as np
from numpy.typing import NDArray

LogOdds = NDArray[np.int16]
"""(n, C - 1) log of the probability of each class but the first over that of the first, in units of 1 / STEPS."""
STEPS = 1024
"""Number of steps in a difference of 1 between two natural logarithms."""

FLOOR = -15.99
"""Lowest logarithm of a probability over the largest one of its sentence, so that differences fit into 16 bits.
log_loss limits probabilities at nearly the same value, the precision of float32."""


def round_log_odds(logits: NDArray[np.floating]) -> LogOdds:
    """Return the rounded log-odds of logits (n, C). NaN, which ends a training, counts as 0."""
    wide = np.nan_to_num(logits.astype(np.float64))
    relative = np.maximum(wide - wide.max(axis=1, keepdims=True), FLOOR)  # (n, C)
    return np.asarray(np.rint((relative[:, 1:] - relative[:, :1]) * STEPS), dtype=np.int16)


def to_probabilities(log_odds: LogOdds) -> NDArray[np.float32]:
    """Return (n, C) probabilities of log-odds (n, C - 1); each row has the sum 1."""
    logits = np.pad(log_odds.astype(np.float64) / STEPS, ((0, 0), (1, 0)))  # (n, C), 0 for the first class
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def check_log_odds(log_odds: NDArray[np.generic], n_sentences: int, n_classes: int) -> None:
    """Raise ValueError unless the array has the type and shape of the log-odds of a split."""
    if log_odds.dtype != np.int16 or log_odds.shape != (n_sentences, n_classes - 1):
        expected = f"int16 of shape {(n_sentences, n_classes - 1)}"
        raise ValueError(f"log-odds must be {expected}, got {log_odds.dtype} of shape {log_odds.shape}")
