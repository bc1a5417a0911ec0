"""From a sentence's states to one vector, blind to whatever stands after its end."""

import torch
from torch import Tensor


def is_real(lengths: Tensor, steps: int) -> Tensor:
    """bool (T, B, 1): is step t inside sentence b?"""
    return (torch.arange(steps, device=lengths.device)[:, None] < lengths)[:, :, None]


def at_end(states: Tensor, lengths: Tensor) -> Tensor:
    """The state at each sentence's last token: (T, B, H) -> (B, H)."""
    last = (lengths - 1)[None, :, None].expand(1, -1, states.shape[2])  # (1, B, H)
    return states.gather(0, last).squeeze(0)


def max_over_time(states: Tensor, lengths: Tensor) -> Tensor:
    """The largest value of each feature over real tokens: (T, B, H) -> (B, H)."""
    return states.masked_fill(~is_real(lengths, states.shape[0]), -torch.inf).amax(dim=0)


def mean_over_time(states: Tensor, lengths: Tensor) -> Tensor:
    """The average over real tokens: (T, B, H) -> (B, H)."""
    return states.masked_fill(~is_real(lengths, states.shape[0]), 0).sum(dim=0) / lengths[:, None]


def weighted_over_time(states: Tensor, scores: Tensor, lengths: Tensor) -> Tensor:
    """The average over real tokens with softmax(`scores`) as weights.

    Args:
        states: float (T, B, H).
        scores: float (T, B, 1).
        lengths: int64 (B,) each in 1..T.

    Returns:
        float (B, H).
    """
    real = is_real(lengths, states.shape[0])
    weights = scores.masked_fill(~real, -torch.inf).softmax(dim=0)  # (T, B, 1)
    return (states.masked_fill(~real, 0) * weights).sum(dim=0)
