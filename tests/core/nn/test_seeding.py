"""Random draws that depend on the seed alone."""

import pytest
import torch

from core.nn.seeding import Dropout, seeded_generator


def draw(seed: int, purpose: str, epoch: int) -> float:
    return torch.rand((), generator=seeded_generator(seed, purpose, epoch)).item()


def test_seed_purpose_and_epoch_each_change_the_stream() -> None:
    streams = {draw(*key) for key in [(1, "order", 1), (2, "order", 1), (1, "dropout", 1), (1, "order", 2)]}
    assert len(streams) == 4
    assert draw(1, "order", 1) == draw(1, "order", 1)


@pytest.mark.parametrize("probability", [0.05, 0.5, 0.9])
def test_dropout_zeroes_its_share_and_keeps_the_mean(probability: float) -> None:
    dropped = Dropout(seeded_generator(1, "dropout"))(torch.ones(300, 1001), probability)
    assert (dropped == 0).float().mean().item() == pytest.approx(probability, abs=4e-3)  # 4 standard errors
    assert dropped.max().item() == pytest.approx(1 / (1 - probability))


def test_neighbouring_values_are_dropped_independently() -> None:
    """Four values share one 64-bit draw."""
    kept = Dropout(seeded_generator(1, "dropout")).keep_mask((50_000, 4), 0.5).double()
    assert torch.corrcoef(kept.t()).fill_diagonal_(0).abs().max() < 0.02


def test_any_number_of_values_can_be_drawn() -> None:
    assert [len(Dropout(seeded_generator(1, "dropout")).keep_mask((n,), 0.5)) for n in (1, 3, 4, 5)] == [1, 3, 4, 5]


def test_a_probability_next_to_one_still_drops() -> None:
    dropout = Dropout(seeded_generator(1, "dropout"))
    assert dropout.keep_mask((100_000,), 1 - 1e-9).float().mean() < 0.001
