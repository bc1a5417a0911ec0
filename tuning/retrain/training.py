"""Resumable training of a trial's settings, also in a Ray worker, and its figures."""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.config import TrialConfig
from core.data.corpus import TEST, Corpus
from core.data.load import load_corpus
from core.errors import DataError, StopTraining
from core.io.checked_folder import canonical_json
from core.metrics import METRICS
from core.nn.environment import runtime_environment
from core.training.evaluate import Evaluation, evaluate
from core.training.loop import train
from core.training.refit import refit
from core.training.result import EpochResult, TrainResult
from tuning.console import READING_DATA, in_callers_terms, say_if_slow
from tuning.journal.folder import missing_files
from tuning.journal.reader import data_arguments
from tuning.resources.machine import Machine, TrialResources

FRESH = 7_031_501
"""Constant that makes fresh seeds different from those that the study's sampler derives from the same seed."""


def train_resumable(
    config: TrialConfig,
    corpus: Corpus,
    *,
    threads: int,
    device: str,
    checkpoints: Path,
    last: int | None = None,
    say: Callable[[EpochResult], None] = lambda epoch: None,
) -> TrainResult:
    """Train, or resume after a kill.

    Args:
        config: The settings.
        corpus: The data.
        threads: Number of CPU threads.
        device: Device, as torch names it.
        checkpoints: Folder of this training only; each environment has a subfolder.
        last: The last epoch to train; None for all epochs of the config.
        say: Called after each epoch.

    Raises:
        TrainingError: The loss is not finite.
        UserError: A checkpoint cannot be written.
    """

    def report(epoch: EpochResult) -> None:
        say(epoch)
        if epoch.epoch == last:
            raise StopTraining

    # A training must not be resumed in another environment: comparisons assume a single one. Nor with another last
    # epoch: a checkpoint may already have more epochs.
    environment = runtime_environment(config.precision, threads, device)
    identity = [config.to_dict(), corpus.fingerprint, environment, last]
    digest = hashlib.sha256(canonical_json(identity)).hexdigest()
    folder = checkpoints / digest[:16]
    return train(config, corpus, report=report, checkpoint_dir=folder, threads=threads, device=device)


def train_in_worker(
    config: Mapping[str, Any],
    corpus: Corpus,
    resources: TrialResources,
    checkpoints: str,
    last: int | None,
    both: bool,
) -> dict[str, Any]:
    """Train in a Ray worker, with `both` a second time on all sentences except the test split; evaluate on test.

    After a kill, the first training resumes, and the second one starts again.

    Args:
        config: Fields of TrialConfig.
        corpus: The data.
        resources: Resources of the worker.
        checkpoints: Folder of the checkpoints, as in `train_resumable`.
        last: The last epoch to train; None for all epochs of the config.
        both: Whether to train again on train and validation.

    Returns:
        `result` (TrainResult, with `both` without its weights), `weights` by name, `weights_sha256`, and `test`
        (Evaluation, or None without a test split). For failures see tuning.backend.worker.failure_result.
    """
    from tuning.backend.worker import failure_result, select_device  # imports Ray

    try:
        device, _ = select_device(resources.gpus_per_trial)
        settings, threads = TrialConfig.from_dict(config), resources.cpus_per_trial
        result = train_resumable(
            settings, corpus, threads=threads, device=device, checkpoints=Path(checkpoints), last=last
        )
        weights, digest = result.weights, result.weights_sha256
        if both:
            result = dataclasses.replace(result, weights={})  # with folds, several times as large as the others
            again = refit(settings, corpus, result.epochs, threads=threads, device=device)
            weights, digest = again.weights, again.weights_sha256
        test = evaluate_on_test(settings, weights, corpus, threads, device)
    except Exception as error:  # it must not end the other trainings
        return failure_result(error)
    return {"result": result, "weights": dict(weights), "weights_sha256": digest, "test": test}


def evaluate_on_test(
    config: TrialConfig, weights: Mapping[str, Tensor], corpus: Corpus, threads: int, device: str
) -> Evaluation | None:
    """Evaluate weights on the test split; None if there is none. The caller logs the evaluation."""
    if not len(corpus.indices(TEST)):
        return None
    return evaluate(config, weights, corpus, TEST, threads=threads, device=device)


