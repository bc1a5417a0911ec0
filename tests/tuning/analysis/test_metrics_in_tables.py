"""A study of another metric than accuracy: ranking, table, JSON, and the curve of random search."""

import dataclasses
import json

import pytest

from tests.support.trial_records import NOT_ASSESSED, record
from tuning.analysis.random_search_curve import random_search_curve
from tuning.analysis.ranking import TrialRow, trial_rows
from tuning.analysis.tables import render_curve, render_table
from tuning.journal.records import TrialRecord, epoch_points, rank_trials

SEARCHED = ("n_layers",)


def scored(number: int, metric: str, *pairs: tuple[float, float], origin: str = "random") -> TrialRecord:
    """Return a trial with these pairs of accuracy and score."""
    found = record(number, *(accuracy for accuracy, _ in pairs), origin=origin)
    epochs = [dataclasses.replace(e, score=s) for e, (_, s) in zip(found.epochs, pairs, strict=True)]
    return dataclasses.replace(found, epochs=tuple(epochs), config={**found.config, "metric": metric})


MACRO = [
    scored(0, "macro_f1", (0.95, 0.49), origin="baseline"),
    scored(1, "macro_f1", (0.93, 0.40), (0.90, 0.70)),
    scored(2, "macro_f1", (0.94, 0.60), (0.95, 0.50)),
]
LOSS = [scored(0, "log_loss", (0.9, -0.5), origin="baseline"), scored(1, "log_loss", (0.7, -0.3), (0.9, -0.4))]


def rows_of(trials: list[TrialRecord]) -> list[TrialRow]:
    return trial_rows(trials, SEARCHED, NOT_ASSESSED)


def test_the_metric_ranks_and_chooses_the_epoch() -> None:
    """Accuracy would put the constant classifier, trial 0, first."""
    assert [each.number for each in rank_trials(MACRO)] == [1, 2, 0]
    first = rows_of(MACRO)[0]
    assert (first.metric, first.val_metric, first.val_accuracy, first.best_epoch) == ("macro_f1", 0.7, 0.9, 2)
    assert first.gain_over_baseline == pytest.approx(0.21)


def test_ties_go_to_the_lower_loss_then_to_the_lower_number() -> None:
    trials = [scored(n, "macro_f1", (0.5 + n / 100, 0.6)) for n in range(4)]
    trials[2] = dataclasses.replace(trials[2], epochs=(dataclasses.replace(trials[2].epochs[0], val_loss=0.1),))
    assert [each.number for each in rank_trials(trials)] == [2, 0, 1, 3]


def test_the_table_shows_the_metric_and_accuracy() -> None:
    table = render_table(rows_of(MACRO), "table", width=160)
    assert table.splitlines()[1].split()[:6] == ["rank", "trial", "macro", "F1", "val", "acc"]
    assert table.splitlines()[3].split()[:4] == ["1", "1", "0.7000", "0.9000"]
    assert "gain: macro F1 above the baseline" in table


def test_a_loss_is_shown_as_it_is_and_a_lower_one_is_a_gain() -> None:
    first, second = rows_of(LOSS)
    assert (first.trial, first.val_metric, first.best_epoch, second.val_metric) == (1, 0.3, 1, 0.5)
    assert first.gain_over_baseline == pytest.approx(0.2)
    assert "gain: log loss below the baseline" in render_table([first, second], "md")
    assert json.loads(render_table([first], "json"))[0]["val_metric"] == 0.3


def test_the_curve_of_a_loss_falls() -> None:
    losses = [scored(n, "log_loss", (0.5, -loss)) for n, loss in enumerate((0.9, 0.5, 0.7, 0.6))]
    curve = random_search_curve(losses)
    assert (curve.metric, curve.budgets[0].unbiased) == ("log_loss", pytest.approx(0.675))
    assert curve.budgets[-1].unbiased == pytest.approx(0.5)
    assert all(budget.low <= budget.plugin <= budget.high for budget in curve.budgets)
    assert "expected best validation log loss of random search" in render_curve(curve, "table")


def test_trackers_get_the_metric_under_its_name() -> None:
    assert [point.values["val_macro_f1"] for point in epoch_points(MACRO[1])] == [0.4, 0.7]
    assert [point.values["best_val_log_loss"] for point in epoch_points(LOSS[1])] == [0.3, 0.3]
    assert [point.values["best_val_accuracy"] for point in epoch_points(LOSS[1])] == [0.7, 0.9]
    assert set(epoch_points(record(0, 0.5))[0].values) == {
        *("val_accuracy", "val_loss", "train_loss", "seconds", "best_val_accuracy"),
    }
