"""The exponential moving average of the weights, kept exactly without touching every word vector at every step."""

import math

import torch
from torch import Tensor

from core.training.optim import set_rows


class ExponentialMovingAverage:
    """S_t = d S_(t-1) + (1 - d) W_t from S_0 = 0, read as S_t / (1 - d^t).

    The division is Adam's bias correction (Kingma and Ba 2015, section 3). Without it, the first epochs would be
    evaluated on weights near zero or near the initial ones. While a row of the table keeps its value W for k steps,
    S becomes W + d^k (S - W). This update can therefore be postponed until the row changes again.
    """

    def __init__(self, decay: float, flat: Tensor, table: Tensor | None, *, by_row: bool) -> None:
        """Start with sums of zero.

        Args:
            decay: The factor d, above 0 and below 1.
            flat: float (P,) the weights, which `Optimizer` updates in place.
            table: float (V, E) the word vectors, updated likewise; None when they are frozen.
            by_row: Whether a step moves only the table's rows that are passed to `catch_up` and `update`.
        """
        self.decay = decay
        self.flat = flat
        self.table = table
        self.by_row = by_row
        self.step_count = 0
        self.flat_sum = torch.zeros_like(flat)
        self.table_sum = torch.zeros(0) if table is None else torch.zeros_like(table)
        self.last_step = torch.zeros(0 if table is None else len(table), dtype=torch.int64, device=flat.device)
        """int64 (V,) the step up to which a row's sum holds."""

    def tensors(self) -> dict[str, Tensor]:
        """Return by name, not copied, what the average depends on besides the weights and `step_count`."""
        named = {"flat.sum": self.flat_sum}
        if self.table is not None:
            named |= {"table.sum": self.table_sum, "table.last_step": self.last_step}
        return named

    @torch.no_grad()
    def catch_up(self, rows: Tensor) -> None:
        """Apply the steps in which these rows (int64, (U,)) did not change; call it before they change."""
        if self.table is not None and self.by_row:
            idle = self.table.index_select(0, rows)
            sums = self._decayed(idle, self.table_sum.index_select(0, rows), self.last_step.index_select(0, rows))
            set_rows(self.table_sum, rows, sums)

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Add the weights after a step whose batch had the words `rows` (int64, (U,))."""
        self.step_count += 1
        self.flat_sum.lerp_(self.flat, 1 - self.decay)
        if self.table is None:
            return
        if self.by_row:
            moved = self.table_sum.index_select(0, rows).lerp_(self.table.index_select(0, rows), 1 - self.decay)
            set_rows(self.table_sum, rows, moved)
            self.last_step.index_fill_(0, rows, self.step_count)
        else:
            self.table_sum.lerp_(self.table, 1 - self.decay)
            self.last_step.fill_(self.step_count)

    @torch.no_grad()
    def averaged(self) -> tuple[Tensor, Tensor | None]:
        """Return the averaged flat weights (P,) and table (V, E) as new tensors, after at least one step."""
        correction = 1 - self.decay**self.step_count
        flat = self.flat_sum / correction
        if self.table is None:
            return flat, None
        return flat, self._decayed(self.table, self.table_sum, self.last_step).div_(correction)

    def _decayed(self, weights: Tensor, sums: Tensor, last_step: Tensor) -> Tensor:
        """Return the sums (U, E) after the steps since `last_step` (U,), in which the weights (U, E) did not change."""
        idle_steps = (self.step_count - last_step).double()
        remaining = idle_steps * math.log(self.decay)  # logarithm of d^k
        kept, added = torch.exp(remaining), -torch.expm1(remaining)  # weights + d^k (sums - weights) would cancel
        return kept.to(sums.dtype)[:, None] * sums + added.to(sums.dtype)[:, None] * weights
