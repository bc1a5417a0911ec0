"""Code of a worker: calls `core.train` and reports with `ray.tune.report`."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray import tune

from core.config import TrialConfig
from core.data.corpus import Corpus
from core.errors import ConfigError, UserError
from core.io.system_errors import is_out_of_memory, machine_problem, system_problem
from core.io.text import error_summary
from core.log_odds import LogOdds
from core.training.loop import train
from core.training.result import EpochResult
from tuning.journal.predictions import pack_labels
from tuning.journal.probabilities import pack_log_odds
from tuning.resources.gpu import Gpu, claim_gpu, is_cuda_failure, is_gpu_out_of_memory, out_of_memory
from tuning.resources.machine import TrialResources


def run_trial(
    job: Mapping[str, Any], corpus: Corpus, resources: TrialResources, saved: Callable[[], Mapping[str, Any]] = dict
) -> None:
    """Train one trial and report each epoch, then the result.

    A trial that fails reports its error as a result. For Ray, the trial has then ended, so Ray reports only dead
    workers as errors. No setting of the trial causes an error that this function raises (tuning.backend.tuner).

    Args:
        job: `number`, `config` (TrialConfig as a dict), `checkpoint_dir` and `first` (the first epoch that the journal
            lacks), as the searcher returned it.
        corpus: The data in Ray's object store; the arrays are read-only and shared by all workers of the node.
        resources: Threads and device.
        saved: Called after each epoch when its checkpoint is written; its result is reported with the epoch.
    """
    share = resources.gpus_per_trial
    device, gpu = select_device(share)
    packed: dict[str, Any] = {}  # outputs of the epoch that is reported next

    def on_validation(epoch: int, predictions: NDArray[np.integer], log_odds: LogOdds | None) -> None:
        packed["val_predictions"] = pack_labels(predictions)
        packed["log_odds"] = None if log_odds is None else pack_log_odds(log_odds)

    def report(epoch: EpochResult) -> None:
        tune.report({**saved(), "epoch_result": dataclasses.asdict(epoch), **packed})

    try:
        result = train(
            TrialConfig.from_dict(job["config"]),
            corpus,
            report=report,
            on_validation=on_validation,
            checkpoint_dir=Path(job["checkpoint_dir"]),
            threads=resources.cpus_per_trial,
            device=device,
            reported=job["first"] - 1,
        )
    except Exception as error:  # a bad setting must not end the study
        if is_cuda_failure(error):  # so would each later trial of this process
            tune.report({"gpu_failure": error_summary(error)})
            os._exit(1)
        tune.report({"result": failure_result(error, share, gpu)})
        return
    names = ("n_parameters", "weights_sha256", "environment")
    tune.report({"result": {name: getattr(result, name) for name in names}})


def select_device(share: float) -> tuple[str, Gpu | None]:
    """Return this worker's device and its GPU, if it has one; limit the memory of a GPU fraction from now on."""
    if not share:
        return "cpu", None
    variable = "HIP_VISIBLE_DEVICES" if torch.version.hip else "CUDA_VISIBLE_DEVICES"  # the one that Ray sets
    return claim_gpu(share, ray.get_gpu_ids(), os.environ.get(variable), torch.cuda)


def failure_result(error: Exception, share: float = 0, gpu: Gpu | None = None) -> dict[str, Any]:
    """Return the result of a failed trial.

    Args:
        error: The error that ended the trial.
        share: Fraction of the GPU; 0 for none.
        gpu: The GPU that was assigned to the worker.

    Returns:
        `user_error` if the machine failed or the user can fix the problem, such as a full disk, which ends the search.
        Otherwise `error`, also for settings that need too much memory, and `oom` if the fraction of the GPU was too
        small.
    """
    if gpu is not None and is_gpu_out_of_memory(error):
        return {"error": out_of_memory(str(error), share, gpu), "oom": True}
    if isinstance(error, (UserError, OSError, ImportError)):
        of_settings = isinstance(error, ConfigError)
    else:
        of_settings = is_out_of_memory(error) or system_problem(error) is None
    if not of_settings:
        return {"user_error": machine_problem(error)}
    return {"error": f"{type(error).__name__}: {error_summary(error)}"}
