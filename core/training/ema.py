"""The exponential moving average of the weights, kept exactly without touching every word vector at every step."""

import math

import torch
from torch import Tensor

from core.training.optim import Optimizer, set_rows


class ExponentialMovingAverage:
    """S_t = d S_(t-1) + (1 - d) W_t from S_0 = 0, read as S_t / (1 - d^t).

    The division is Adam's bias correction (Kingma and Ba 2015, section 3). Without it, the first epochs would be
    evaluated on weights near zero or near the initial ones. While a row of the table keeps its value W for k steps,
    S becomes W + d^k (S - W). This update can therefore be postponed until the row changes again.
    """

    def __init__(self, decay: float, optimizer: Optimizer) -> None:
        """Start with sums of zero.

        Args:
            decay: The factor d, above 0 and below 1.
            optimizer: Updates the weights in place. If it does so by row, a row's sum holds up to its `last_step`.
        """
        self.decay = decay
        self.optimizer = optimizer
        self.flat_sum = torch.zeros_like(optimizer.flat)
        self.table_sum = torch.zeros(0) if optimizer.table is None else torch.zeros_like(optimizer.table)

    def tensors(self) -> dict[str, Tensor]:
        """Return by name, not copied, what the average depends on besides the optimizer."""
        return {"flat.sum": self.flat_sum} | ({} if self.optimizer.table is None else {"table.sum": self.table_sum})

    @torch.no_grad()
    def catch_up(self, rows: Tensor) -> None:
        """Apply the steps in which these rows (int64, (U,)) did not change; call it before they change."""
        table, last_step = self.optimizer.table, self.optimizer.last_step
        if table is not None and self.optimizer.by_row:
            idle, sums = table.index_select(0, rows), self.table_sum.index_select(0, rows)
            set_rows(self.table_sum, rows, self._decayed(idle, sums, last_step.index_select(0, rows)))

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Add the weights after the optimizer's step on a batch with the words `rows` (int64, (U,))."""
        table = self.optimizer.table
        self.flat_sum.lerp_(self.optimizer.flat, 1 - self.decay)
        if table is not None and self.optimizer.by_row:
            moved = self.table_sum.index_select(0, rows).lerp_(table.index_select(0, rows), 1 - self.decay)
            set_rows(self.table_sum, rows, moved)
        elif table is not None:
            self.table_sum.lerp_(table, 1 - self.decay)

    @torch.no_grad()
    def averaged(self) -> tuple[Tensor, Tensor | None]:
        """Return the averaged flat weights (P,) and table (V, E) as new tensors, after at least one step."""
        table, sums = self.optimizer.table, self.table_sum
        correction = 1 - self.decay**self.optimizer.step_count
        if table is not None and self.optimizer.by_row:
            sums = self._decayed(table, sums, self.optimizer.last_step)
        return self.flat_sum / correction, None if table is None else sums / correction

    def _decayed(self, weights: Tensor, sums: Tensor, last_step: Tensor) -> Tensor:
        """Return the sums (U, E) after the steps since `last_step` (U,), in which the weights (U, E) did not change."""
        idle_steps = (self.optimizer.step_count - last_step).double()
        remaining = idle_steps * math.log(self.decay)  # logarithm of d^k
        kept, added = torch.exp(remaining), -torch.expm1(remaining)  # weights + d^k (sums - weights) would cancel
        return kept.to(sums.dtype)[:, None] * sums + added.to(sums.dtype)[:, None] * weights
