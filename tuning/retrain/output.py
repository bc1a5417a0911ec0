"""Output of `retrain`, `ensemble` and `distill` about a training: epochs, figures and classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.class_report import class_report
from core.config import TrialConfig
from core.metrics import METRICS, Metric
from core.stats import Interval
from core.training.result import EpochResult, TrainResult
from tuning.analysis.best import format_interval
from tuning.analysis.trial_detail import ClassResults, class_tables
from tuning.console import in_callers_terms
from tuning.retrain.calibrated import calibration_lines
from tuning.retrain.models import RetrainContext, TrainedModel, refit_on_both


def train_on_both(context: RetrainContext, verified: TrainResult) -> TrainedModel:
    """Train on train and validation, or on all folds, for the verified number of steps; print passes and figures."""
    what = "train and validation" if context.corpus.folds is None else "all folds"
    epochs = f"{verified.best_epoch} epoch{'s' * (verified.best_epoch != 1)}"
    print(f"training on {what} together, for the number of steps of {epochs}")
    model = refit_on_both(
        context, verified, lambda number, loss: print(f"pass {number}: train loss {loss:.4f}", flush=True)
    )
    print(f"{model.figures['steps']} steps are {model.figures['passes']:.2f} passes over {what}")
    print_figures(model)
    return model


def shown_metrics(config: TrialConfig) -> list[tuple[str, Metric]]:
    """Return each split with the metric and with accuracy, each once."""
    metrics = [METRICS[name] for name in dict.fromkeys((config.metric, "accuracy"))]
    return [(split, metric) for split in ("val", "test") for metric in metrics]


def print_epoch(config: TrialConfig, epoch: EpochResult) -> None:
    """Print the figures of an epoch."""
    metric = METRICS[config.metric]
    extra = "" if metric.name == "accuracy" else f"val {metric.title} {metric.oriented(epoch.score):.4f}, "
    print(
        f"epoch {epoch.epoch}: train loss {epoch.train_loss:.4f}, val loss {epoch.val_loss:.4f}, {extra}"
        f"val accuracy {epoch.val_accuracy:.4f}, {epoch.seconds:.1f} s",
        flush=True,
    )


def print_figures(model: TrainedModel) -> None:
    """Print the figures of a model on validation and test."""
    for split, metric in shown_metrics(model.config):
        if (value := model.figures.get(f"{split}_{metric.name}")) is not None:
            between = model.figures.get(f"{split}_{metric.name}_interval")
            spread = f" ({format_interval(Interval(**between))})" if between else ""
            print(f"{split:<4} {metric.title} {value:.4f}{spread} on {model.figures[f'{split}_sentences']} sentences")
    if "test_accuracy" not in model.figures:
        print("the study has no test split, so there is no test figure")


def print_quality(figures: Mapping[str, Any], classes: Sequence[str]) -> None:
    """Print the calibration, and the scores of each class on the test split, or on validation if there is none."""
    print(*map(in_callers_terms, calibration_lines(figures)), sep="\n")
    split = "test" if "test_confusion" in figures else "val"
    if found := figures.get(f"{split}_confusion"):
        confusion = np.array(found)
        results = ClassResults(scores=class_report(confusion, classes), confusion=confusion)
        tables = class_tables(results, "metrics.json of the model")
        print(f"classes of the {split} split, with 95% intervals:", *tables, sep="\n")
