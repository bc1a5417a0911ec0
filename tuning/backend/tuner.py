"""run_schedule: train the trials of a study with Ray Tune, as a Schedule decides."""

import dataclasses
import errno
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

from core.data.corpus import Corpus
from core.errors import UserError
from core.io.system_errors import machine_problem
from tuning.backend.adapters import RayScheduler, RaySearcher
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.ray_private import (
    losses_are_deaths,
    without_callback_telemetry,
    without_runtime_environment,
    without_signal_handlers,
)
from tuning.resources.machine import TrialResources
from tuning.scheduling.budget import EarlyEnd
from tuning.scheduling.schedule import MAX_RESTARTS, Schedule

NO_SPACE = (
    "Ray cannot write its temporary files (the disk is full); free some space, or set RAY_TMPDIR to a folder on "
    "another disk, and run the same command again"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RayBackend:
    """Ray, resources and checkpoints for the trials of a study."""

    session: Callable[[], AbstractContextManager[Any]]
    """Context manager that yields module ray once Ray has started."""
    resources: TrialResources
    """Resources of one trial."""
    workers: int
    """Maximum number of parallel trials."""
    train: Callable[[Mapping[str, Any], Corpus, TrialResources], None]
    """Function that a worker calls with a job (tuning.backend.checkpoint_sync)."""


class StorageProblems(TrialProgressCallback):  # type: ignore[misc]  # mypy skips Ray: see pyproject.toml
    """Report once that checkpoints cannot be kept in the storage; the search continues without them.

    It replaces Ray's own progress lines, which are not shown and keep every trial in memory.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self.say = say
        self.reported = False

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Mapping[str, Any], **info: Any) -> None:
        """Report the first problem in a result."""
        problem = result.get("storage_problem")
        if problem and not self.reported:
            self.reported = True
            self.say(f"{problem}; the search continues, and tries again after each epoch")

    def on_trial_complete(self, *_: Any, **info: Any) -> None:
        """Do nothing."""

    on_trial_error = on_trial_complete


def run_schedule(
    schedule: Schedule, corpus: Corpus, backend: RayBackend, interrupt: InterruptHandler
) -> EarlyEnd | None:
    """Run the jobs of a schedule.

    Returns when none is left, or after an interruption.

    Args:
        schedule: The schedule, whose journal contains every epoch and end before the next decision.
        corpus: The data.
        backend: Ray, resources and checkpoints.
        interrupt: The stop signal of the schedule.

    Returns:
        The budget that has ended the study; None otherwise.

    Raises:
        UserError: The first trials all failed with one cause, or there is a problem that the user must fix, such as a
            full disk.
    """
    with backend.session() as ray, interrupt.while_training():
        _run_trials(schedule, ray.put(corpus), backend, interrupt)
    schedule.raise_reason()
    return schedule.early_end if schedule.has_ended_early() else interrupt.ended


def _run_trials(schedule: Schedule, corpus_ref: Any, backend: RayBackend, interrupt: InterruptHandler) -> None:
    import ray
    from ray import tune

    scratch = schedule.store.folder.absolute() / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)  # left by a killed driver

    train, share = backend.train, backend.resources
    whole = dataclasses.replace(share, gpus_per_trial=1.0)

    def booked(job: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        gpus = 1.0 if job["whole_gpu"] else share.gpus_per_trial
        return tune.PlacementGroupFactory([{"CPU": share.cpus_per_trial, "GPU": gpus}])

    def trainable(job: dict[str, Any]) -> None:
        try:
            train(job, ray.get(corpus_ref), whole if job["whole_gpu"] else share)
        except Exception as error:  # no setting causes it, such as a package that cannot be imported
            tune.report({"result": {"user_error": machine_problem(error)}})

    tuner = tune.Tuner(
        tune.with_resources(trainable, booked),
        tune_config=tune.TuneConfig(
            search_alg=RaySearcher(schedule),
            scheduler=RayScheduler(schedule),
            # More than enough: a trial that continues after a pause or the death of its worker is a new Ray trial.
            num_samples=schedule.clock.n_trials * (schedule.config.epochs + 2) * (MAX_RESTARTS + 1),
            max_concurrent_trials=backend.workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(scratch),
            verbose=0,
            progress_reporter=tune.CLIReporter(),  # silent; in a notebook Ray's default would clear the cell
            callbacks=[StorageProblems(interrupt.say)],
            failure_config=tune.FailureConfig(max_failures=0),  # the schedule restarts a trial whose worker died
        ),
    )
    try:
        with (
            losses_are_deaths(),
            without_callback_telemetry(),
            without_runtime_environment(),
            without_signal_handlers(),
        ):
            tuner.fit()
    except Exception as error:
        if not interrupt.reason:  # a full disk makes Ray fail as well
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # Ray's errors name no file
                raise UserError(NO_SPACE) from error
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
