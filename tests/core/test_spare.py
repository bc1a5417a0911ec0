"""A second thread for an LSTM layer: the same bits, or no second thread."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from core import spare
from core.config import TrialConfig
from core.runtime import autocast, threads_set
from core.train import train
from tests.fakes import tiny_corpus


@pytest.fixture(autouse=True)
def _as_new(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No layer was tried before, and one thread is what the process has."""
    monkeypatch.setattr(spare, "_tried", {})
    with threads_set(1):
        yield


@pytest.fixture
def threads_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every number of threads that is set from here on."""
    seen: list[int] = []
    real = torch.set_num_threads

    def spied(count: int) -> None:
        seen.append(count)
        real(count)

    monkeypatch.setattr(torch, "set_num_threads", spied)
    return seen


def layer(width: int, hidden: int, steps: int, batch: int) -> tuple[nn.LSTM, Tensor]:
    torch.manual_seed(0)
    return nn.LSTM(width, hidden), torch.randn(steps, batch, width)


def computed(lstm: nn.LSTM, x: Tensor, threads: int, precision: str) -> list[Tensor]:
    """The states and the gradients, as `helped` gives them."""
    with autocast(precision, "cpu"):
        states = spare.helped(lstm, x, threads)
    wanted = [*lstm.parameters(), *([x] if x.requires_grad else [])]
    return [states, *torch.autograd.grad(states.float().square().sum(), wanted)]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize(
    ("width", "hidden", "steps", "batch"), [(300, 128, 22, 50), (50, 96, 60, 64), (300, 40, 9, 50), (512, 256, 5, 16)]
)
def test_two_threads_give_the_bits_of_one(
    width: int, hidden: int, steps: int, batch: int, trained: bool, precision: str, threads_seen: list[int]
) -> None:
    lstm, x = layer(width, hidden, steps, batch)
    x.requires_grad_(trained)
    alone = computed(lstm, x, 1, precision)
    assert threads_seen == []
    helped = computed(lstm, x, 2, precision)
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))
    assert threads_seen[-4:] == [2, 1, 2, 1]  # forward, backward
    assert torch.get_num_threads() == 1


def test_a_small_layer_is_left_alone(threads_seen: list[int]) -> None:
    computed(*layer(50, 16, 20, 32), 2, "fp32")
    assert threads_seen == []


def test_a_layer_whose_bits_would_change_is_never_helped(
    monkeypatch: pytest.MonkeyPatch, threads_seen: list[int]
) -> None:
    lstm, x = layer(300, 64, 20, 50)
    alone = computed(lstm, x, 1, "fp32")
    tries = []

    def one_bit_apart(lstm: nn.LSTM, x: Tensor, threads: int) -> list[Tensor]:
        tries.append(threads)
        return [torch.tensor(1.0), torch.tensor(1.0).nextafter(torch.tensor(float(threads)))]

    monkeypatch.setattr(spare, "_computed", one_bit_apart)
    for steps in (20, 10, 20):
        computed(lstm, x[:steps], 2, "fp32")
    assert tries == [1, 2]
    assert threads_seen == []
    assert all(torch.equal(a, b) for a, b in zip(alone, computed(lstm, x, 2, "fp32"), strict=True))


def test_lengths_between_two_that_were_tried_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    lstm, x = layer(300, 64, 30, 50)
    tries = []
    monkeypatch.setattr(spare, "_computed", lambda lstm, x, threads: [tries.append(len(x)), torch.ones(1)][1:])
    for steps in (20, 10, 15, 30, 25, 10, 30):
        computed(lstm, x[:steps], 2, "fp32")
    assert tries[::2] == [20, 10, 30]
    computed(lstm, x[:15, :49], 2, "fp32")
    assert tries[::2] == [20, 10, 30, 15], "another batch is another shape"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_that_is_helped_now_and_then_gives_the_same_weights(
    monkeypatch: pytest.MonkeyPatch, precision: str, threads_seen: list[int]
) -> None:
    monkeypatch.setattr(spare, "WORTHWHILE", 0)
    config = TrialConfig(hidden_dim=24, n_layers=2, epochs=4, batch_size=16, precision=precision, clip_norm=1.0)
    alone = train(config, tiny_corpus())
    threads_seen.clear()
    shares = iter([2, 1, 0, 2, 2, 1] * 100)
    helped = train(config, tiny_corpus(), spare=lambda: next(shares))
    assert 2 in threads_seen
    assert helped.weights_sha256 == alone.weights_sha256
    assert [(e.train_loss, e.val_loss) for e in helped.epochs] == [(e.train_loss, e.val_loss) for e in alone.epochs]
    assert helped.environment == alone.environment


def alone_for(pace: spare.Pace) -> int:
    """How many steps it has alone before the next one with two threads; each takes 10 ms for 100 words."""
    for steps in range(5000):
        if pace.threads(2) == 2:
            return steps
        pace.took(1, 100, 0.01)
    raise AssertionError("never again")


def test_two_threads_that_pay_are_kept() -> None:
    pace = spare.Pace(1)
    assert alone_for(pace) == spare.STEPS
    for _ in range(100):
        assert (pace.threads(2), pace.threads(0)) == (2, 1)
        pace.took(2, 100, 0.007)


def test_two_threads_that_do_not_pay_are_tried_more_and_more_rarely() -> None:
    pace = spare.Pace(1)
    alone_for(pace)
    rests = []
    for _ in range(8):
        for _ in range(spare.STEPS):
            assert pace.threads(2) == 2
            pace.took(2, 300, 0.031)
        rests.append(alone_for(pace))
    assert rests == [16, 32, 64, 128, 256, 512, 1024, 1024]


def test_once_they_pay_again_they_are_tried_as_soon_as_at_first() -> None:
    pace = spare.Pace(1)
    rests = []
    for seconds in (0.02, 0.02, 0.007, 0.02):
        rests.append(alone_for(pace))
        for _ in range(spare.STEPS if seconds > 0.01 else 3 * spare.STEPS):
            assert pace.threads(2) == 2
            pace.took(2, 100, seconds)
        while seconds < 0.01 and pace.threads(2) == 2:
            pace.took(2, 100, 0.02)
    assert rests == [spare.STEPS, 16, 32, 15]  # the last one's first step was asked for above


def test_two_very_slow_steps_are_enough_but_not_one_nor_where_a_layer_was_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pace = spare.Pace(1)
    alone_for(pace)
    for seconds in (0.007, 0.04, 0.007):
        assert pace.threads(2) == 2
        pace.took(2, 100, seconds)
    assert pace.threads(2) == 2
    with monkeypatch.context() as patch:
        patch.setattr(spare, "_tries", spare._tries + 1)
        pace.took(2, 100, 1.0)
    for seconds in (0.031, 0.031):
        assert pace.threads(2) == 2
        pace.took(2, 100, seconds)
    assert alone_for(pace) == 16
