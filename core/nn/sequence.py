"""Padded sequences: pool a sentence's states into one vector, and reverse it, ignoring all padding."""

from typing import Any

import torch
from torch import Tensor


def sequence_mask(lengths: Tensor, steps: int) -> Tensor:
    """Return bool (T, B, 1): whether step t is inside sentence b."""
    return (torch.arange(steps, device=lengths.device)[:, None] < lengths)[:, :, None]


def last_state(states: Tensor, lengths: Tensor) -> Tensor:
    """Return the state at each sentence's last token: (T, B, H) -> (B, H)."""
    last = (lengths - 1)[None, :, None].expand(1, -1, states.shape[2])  # (1, B, H)
    return states.gather(0, last).squeeze(0)


def max_pool(states: Tensor, lengths: Tensor) -> Tensor:
    """Return the largest value of each feature over real tokens: (T, B, H) -> (B, H)."""
    return states.masked_fill(~sequence_mask(lengths, states.shape[0]), -torch.inf).amax(dim=0)


def mean_pool(states: Tensor, lengths: Tensor) -> Tensor:
    """Return the average over real tokens: (T, B, H) -> (B, H)."""
    return states.masked_fill(~sequence_mask(lengths, states.shape[0]), 0).sum(dim=0) / lengths[:, None]


def attention_pool(states: Tensor, scores: Tensor, lengths: Tensor) -> Tensor:
    """Return the average over real tokens with softmax(`scores`) as weights.

    Args:
        states: float (T, B, H).
        scores: float (T, B, 1).
        lengths: int64 (B,) each in 1..T.

    Returns:
        float (B, H).
    """
    real = sequence_mask(lengths, states.shape[0])
    weights = scores.masked_fill(~real, -torch.inf).softmax(dim=0)  # (T, B, 1)
    return (states.masked_fill(~real, 0) * weights).sum(dim=0)


def reversal_index(lengths: Tensor, steps: int) -> Tensor:
    """Return int64 (T, B): the index of step t of each reversed sentence; padding keeps its place.

    An index counts through a flattened (T * B): step t of sentence b has index t * B + b.
    """
    batch = lengths.shape[0]
    step = torch.arange(steps, device=lengths.device)[:, None]
    mirror = torch.where(step < lengths, lengths - 1 - step, step)
    return mirror * batch + torch.arange(batch, device=lengths.device)


class _Reverse(torch.autograd.Function):
    """Reverse each sentence.

    Reversal is its own inverse, so the gradient is the reversed gradient. torch's own gradient of a gather adds into
    zeros, which takes seven times as long.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, mirror: Tensor) -> Tensor:
        ctx.save_for_backward(mirror)
        return _gather(x, mirror)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (mirror,) = ctx.saved_tensors
        return _gather(gradient, mirror), None


def _gather(x: Tensor, mirror: Tensor) -> Tensor:
    """Index (T, B) or (T, B, H) by the indices (T, B); return a tensor shaped like `x`."""
    return x.flatten(0, 1).index_select(0, mirror.flatten()).view_as(x)


def reverse(x: Tensor, mirror: Tensor) -> Tensor:
    """Reverse each sentence of (T, B) or (T, B, H); `mirror` is from `reversal_index`."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _gather(x, mirror)
    result: Tensor = _Reverse.apply(x, mirror)  # type: ignore[no-untyped-call,unused-ignore]
    return result
