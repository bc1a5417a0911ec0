"""What a worker runs: `core.train` on one side, `ray.tune.report` on the other."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import tune

from core.config import TrialConfig
from core.corpus import Corpus
from core.epoch import EpochResult
from core.errors import ConfigError, UserError
from core.train import train
from tuning.predictions import pack
from tuning.resources import Shares


def run_trial(
    job: Mapping[str, Any], corpus: Corpus, shares: Shares, saved: Callable[[], Mapping[str, Any]] = dict
) -> None:
    """Train one trial and report each epoch, then what it came to.

    A trial that fails reports its error as an outcome: to Ray it is a trial that ended, so that only a
    worker that died is started again (from the trial's last checkpoint). What the person can mend, such as a full
    disk, is reported as such: it ends the search and not the trial.

    Args:
        job: `number`, `config` (TrialConfig as a dict) and `checkpoint_dir`, as the searcher gave it.
        corpus: from Ray's object store; its arrays are read-only and shared by all workers of the node.
        shares: threads and device.
        saved: called after each epoch when its checkpoint is written; what it returns is reported with the epoch.
    """
    reporter = _Reporter(saved)
    try:
        if shares.gpus_per_trial:
            cap_gpu_memory(shares.gpus_per_trial)
        result = train(
            TrialConfig.from_dict(job["config"]),
            corpus,
            report=reporter.epoch,
            on_best=reporter.best,
            checkpoint_dir=Path(job["checkpoint_dir"]),
            threads=shares.cpus_per_trial,
            device=shares.device,
        )
    except Exception as error:  # a bad setting must not end the study
        # A full disk fails every trial, and none of them for its settings.
        mend = isinstance(error, UserError) and not isinstance(error, ConfigError)
        tune.report({"outcome": {"mend": str(error)} if mend else {"error": one_line(error)}})
        return
    tune.report(
        {
            "outcome": {
                "n_parameters": result.n_parameters,
                "weights_sha256": result.weights_sha256,
                "stopped": result.stopped,
                "environment": dict(result.environment),
            }
        }
    )


class _Reporter:
    """Tells Ray each epoch; with one that is the best so far, what it said about the validation split."""

    def __init__(self, saved: Callable[[], Mapping[str, Any]]) -> None:
        self.saved = saved
        self.predictions: dict[str, Any] = {}

    def best(self, predictions: NDArray[np.int64]) -> None:
        """Of the epoch that comes next."""
        self.predictions = pack(predictions)

    def epoch(self, epoch: EpochResult) -> None:
        """An epoch is over."""
        more = self.saved()
        tune.report({"epoch_result": dataclasses.asdict(epoch), "val_predictions": self.predictions, **more})
        self.predictions = {}


def cap_gpu_memory(share: float) -> None:
    """Hold this process to its share of the GPU's memory: Ray books a fraction but enforces nothing."""
    import torch

    torch.cuda.set_per_process_memory_fraction(min(share, 1.0))


def one_line(error: BaseException) -> str:
    """An error's type and message without line breaks, at most 300 characters."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 300 else f"{text[:297]}..."
