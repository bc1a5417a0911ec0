"""tuning.stopping: who goes on at a rung."""

import pytest

from core.epoch import EpochResult
from core.errors import ConfigError
from tuning.stopping import Asha, Halving, stopping_rule


def curve(*accuracies: float) -> list[EpochResult]:
    return [
        EpochResult(epoch=i, train_loss=1.0, val_loss=1.0 - a, val_accuracy=a, seconds=0.1)
        for i, a in enumerate(accuracies, 1)
    ]


def test_rungs_grow_by_the_reduction_and_end_before_the_last_epoch() -> None:
    assert Halving(grace=2, reduction=3).rungs(20) == [2, 6, 18]
    assert Halving(grace=2, reduction=3).rungs(6) == [2]
    assert Halving(grace=2, reduction=3).rungs(2) == []


def test_no_one_is_stopped_between_rungs_or_against_fewer_than_three() -> None:
    rule, worse = Halving(), curve(0.1, 0.1, 0.1)
    peers = [curve(0.9, 0.9, 0.9)] * 5
    assert not rule.stops(worse[:1], peers, 10)
    assert rule.stops(worse[:2], peers, 10)
    assert not rule.stops(worse, peers, 10)
    assert not rule.stops(worse[:2], peers[:2], 10)


def test_the_first_third_goes_on_and_a_tie_with_it_too() -> None:
    peers = [curve(0.5, a) for a in (0.9, 0.8, 0.7, 0.6, 0.55)]
    goes_on = {a: not Halving().stops(curve(0.5, a), peers, 10) for a in (0.95, 0.85, 0.8, 0.75)}
    assert goes_on == {0.95: True, 0.85: True, 0.8: True, 0.75: False}


def test_a_peer_counts_with_its_best_epoch_up_to_the_rung_only() -> None:
    late = [curve(0.5, 0.5, 0.99, 0.99)] * 3
    assert not Halving().stops(curve(0.6, 0.4), late, 10)


def test_peers_that_never_reached_the_rung_do_not_count() -> None:
    assert not Halving().stops(curve(0.1, 0.1), [curve(0.9)] * 5, 10)


def test_every_broken_rule_is_named() -> None:
    with pytest.raises(ConfigError, match="--grace must be at least 1, got 0; --reduction must be at least 2, got 1"):
        Halving(grace=0, reduction=1)
    with pytest.raises(ConfigError, match="--grace must be at least 1, got -1"):
        Asha(grace=-1)


def test_a_rule_goes_by_its_name() -> None:
    assert stopping_rule("halving", 3, 4) == Halving(grace=3, reduction=4)
    assert stopping_rule("asha", 3, 4) == Asha(grace=3, reduction=4)
    assert stopping_rule("none", 0, 0) is None
