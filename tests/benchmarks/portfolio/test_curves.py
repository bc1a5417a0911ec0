"""Reading of a recording of several sets."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.portfolio.curves import BASELINE
from tests.support.portfolio_recording import DIVERGED, EPOCHS, recording


def test_a_score_is_the_mean_of_both_splits_at_the_best_validation_epoch(tmp_path: Path) -> None:
    found = recording(tmp_path)
    one = found.sets["one"]
    val, test = one.best(5)
    assert val == one.curves[5].epochs[EPOCHS - 1].val_accuracy
    assert test == one.test[5][EPOCHS - 1]
    assert found.scores[0, 5] == pytest.approx((val + test) / 2)
    assert found.scores.shape == (3, 40)


def test_a_training_that_diverged_has_score_0_and_is_in_no_table(tmp_path: Path) -> None:
    found = recording(tmp_path)
    name, number = DIVERGED
    assert found.sets[name].scores[number] == 0
    assert found.drawn_from[number] == "quick"
    assert number not in found.table(name, "quick")[1]
    assert number in found.table("one", "quick")[1]


@pytest.mark.slow
def test_a_table_has_the_baseline_first_and_the_configurations_of_one_space(tmp_path: Path) -> None:
    found = recording(tmp_path)
    table, numbers = found.table("one", "default")
    assert numbers[0] == BASELINE
    assert {found.drawn_from[number] for number in numbers[1:]} == {"default"}
    for curve, number in zip(table.curves, numbers, strict=True):
        assert table.space.to_params(found.config(number)) == curve.params
    assert table.epochs == EPOCHS


@pytest.mark.slow
def test_pooled_accuracies_are_those_of_both_splits(tmp_path: Path) -> None:
    found = recording(tmp_path)
    (plain, numbers), (pooled, _) = (found.table("one", "default", pooled=pooled) for pooled in (False, True))
    epoch, own = pooled.curves[2].epochs[1], plain.curves[2].epochs[1]
    assert epoch.score == epoch.val_accuracy == (own.val_accuracy + found.sets["one"].test[numbers[2]][1]) / 2


def test_without_a_set_those_with_other_sentences_remain(tmp_path: Path) -> None:
    found = recording(tmp_path)
    assert list(found.without("two").sets) == ["one", "three"]
    renamed = dataclasses.replace(found, sets=dict(zip(("mr", "snippets", "trec"), found.sets.values(), strict=True)))
    assert list(renamed.without("mr").sets) == list(renamed.without("snippets").sets) == ["trec"]
