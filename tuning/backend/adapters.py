"""Adapters: a Schedule as Ray Tune's Searcher and TrialScheduler.

Ray asks the searcher for a new trial when a worker is free, and the scheduler after each report whether the trial
continues. For Ray, a paused trial has ended; it continues as a new Ray trial. Ray's own state is neither written nor
read: the journal is the state.
"""

import functools
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from core.errors import UserError
from core.io.system_errors import CANNOT_TRAIN
from core.training.result import EpochResult
from tuning.backend.ray_private import drop_finished_trials, keep_idle_workers
from tuning.journal.probabilities import trial_name
from tuning.scheduling.schedule import DIED, Schedule
from tuning.scheduling.virtual_clock import NoJob

_NOT_LOADED = re.compile("failed to import on the worker|error raised in its creation task")
"""What Ray says of a worker that cannot load the code, such as after an upgrade of the installation."""


def unflatten(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the nested dict that was reported under `name`; Ray delivers each leaf as `name/key/inner key`."""
    found: dict[str, Any] = {}
    prefix = f"{name}/"
    for path, value in result.items():
        if path.startswith(prefix):
            *outer, key = path.removeprefix(prefix).split("/")
            functools.reduce(lambda inner, each: inner.setdefault(each, {}), outer, found)[key] = value
    return found


class RaySearcher(Searcher):  # type: ignore[misc]  # mypy skips Ray: see pyproject.toml
    """Hands the schedule's jobs to Ray, and the ends of Ray's trials to the schedule."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule
        self._running: dict[str, tuple[int, float]] = {}  # Ray's trial id -> our number, seconds since 1970
        self._gpu_failures: dict[str, str] = {}  # Ray's trial id -> error after which its worker ends itself

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the configuration of a new Ray trial, None for later, or FINISHED."""
        job = self.schedule.next_job()
        if isinstance(job, NoJob):
            return None if job is NoJob.WAIT else str(Searcher.FINISHED)
        self._running[trial_id] = job.trial, time.time()
        return {
            "number": job.trial,
            "config": job.config,
            "checkpoint_dir": str(self.schedule.store.checkpoint_dir(trial_name(job.trial))),
            "first": job.first,
            # One text, because Ray copies each value of a configuration twice, and there may be 13,000 numbers.
            "kept": " ".join(map(str, self.schedule.with_checkpoints())),
            "whole_gpu": job.whole_gpu,
        }

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Remember why a worker is about to end itself."""
        if "gpu_failure" in result:
            self._gpu_failures[trial_id] = result["gpu_failure"]

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Report the end of a Ray trial; `error` means that its worker died."""
        number, since = self._running.pop(trial_id)
        segment: dict[str, Any] = {"since": since, "until": time.time()}
        if result and "pid" in result:
            segment["worker"] = f"{result['hostname']}/{result['pid']}"
        ended = unflatten(result or {}, "result")
        if cause := self._gpu_failures.pop(trial_id, None):
            ended = {"error": DIED.format(cause)}  # counts only if its worker is not restarted again
        self.schedule.end(number, ended, segment, worker_died=error)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the journal is the state."""

    restore = save

    def __getstate__(self) -> dict[str, Any]:
        """Return an empty state: Ray pickles its Tuner, which is never loaded."""
        return {}


class RayScheduler(FIFOScheduler):  # type: ignore[misc]  # mypy skips Ray: see pyproject.toml
    """Reports each epoch to the schedule, and ends a Ray trial when its job has ended."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule
        # With GPU fractions, an idle worker would block its fraction for a trial that needs the whole GPU.
        self._keep_workers = not schedule.retry_oom

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Return CONTINUE or STOP after a report."""
        epoch = unflatten(result, "epoch_result")
        if not epoch or unflatten(result, "result"):
            return str(TrialScheduler.CONTINUE)
        number = trial.config["number"]
        predictions, log_odds = unflatten(result, "val_predictions"), result.get("log_odds")
        continues = self.schedule.report(number, EpochResult(**epoch), predictions, log_odds)
        return str(TrialScheduler.CONTINUE if continues else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """End the search if the worker died because it cannot load the code: each other worker would, too."""
        text = Path(trial.error_file).read_text(errors="replace") if trial.error_file else ""
        errors = re.findall(r"^[\w.]+Error: .*", text, re.MULTILINE)
        if errors and _NOT_LOADED.search(text):
            self.schedule.stop.abort(UserError(CANNOT_TRAIN.format(errors[-1])))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:
        """Keep the worker of a trial that has ended, and drop Ray's records of earlier trials."""
        if self._keep_workers:
            self._keep_workers = False  # once is enough
            keep_idle_workers(tune_controller, trial, self.schedule.clock.n_trials)
        drop_finished_trials(tune_controller)

    def __getstate__(self) -> dict[str, Any]:
        """Return an empty state, as the searcher does."""
        return {}