def metrics_of(result: TrainResult, corpus: Corpus, test: Evaluation | None) -> dict[str, Any]:
    """Return validation figures of the best epoch, and test figures if there are any."""
    return {
        "best_epoch": result.best_epoch,
        **_metric_value("val", result.config.metric, result.best_score),
        "val_accuracy": result.best_val_accuracy,
        "val_loss": result.best_val_loss,
        "val_sentences": len(corpus.validation()),
        **held_out_metrics(result.config.metric, test),
    }


def _metric_value(split: str, metric: str, score: float) -> dict[str, float]:
    """Return the value of the metric by its name, such as `val_macro_f1`; nothing if it is undefined on the split."""
    if math.isnan(score):
        return {}
    return {f"{split}_{metric}": METRICS[metric].oriented(score)}


def held_out_metrics(metric: str, evaluation: Evaluation | None, split: str = "test") -> dict[str, Any]:
    """Return metric, accuracy, loss and number of sentences of a split; nothing without an evaluation."""
    if evaluation is None:
        return {}
    return {
        **_metric_value(split, metric, evaluation.score),
        f"{split}_accuracy": evaluation.accuracy,
        f"{split}_loss": evaluation.loss,
        f"{split}_loss_standard_error": evaluation.loss_standard_error,
        f"{split}_sentences": len(evaluation.predictions),
    }


def fresh_seeds(seed: int, count: int) -> list[int]:
    """Return different seeds other than the study's; they depend only on the study's seed."""
    from tuning.scheduling.samplers import derive_seed  # imports Optuna, which a worker of `confirm` does not need

    drawn = (derive_seed(seed, FRESH, at) for at in range(2 * count + 2))
    return [each for each in dict.fromkeys(drawn) if each != seed][:count]


def device_of(spec: Mapping[str, Any]) -> str:
    """Return the study's device if this machine has it, else the CPU."""
    return str(spec["device"]) if spec["device"] == "cpu" or torch.cuda.is_available() else "cpu"


def split_name(spec: Mapping[str, Any], fingerprint: str) -> str:
    """Return the split rule for the list of test evaluations; `fingerprint` is that of the present data."""
    return str(spec["data"]["split"]) + ("" if fingerprint == spec["fingerprint"] else " of other data")


def task_resources(
    spec: Mapping[str, Any], machine: Machine, workers: int | None, tasks: int
) -> tuple[TrialResources, int]:
    """Return the resources of a task that trains as the study did, and the number of parallel tasks.

    Args:
        spec: Spec of the study.
        machine: Machine on which they run.
        workers: Maximum number from the user; None for no limit.
        tasks: Number of tasks.
    """
    gpus = 1.0 if device_of(spec) == "cuda" else 0.0
    resources = TrialResources(cpus_per_trial=min(spec["threads"], machine.cpus), gpus_per_trial=gpus)
    fits = resources.max_parallel(machine)
    return resources, min(fits, workers or fits, tasks)


def study_corpus(
    spec: Mapping[str, Any],
    places: Mapping[str, str],
    cache_dir: Path | None,
    say: Callable[[str], None],
    **changes: Any,
) -> Corpus:
    """Load the study's data.

    Args:
        spec: Spec of the study.
        places: New paths of `dataset` and `vectors`; others are as in the study.
        cache_dir: Folder of the data cache.
        say: Called with a line before a step that takes long.
        changes: Changes to the study's arguments of load_corpus, such as another split.

    Raises:
        UserError: The data cannot be used, are missing, or were read with an option of a later version.
    """
    try:
        with say_if_slow(READING_DATA, say):
            arguments = {**data_arguments(spec), **places, **changes}
            return load_corpus(**arguments, cache_dir=cache_dir, progress=lambda line: say(in_callers_terms(line)))
    except DataError as error:
        moved = [f"--{name}" for name in missing_files(spec["data"]) if name not in places]
        if not moved:
            raise
        raise DataError(f"{error}; if the study's data were moved, pass {' and '.join(moved)}") from error
