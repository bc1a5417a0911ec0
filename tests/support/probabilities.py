"""Labels with probabilities that are too extreme, or not extreme enough."""

import numpy as np
from numpy.typing import NDArray

from core.calibration import apply_temperature


def drawn(n: int, n_classes: int, temperature: float, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels, and probabilities that are right at `temperature`."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, n_classes))
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (random.random(n)[:, None] > right.cumsum(axis=1)).sum(axis=1)
    return labels, apply_temperature(right, 1 / temperature)
