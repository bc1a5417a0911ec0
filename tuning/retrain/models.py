"""The models that `retrain` trains, with their figures: on the trial's seed, on fresh seeds, on train+val."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from core.class_report import class_report, confusion_matrix
from core.config import TrialConfig
from core.data.corpus import TEST, VAL, Corpus
from core.data.vocabulary import Vocabulary
from core.inference.members import LstmMember, Member
from core.inference.model_card import render_model_card
from core.inference.saved_model import ModelParts, save_model
from core.io.atomic import is_folder
from core.log_odds import LogOdds, to_probabilities
from core.metrics import METRICS, Metric
from core.plain_baseline import PlainResult
from core.training.evaluate import Evaluation, evaluate
from core.training.refit import refit
from core.training.result import EpochResult, TrainResult
from tuning.analysis.selection_bias import Resamples, n_repeats
from tuning.journal.reader import TEST_EVALUATION
from tuning.journal.writer import StudyJournal
from tuning.retrain.calibrated import Outputs, calibration_figures
from tuning.retrain.training import evaluate_on_test, held_out_metrics, metrics_of, train_resumable

INTERVAL_REPEATS = 500
"""Number of resamples for the interval of a metric on the test split; the random error of its width is then 3%."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainContext:
    """Study, data and settings for training a trial again."""

    verb: str = "retrain"
    """Name of the command, for the checkpoints and the test evaluations."""
    journal: StudyJournal
    trial: int
    config: TrialConfig
    """Settings of the trial, with the user's changes."""
    corpus: Corpus
    split: str
    """Split rule, for the list of test evaluations."""
    threads: int
    device: str

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, with a subfolder for each seed."""
        return self.journal.checkpoint_dir(f"{self.verb}-{self.trial}")


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class TrainedModel:
    """Weights with their figures and their origin."""

    config: TrialConfig
    weights: Mapping[str, Tensor]
    figures: Mapping[str, Any]
    """Figures for the model card; `val_accuracy`, `test_accuracy` and others if they were measured."""
    rows: Sequence[Mapping[str, Any]]
    """Figures of each pass over the data."""
    environment: Mapping[str, Any]
    weights_sha256: str

    @property
    def member(self) -> LstmMember:
        """The only member of the model to save."""
        return LstmMember(name="model", weight=1.0, config=self.config, weights=self.weights)

    @property
    def metrics(self) -> dict[str, Any]:
        """Figures for the model folder."""
        return {
            **self.figures,
            "epochs": self.rows,
            "environment": dict(self.environment),
            "weights_sha256": self.weights_sha256,
        }


def train_seed(context: RetrainContext, seed: int, last: int | None, say: Callable[[EpochResult], None]) -> TrainResult:
    """Train the trial on a seed, to its epoch `last` or to its end; resume after a kill."""
    return train_resumable(
        context.config.replace(seed=seed),
        context.corpus,
        threads=context.threads,
        device=context.device,
        checkpoints=context.checkpoints / str(seed),
        last=last,
        say=say,
    )


def evaluate_model(context: RetrainContext, result: TrainResult) -> TrainedModel:
    """Evaluate a training's best epoch on validation and test, and log the test evaluation."""
    test = evaluate_on_test(result.config, result.weights, context.corpus, context.threads, context.device)
    val = evaluate(result.config, result.weights, context.corpus, VAL, threads=context.threads, device=context.device)
    outputs = val_outputs(context.corpus, val.predictions, val.log_odds), test_outputs(context.corpus, test)
    figures = {
        **metrics_of(result, context.corpus, test),
        "val_loss_standard_error": val.loss_standard_error,
        **class_figures("val", outputs[0], context.corpus.classes),
        **class_figures("test", outputs[1], context.corpus.classes),
        **metric_interval(METRICS[result.config.metric], outputs[1], len(context.corpus.classes)),
        **calibration_figures(*outputs),
    }
    model = TrainedModel(
        config=result.config,
        weights=result.weights,
        figures=figures,
        rows=[epoch_row(METRICS[result.config.metric], epoch) for epoch in result.epochs],
        environment=result.environment,
        weights_sha256=result.weights_sha256,
    )
    _log_test(context, model, "train", len(result.epochs))
    return model


