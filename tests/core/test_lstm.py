"""The written-out LSTM layer against torch's."""

import pytest
import torch
from torch import nn

from core.lstm import over_words, pays


@pytest.mark.parametrize(("steps", "batch", "hidden"), [(7, 5, 6), (1, 3, 4), (4, 1, 1)])
def test_states_and_gradients_are_those_of_torchs_layer(steps: int, batch: int, hidden: int) -> None:
    generator = torch.Generator().manual_seed(0)
    lstm = nn.LSTM(3, hidden).double()
    for parameter in lstm.parameters():
        nn.init.normal_(parameter, generator=generator)
    vectors = torch.randn(8, 3, dtype=torch.float64, generator=generator).requires_grad_()
    tokens = torch.randint(0, 8, (steps, batch), generator=generator)
    slope = torch.randn(steps, batch, hidden, dtype=torch.float64, generator=generator)
    wanted = [vectors, *lstm.parameters()]
    own, torchs = over_words(lstm, vectors, tokens), lstm(vectors[tokens])[0]
    assert torch.allclose(own, torchs, rtol=0, atol=1e-12)
    for a, b in zip(torch.autograd.grad(own, wanted, slope), torch.autograd.grad(torchs, wanted, slope), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_frozen_vectors_get_no_gradient() -> None:
    lstm = nn.LSTM(3, 4)
    states = over_words(lstm, torch.randn(8, 3), torch.randint(0, 8, (5, 2)))
    assert all(slope is not None for slope in torch.autograd.grad(states.sum(), list(lstm.parameters())))


def test_a_second_backward_pass_is_refused() -> None:
    """The first one overwrites the gates, so a second would be silently wrong."""
    lstm = nn.LSTM(3, 4)
    loss = over_words(lstm, torch.randn(8, 3), torch.randint(0, 8, (5, 2))).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_saturated_gates_stay_finite() -> None:
    lstm = nn.LSTM(1, 1)
    for parameter in lstm.parameters():
        nn.init.constant_(parameter, 1e4)
    vectors = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    states = over_words(lstm, vectors, torch.tensor([[0], [1], [0]]))
    assert states.isfinite().all()
    assert torch.autograd.grad(states.sum(), vectors)[0].isfinite().all()


@pytest.mark.parametrize(
    ("width", "hidden", "distinct", "faster"),
    [
        (300, 128, 530, True),
        (300, 256, 530, True),
        (50, 128, 530, False),
        (100, 128, 530, False),
        (300, 128, 1100, False),
    ],
)
def test_it_pays_for_wide_vectors_and_words_that_repeat(width: int, hidden: int, distinct: int, faster: bool) -> None:
    lstm = nn.LSTM(width, hidden, device="meta")
    tokens = torch.empty(22, 50, dtype=torch.int64)
    assert pays(lstm, torch.empty(distinct, width), tokens) is faster
    with torch.autocast("cpu", torch.bfloat16):
        assert not pays(lstm, torch.empty(distinct, width), tokens)
