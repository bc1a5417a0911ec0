"""tuning.retrain.models: the choice of one of several models."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.config import TrialConfig
from core.data.corpus import TEST, VAL
from core.metrics import METRICS
from core.training.loop import train
from tests.support.corpora import tiny_corpus
from tests.support.epochs import epoch
from tests.support.journals import SPEC
from tuning.journal.writer import StudyJournal, open_study
from tuning.retrain.calibrated import Outputs
from tuning.retrain.models import (
    RetrainContext,
    TrainedModel,
    _log_test,
    epoch_row,
    evaluate_model,
    forget_diagrams,
    median_model,
    metric_interval,
    refit_on_both,
    seed_summary,
)
from tuning.retrain.output import print_epoch, print_figures


def model(seed: int, accuracy: float, loss: float = 0.5, **figures: Any) -> TrainedModel:
    shown = {"val_accuracy": accuracy, "val_loss": loss, "val_sentences": 40, "best_epoch": 2, **figures}
    return TrainedModel(
        config=TrialConfig(seed=seed), weights={}, figures=shown, rows=(), environment={}, weights_sha256="ab"
    )


def context(journal: StudyJournal, config: TrialConfig) -> RetrainContext:
    return RetrainContext(
        journal=journal, trial=0, config=config, corpus=tiny_corpus(), split="80/10/10", threads=1, device="cpu"
    )


def test_the_figures_of_a_split_are_those_of_its_sentences(tmp_path: Path) -> None:
    corpus, config = tiny_corpus(), TrialConfig(hidden_dim=4, epochs=1, batch_size=16)
    result = train(config, corpus)
    with open_study(tmp_path, SPEC | {"precision": "fp32"}) as journal:
        found = evaluate_model(context(journal, config), result).figures
        both = refit_on_both(context(journal, config), result, lambda *_: None).figures
    for name, split, figures in (("val", VAL, found), ("test", TEST, found), ("test", TEST, both)):
        labels, confusion = corpus.labels[corpus.indices(split)], np.array(figures[f"{name}_confusion"])
        assert confusion.sum(axis=1).tolist() == np.bincount(labels).tolist()
        assert confusion.trace() / len(labels) == figures[f"{name}_accuracy"]
    for figures in (found, both):
        assert (figures["coverage"][0]["sentences"], figures["abstention"]["sentences"]) == (16, 10)


def test_of_two_losses_the_higher_one_is_kept() -> None:
    models = [
        dataclasses.replace(model(seed, 0.9, val_log_loss=loss), config=TrialConfig(seed=seed, metric="log_loss"))
        for seed, loss in ((1, 0.3), (2, 0.4))
    ]
    assert median_model(models).config.seed == 2


def test_the_loss_of_an_epoch_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A score is its negative."""
    measured = dataclasses.replace(epoch(1, 0.8), score=-0.4567)
    assert epoch_row(METRICS["log_loss"], measured)["val_log_loss"] == 0.4567
    print_epoch(TrialConfig(metric="log_loss"), measured)
    assert ", val log loss 0.4567, val accuracy 0.8000, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("models", "kept"),
    [
        ([model(1, 0.9), model(2, 0.7), model(3, 0.8)], 3),
        ([model(1, 0.9), model(2, 0.7)], 2),
        ([model(1, 0.9), model(2, 0.7), model(3, 0.8), model(4, 0.6)], 2),
        ([model(1, 0.8, 0.3), model(2, 0.8, 0.4), model(3, 0.8, 0.5)], 2),
        ([model(1, 0.8)], 1),
    ],
)
def test_the_middle_one_by_validation_is_kept_and_of_two_the_worse(models: list[TrainedModel], kept: int) -> None:
    assert median_model(models).config.seed == kept


def test_all_figures_and_their_spread_are_reported() -> None:
    about = seed_summary([model(1, 0.5, test_accuracy=0.4), model(2, 0.7, test_accuracy=0.6)])
    assert about["seeds"] == [
        {"seed": 1, "best_epoch": 2, "val_accuracy": 0.5, "test_accuracy": 0.4},
        {"seed": 2, "best_epoch": 2, "val_accuracy": 0.7, "test_accuracy": 0.6},
    ]
    assert about["val_accuracy_over_seeds"]["mean"] == pytest.approx(0.6)
    assert about["test_accuracy_over_seeds"]["sd"] == pytest.approx(0.02**0.5)


def test_without_a_test_split_no_test_figure_is_made_up() -> None:
    assert "test_accuracy_over_seeds" not in seed_summary([model(1, 0.5), model(2, 0.7)])


def test_an_evaluation_in_another_precision_is_no_result_of_the_trial(tmp_path: Path) -> None:
    trained = model(1, 0.5, test_accuracy=0.4, test_sentences=24)
    with open_study(tmp_path, SPEC | {"precision": "fp32"}) as journal:
        for precision in ("fp32", "bf16"):
            config = trained.config.replace(precision=precision)
            _log_test(context(journal, config), dataclasses.replace(trained, config=config), "train", 2)
        assert [reading["on"] for reading in journal.test_evaluations] == ["train", "train in bf16"]


def test_of_several_seeds_only_the_kept_model_has_a_reliability_diagram(tmp_path: Path) -> None:
    """The page shows the last one in the journal, which is then that of the saved model."""
    measured = {"test_accuracy": 0.4, "test_sentences": 24, "calibration": {"before": {}, "after": {}}}
    models = [model(seed, accuracy, **measured) for seed, accuracy in ((1, 0.9), (2, 0.8), (3, 0.7))]
    with open_study(tmp_path, SPEC | {"precision": "fp32"}) as journal:
        for each in (models[2], *models):  # the first is of an earlier command
            _log_test(context(journal, each.config), each, "train", 2)
        forget_diagrams(journal, models, median_model(models))
        readings = [(reading["seed"], "calibration" in reading) for reading in journal.test_evaluations]
    assert readings == [(3, True), (1, False), (2, True), (3, False)]


@pytest.mark.parametrize("name", ["macro_f1", "mcc", "log_loss", "roc_auc"])
def test_the_metric_of_the_study_has_an_interval_on_the_test_split(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of accuracy follows from the number of sentences."""
    labels = np.arange(60) % 2
    sure = np.where(np.arange(60) % 5 == 0, 0.4, 0.8)
    probabilities = np.where(labels[:, None] == [0, 1], sure[:, None], 1 - sure[:, None])
    test, metric = Outputs(labels, probabilities.argmax(axis=1), probabilities), METRICS[name]
    value = metric.value(test.labels, test.predictions, test.probabilities, 2)
    found = metric_interval(metric, test, 2)
    low, high = found[f"test_{name}_interval"].values()
    assert low < value < high
    print_figures(
        dataclasses.replace(
            model(1, 0.9, test_sentences=60, **{f"test_{name}": value}, **found), config=TrialConfig(metric=name)
        )
    )
    shown = f"test {metric.title} {value:.4f} (95% interval {low:.4f} to {high:.4f}) on 60 sentences\n"
    assert shown in capsys.readouterr().out
    assert metric_interval(METRICS["accuracy"], test, 2) == metric_interval(metric, None, 2) == {}


def test_an_undefined_metric_has_no_interval() -> None:
    """No test sentence has the second class."""
    test = Outputs(np.zeros(9, dtype=np.int64), np.zeros(9, dtype=np.int64), np.full((9, 2), 0.5))
    assert metric_interval(METRICS["roc_auc"], test, 2) == {}