def epoch_row(metric: Metric, epoch: EpochResult) -> dict[str, Any]:
    """Return the figures of an epoch, with the value of the metric by its name instead of the score."""
    row = dataclasses.asdict(epoch)
    return row | {f"val_{metric.name}": metric.oriented(row.pop("score"))}


def refit_on_both(context: RetrainContext, verified: TrainResult, say: Callable[[int, float], None]) -> TrainedModel:
    """Train on train and validation for the verified number of steps, and evaluate on test."""
    corpus, config = context.corpus, context.config
    val = val_outputs(corpus, verified.val_predictions, verified.val_log_odds)
    again = refit(config, corpus, verified.epochs, report=say, threads=context.threads, device=context.device)
    test = evaluate_on_test(config, again.weights, corpus, context.threads, context.device)
    measured = test_outputs(corpus, test)
    model = TrainedModel(
        config=config,
        weights=again.weights,
        figures={
            "steps": again.steps,
            "passes": again.steps / config.steps_per_pass(again.sentences),
            "train_and_val_sentences": again.sentences,
            "verified_best_epoch": verified.best_epoch,
            f"verified_val_{config.metric}": METRICS[config.metric].oriented(verified.best_score),
            "verified_val_accuracy": verified.best_val_accuracy,
            "verified_val_sentences": len(corpus.validation()),
            **held_out_metrics(config.metric, test),
            **class_figures("test", measured, corpus.classes),
            **metric_interval(METRICS[config.metric], measured, len(corpus.classes)),
            **calibration_figures(val, measured),
        },
        rows=[{"pass": number, "train_loss": loss} for number, loss in enumerate(again.losses, 1)],
        environment=again.environment,
        weights_sha256=again.weights_sha256,
    )
    _log_test(context, model, "train+val" if corpus.folds is None else "train", len(verified.epochs))
    return model


def class_figures(name: str, outputs: Outputs | None, classes: Sequence[str]) -> dict[str, Any]:
    """Return `NAME_classes` (the scores of each class) and `NAME_confusion`; nothing without outputs."""
    if outputs is None:
        return {}
    confusion = confusion_matrix(outputs.labels, outputs.predictions, len(classes))
    scores = [dataclasses.asdict(each) for each in class_report(confusion, classes)]
    return {f"{name}_classes": scores, f"{name}_confusion": confusion.tolist()}


def metric_interval(metric: Metric, test: Outputs | None, n_classes: int) -> dict[str, Any]:
    """Return `test_METRIC_interval` with `low` and `high`, from resamples of the test sentences.

    Nothing if there is none: without a test split, for an undefined metric, and for accuracy, whose interval follows
    from the number of sentences.
    """
    if test is None or metric.name == "accuracy" or len(test.labels) < 2:
        return {}
    if math.isnan(metric.value(test.labels, test.predictions, test.probabilities, n_classes)):
        return {}
    outputs = test.probabilities if metric.needs_probabilities else test.predictions
    repeats = n_repeats(len(test.labels), INTERVAL_REPEATS)
    resamples = Resamples(
        metric=metric, labels=test.labels, n_classes=n_classes, trials=[0], outputs=[[outputs]], repeats=repeats
    )
    return {f"test_{metric.name}_interval": dataclasses.asdict(resamples.corrected(resamples.only(0)).interval)}


def val_outputs(corpus: Corpus, predictions: NDArray[np.int64], log_odds: LogOdds) -> Outputs:
    """Return the outputs of a model for the validation sentences."""
    return Outputs(corpus.labels[corpus.validation()], predictions, to_probabilities(log_odds))


