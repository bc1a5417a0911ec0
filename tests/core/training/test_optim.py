"""Row-lazy optimizers against their dense forms."""

from functools import partial
from typing import Any

import pytest
import torch

from core.config import TrialConfig
from core.nn.model_size import OPTIMIZER_STATE_TENSORS
from core.nn.runtime import subnormals_as_zero
from core.training.optim import RHO, RULES, Optimizer

TOUCHES = [[0, 3], [1, 3], [3], [0, 2], [3], [3], [1, 4], [0, 1, 2, 3, 4]]
"""Which rows have a gradient at each step; row 5 never has."""


def gradients(dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(len(rows), 7, dtype=torch.float64, generator=generator).to(dtype) for rows in TOUCHES]


def start(dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)


def lazily(name: str, dtype: torch.dtype) -> torch.Tensor:
    table, flat = start(dtype), torch.zeros(1, dtype=dtype)
    optimizer = Optimizer(TrialConfig(optimizer=name), flat, table)
    assert optimizer.by_row
    for rows, gradient in zip(TOUCHES, gradients(dtype), strict=True):
        places = torch.tensor(rows)
        optimizer.step(0.25, torch.zeros_like(flat), places, table[places], gradient)
    return table


@pytest.mark.parametrize("name", ["adadelta", "rmsprop"])
def test_waiting_for_a_row_gives_what_a_step_at_a_time_gives(name: str) -> None:
    """The shrinking of the averages replayed one multiplication a step, as the dense rule does it.

    `rho ** k` and k multiplications round differently, in the 16th digit, so 1e-12 rather than bit for bit.
    """
    rule = RULES[name]
    table = start(torch.float64)
    averages = [torch.zeros_like(table) for _ in range(OPTIMIZER_STATE_TENSORS[name])]
    for step, (rows, gradient) in enumerate(zip(TOUCHES, gradients(torch.float64), strict=True), start=1):
        dense = torch.zeros_like(table)
        dense[rows] = gradient
        rule.update(table, dense, *averages, step, 0.25, 0.0)
    assert torch.allclose(lazily(name, torch.float64), table, rtol=0, atol=1e-12)


TORCHS: dict[str, Any] = {"adadelta": partial(torch.optim.Adadelta, rho=RHO), "rmsprop": torch.optim.RMSprop}


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHS)
def test_waiting_for_a_row_gives_what_torchs_optimizer_gives(name: str) -> None:
    table = torch.nn.Parameter(start(torch.float64))
    optimizer = TORCHS[name]([table], lr=0.25)
    for rows, gradient in zip(TOUCHES, gradients(torch.float64), strict=True):
        table.grad = torch.zeros_like(table).index_copy_(0, torch.tensor(rows), gradient)
        optimizer.step()
    assert torch.allclose(lazily(name, torch.float64), table.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["adadelta", "rmsprop"])
def test_single_precision_stays_close(name: str) -> None:
    difference = lazily(name, torch.float32).double() - lazily(name, torch.float64)
    assert difference.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("settings", "by_row"),
    [
        ({"optimizer": "adadelta"}, True),
        ({"optimizer": "adadelta", "weight_decay": 0.1}, False),
        ({"optimizer": "rmsprop", "weight_decay": 0.1}, False),
        ({"optimizer": "adam"}, False),
        ({"optimizer": "adamw", "inexact_lazy_adam": True}, True),
    ],
)
def test_rows_wait_only_if_that_is_exact_or_asked_for(settings: dict[str, Any], by_row: bool) -> None:
    assert Optimizer(TrialConfig(**settings), torch.zeros(1), torch.zeros(2, 2)).by_row is by_row


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adams_subnormal_averages_change_no_weight(name: str) -> None:
    """Row 0 has a gradient at the first step only; after 900 more, its mean is below the smallest normal number."""

    def trained() -> Optimizer:
        table, flat = start(torch.float32), torch.zeros(1)
        optimizer = Optimizer(TrialConfig(optimizer=name), flat, table)
        generator = torch.Generator().manual_seed(2)
        for step in range(900):
            places = torch.tensor([min(step, 1)])
            gradient = torch.randn(1, 7, generator=generator)
            optimizer.step(0.01, torch.zeros_like(flat), places, table[places], gradient)
        return optimizer

    exact = trained()
    with subnormals_as_zero():
        flushed = trained()
    assert flushed.table is not None
    assert exact.table is not None
    assert torch.equal(flushed.table, exact.table)
    mean = exact.table_slots[0, 0].abs()
    assert ((mean > 0) & (mean < torch.finfo(torch.float32).tiny)).all()
    assert (flushed.table_slots[0, 0] == 0).all()
