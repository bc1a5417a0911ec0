"""Training a trial's settings once more: resumable, with what came of it in figures."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.config import TrialConfig
from core.data.corpus import TEST, VAL, Corpus
from core.data.load import load_corpus
from core.errors import DataError, StopTraining
from core.nn.environment import runtime_environment
from core.training.evaluate import Evaluation, evaluate
from core.training.loop import train
from core.training.result import EpochResult, TrainResult


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
    """Train, or go on where a killed process was.

    Args:
        config: the settings.
        corpus: the data.
        threads: CPU threads.
        device: as torch names it.
        checkpoints: a folder for this training alone; under another environment it begins anew beside the old one.
        last: the epoch to end after; None for all of the config's.
        say: told each epoch.

    Raises:
        TrainingError: the loss is no longer a number.
        UserError: a checkpoint cannot be written.
    """

    def report(epoch: EpochResult) -> None:
        say(epoch)
        if epoch.epoch == last:
            raise StopTraining

    # Never one training under two environments: what is compared must have been trained under one.
    identity = [config.to_dict(), corpus.fingerprint, runtime_environment(config.precision, threads, device)]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    folder = checkpoints / digest[:16]
    return train(config, corpus, report=report, checkpoint_dir=folder, threads=threads, device=device)


def remove_trial_checkpoints(checkpoints: Path) -> None:
    """Remove a training's checkpoints: it is over and written down."""
    shutil.rmtree(checkpoints, ignore_errors=True)


def evaluate_on_test(result: TrainResult, corpus: Corpus, threads: int, device: str) -> Evaluation | None:
    """Judge the best epoch's weights on the test split; None where the corpus has none. Count the reading."""
    if not len(corpus.indices(TEST)):
        return None
    return evaluate(result.config, result.weights, corpus, TEST, threads=threads, device=device)


def metrics_of(result: TrainResult, corpus: Corpus, test: Evaluation | None) -> dict[str, Any]:
    """Validation figures of the best epoch, and test figures where the test split was read."""
    figures: dict[str, Any] = {
        "best_epoch": result.best_epoch,
        "val_accuracy": result.best_val_accuracy,
        "val_loss": result.best_val_loss,
        "val_sentences": len(corpus.indices(VAL)),
    }
    return figures | held_out_metrics(test)


def held_out_metrics(test: Evaluation | None) -> dict[str, Any]:
    """Accuracy, loss and number of sentences; nothing where there is no test split."""
    if test is None:
        return {}
    return {
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "test_loss_standard_error": test.loss_standard_error,
        "test_sentences": len(test.predictions),
    }


def device_of(spec: Mapping[str, Any]) -> str:
    """The study's device where this machine has it, else the CPU."""
    import torch

    return str(spec["device"]) if spec["device"] == "cpu" or torch.cuda.is_available() else "cpu"


def study_corpus(
    spec: Mapping[str, Any],
    dataset: str | None,
    vectors: str | None,
    cache_dir: Path | None,
    say: Callable[[str], None],
    **changes: Any,
) -> Corpus:
    """The study's data.

    Args:
        spec: the study's.
        dataset, vectors: where they are now; None for where the study had them.
        cache_dir: of the data cache.
        say: told what takes long.
        changes: to the study's arguments of load_corpus, such as another split.

    Raises:
        DataError: they cannot be used, or are no more where they were.
    """
    places = {name: place for name, place in (("dataset", dataset), ("vectors", vectors)) if place is not None}
    try:
        return load_corpus(**{**spec["data"], **places, **changes}, cache_dir=cache_dir, progress=say)
    except DataError as error:
        if places:
            raise
        raise DataError(
            f"{error}; if the study's data are in another place now, pass --dataset or --vectors"
        ) from error