def test_outputs(corpus: Corpus, test: Evaluation | PlainResult | None) -> Outputs | None:
    """Return the outputs of a model for the test sentences; None without a test split."""
    if test is None:
        return None
    return Outputs(corpus.labels[corpus.indices(TEST)], test.predictions, to_probabilities(test.log_odds))


def _log_test(context: RetrainContext, model: TrainedModel, on: str, epochs: int) -> None:
    precision = model.config.precision
    if precision != context.journal.attributes["spec"]["precision"]:
        on = f"{on} in {precision}"  # so that it is no result of the trial
    context.journal.log_test_evaluation(
        {**model.figures, "test_fingerprint": context.corpus.test_fingerprint(), "epochs": epochs},
        verb=context.verb,
        trial=context.trial if context.verb == "retrain" else None,  # a distilled model is no trial's
        seed=model.config.seed,
        on=on,
        split=context.split,
    )


def median_model(models: Sequence[TrainedModel]) -> TrainedModel:
    """Return the median model by the metric on validation (ties by lower loss); of an even number, the worse middle."""
    metric = METRICS[models[0].config.metric]
    name = f"val_{metric.name}"
    ordered = sorted(models, key=lambda m: (metric.oriented(m.figures[name]), -m.figures["val_loss"]))
    return ordered[(len(ordered) - 1) // 2]


def forget_diagrams(journal: StudyJournal, models: Sequence[TrainedModel], kept: TrainedModel) -> None:
    """Remove from the last test evaluations, those of the models, the reliability diagrams of all but the kept one."""
    if "test_accuracy" not in kept.figures:
        return  # there are no such evaluations
    for place, each in list(enumerate(journal.test_evaluations))[-len(models) :]:
        if each["seed"] != kept.config.seed and "calibration" in each:
            rest = {name: value for name, value in each.items() if name != "calibration"}
            journal.set_study_attr(f"{TEST_EVALUATION}{place}", rest)


def seed_summary(models: Sequence[TrainedModel]) -> dict[str, Any]:
    """Return the figures of models that differ only in their seed, with mean and standard deviation."""
    metric = models[0].config.metric
    all_names = dict.fromkeys((f"val_{metric}", f"test_{metric}", "val_accuracy", "test_accuracy"))
    names = [name for name in all_names if name in models[0].figures]
    rows: list[dict[str, Any]] = [
        {"seed": each.config.seed, **{name: each.figures[name] for name in ("best_epoch", *names)}} for each in models
    ]
    spread = {}
    for name in names:
        values = [row[name] for row in rows]
        spread[f"{name}_over_seeds"] = {"mean": statistics.fmean(values), "sd": statistics.stdev(values)}
    return {"seeds": rows, **spread}


def save_members(
    out: Path, members: Sequence[Member], metrics: Mapping[str, Any], corpus: Corpus, command: str
) -> None:
    """Write the model folder, and print its path.

    Args:
        out: The folder.
        members: Members of the model.
        metrics: Figures for the folder and its card; `temperature` is the model's.
        corpus: The data that the members were trained on.
        command: The user's command line, for the card.
    """
    digests = {"data_fingerprint": corpus.fingerprint, "test_fingerprint": corpus.test_fingerprint()}
    metrics = {**metrics, **digests}
    parts = ModelParts(
        members=members,
        temperature=metrics["temperature"],
        vocabulary=Vocabulary(corpus.words),
        classes=corpus.classes,
        embedding_dim=corpus.embedding_dim,
        tokenizer=corpus.source["tokenizer"],
        text_column=corpus.source.get("text_column"),
    )
    card = render_model_card(source=corpus.source, metrics=metrics, members=members, command=command)
    replaced = " in place of the model there" if is_folder(out) and any(out.iterdir()) else ""
    save_model(out, parts, metrics=metrics, card=card)
    print(f"model saved in {out}{replaced}")
