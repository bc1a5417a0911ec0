"""Replayed searches that begin with the portfolio of the other sets."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.portfolio import search
from benchmarks.portfolio.search import (
    LONG,
    RANDOM,
    SHORT,
    WITH,
    Outcome,
    middle,
    other_sets_portfolio,
    outcomes,
    row,
    rule_cells,
)
from benchmarks.simulation.replay import Policy, replay
from tests.support.curves import table
from tests.support.epochs import epoch
from tests.support.portfolio_recording import recording, write_curves
from tuning.scheduling.asha import Asha


@pytest.mark.slow
def test_the_portfolio_of_a_set_does_not_depend_on_its_curves(tmp_path: Path) -> None:
    one, other = recording(tmp_path), recording(tmp_path)
    other.sets["one"].__dict__["scores"] = np.random.default_rng(3).uniform(size=40)
    found = other_sets_portfolio(one, "one", 4)
    assert found == other_sets_portfolio(other, "one", 4) != other_sets_portfolio(other, "two", 4)
    assert len(found.settings) == 4


def test_a_replayed_search_begins_with_the_baseline_and_the_portfolio(tmp_path: Path) -> None:
    found = recording(tmp_path)
    table, numbers = found.table("one", "default")
    first = other_sets_portfolio(found, "one", 4)
    searched = replay(table, Policy(sampler="tpe", trials=8, first_trials=first), seed=1)
    settings = [found.settings[numbers[place]] for place in searched.curves[1:5]]
    assert searched.curves[0] == 0
    assert settings == list(first.settings)


@pytest.mark.slow
def test_each_search_has_an_outcome_and_more_trials_are_not_worse(tmp_path: Path) -> None:
    write_curves(tmp_path / "curves.json.gz")
    found = outcomes(tmp_path / "curves.json.gz", "two", False, 4, Asha(), seed=1)
    assert found.keys() == {WITH, SHORT, LONG, RANDOM}
    assert found[LONG].best >= found[SHORT].best
    assert found[LONG].test == pytest.approx(found[LONG].best, abs=0.03)
    assert found[RANDOM].close < float("inf")


def test_a_row_has_the_medians_and_says_never() -> None:
    closes = (3, float("inf"), 9)
    runs = [Outcome(best=0.7 + at / 10, test=0.5, close=close, epochs=40 + at) for at, close in enumerate(closes)]
    assert middle(runs) == Outcome(best=pytest.approx(0.8), test=0.5, close=9, epochs=41)
    never = Outcome(best=0.8, test=0.5, close=float("inf"), epochs=90)
    found = {WITH: middle(runs), SHORT: never, LONG: never, RANDOM: never}
    text = row("one", 0.91, found, pooled=False)
    assert text == "| one | 91.00 | 80.00, 50.00, 9 | 80.00, 50.00, never | 80.00, 50.00, never | never |"
    assert row("one", 0.91, found, pooled=True) == "| one | 91.00 | 80.00, 9 | 80.00, never | 80.00, never | never |"


def test_the_cells_of_a_rule_have_means_and_counts_where_each_claim_holds() -> None:
    def searched(best: float, close: float, epochs: int) -> dict[str, Outcome]:
        random = Outcome(best=0.9, test=0.5, close=80, epochs=200)
        many = Outcome(best=0.8, test=0.5, close=60, epochs=100)
        return {WITH: Outcome(best=best, test=0.6, close=close, epochs=epochs), LONG: many, RANDOM: random}

    found = {"a": searched(0.8, 20, 40), "b": searched(0.7, 20, 50), "c": searched(0.9, 21, 60)}
    assert rule_cells(found) == ["50", "80.00", "60.00", "2 of 3", "2 of 3"]


def test_the_test_accuracy_is_that_of_the_best_validation_epoch_that_was_trained() -> None:
    pairs = zip(table(2).curves, ((0.7, 0.9), (0.6, 0.8)), strict=True)
    curves = tuple(dataclasses.replace(each, epochs=(epoch(1, a), epoch(2, b))) for each, (a, b) in pairs)
    searched: Any = SimpleNamespace(curves=[1, 0], epochs_by_trial=[2, 1])
    tests = [[0.9, 0.2], [0.3, 0.4]]
    assert search.test_of_best(dataclasses.replace(table(2), curves=curves), searched, tests) == 0.4
