"""search(): train the trials of a study with Ray Tune, as a Schedule decides."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

from core.data.corpus import Corpus
from core.errors import UserError
from tuning.backend.adapters import RayScheduler, RaySearcher
from tuning.backend.cluster import Cluster
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.local_ray import local_ray
from tuning.backend.ray_private import skip_callback_telemetry
from tuning.journal.writer import StudyJournal
from tuning.resources.machine import Machine, TrialResources
from tuning.scheduling.callbacks import Callback
from tuning.scheduling.schedule import MAX_RESTARTS, OOM, Schedule, common_failure
from tuning.scheduling.study import StudyConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class RayBackend:
    """What trains the trials of a study."""

    machine: Machine | Cluster
    """What Ray may use of this machine, or the cluster that was joined."""
    resources: TrialResources
    """Of a trial."""
    workers: int
    """Trials at once, at most."""
    train: Callable[[Mapping[str, Any], Corpus, TrialResources], None]
    """What a worker does with a job (tuning.backend.checkpoint_sync)."""

    @property
    def retries_oom(self) -> bool:
        """Whether a trial whose share of a GPU is too small runs again: not if it had a whole GPU."""
        return self.resources.retry_oom and self.resources.gpus_per_trial < 1

    def on_whole_gpus(self) -> "RayBackend":
        """Return the same backend with a whole GPU per trial."""
        return dataclasses.replace(self, resources=dataclasses.replace(self.resources, gpus_per_trial=1.0))


class StorageProblems(TrialProgressCallback):  # type: ignore[misc]  # Ray ships no types
    """Report once that checkpoints cannot be kept in the storage; the search continues without them.

    It replaces Ray's own progress lines, which are not shown and keep every trial in memory.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self.say = say
        self.reported = False

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Mapping[str, Any], **info: Any) -> None:
        """Look for a problem in a report."""
        problem = result.get("storage_problem")
        if problem and not self.reported:
            self.reported = True
            self.say(f"{problem}; the search continues and tries again after each epoch")

    def on_trial_complete(self, *_: Any, **info: Any) -> None:
        """Do nothing."""

    on_trial_error = on_trial_complete


def search(
    journal: StudyJournal,
    config: StudyConfig,
    corpus: Corpus,
    backend: RayBackend,
    callbacks: Callback,
    interrupt: InterruptHandler,
) -> None:
    """Run the trials that the journal lacks.

    Returns when all have ended, or after an interruption. Ray is started before and shut down afterwards, unless a
    cluster is joined.

    Args:
        journal: the open journal; every epoch and end is in it before the next decision.
        config: what the study does.
        corpus: the data.
        backend: what trains the trials.
        callbacks: called at each start, epoch, pause and end of a trial.
        interrupt: checked before each new trial and after each epoch.

    Raises:
        UserError: the first trials all failed with one cause; or the user must fix something, such as a full disk,
            before the search can continue.
    """
    machine = backend.machine
    ray_session = machine.monitored if isinstance(machine, Cluster) else partial(local_ray, machine)
    # Installed twice: Ray sets handlers of its own when it starts, and a signal must not cut its shutdown short.
    with interrupt.installed(), ray_session(interrupt.on_ray_lost) as ray, interrupt.installed():
        run = partial(_run_trials, journal, config, callbacks, interrupt, ray.put(corpus))
        run(backend)
        while _oom_trials_wait(journal, backend) and not (interrupt.requested or common_failure(journal.trials())):
            run(backend.on_whole_gpus(), whole_gpu=True)
            run(backend)
    if interrupt.reason:
        raise interrupt.reason
    if cause := common_failure(journal.trials()):
        raise UserError(f"the first trials all failed with one cause, so the study stopped: {cause}")


def _oom_trials_wait(journal: StudyJournal, backend: RayBackend) -> bool:
    waiting = (trial for trial in journal.trials() if not trial.state.is_finished())
    return backend.retries_oom and any(OOM in trial.user_attrs for trial in waiting)


def _run_trials(
    journal: StudyJournal,
    config: StudyConfig,
    callbacks: Callback,
    interrupt: InterruptHandler,
    corpus_ref: Any,
    backend: RayBackend,
    *,
    whole_gpu: bool = False,
) -> None:
    """Run Ray Tune once, until the schedule has no further job for this backend."""
    import ray
    from ray import tune

    skip_callback_telemetry()
    scratch = journal.folder.absolute() / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)  # of a killed driver
    train, resources = backend.train, backend.resources

    def trainable(job: dict[str, Any]) -> None:
        train(job, ray.get(corpus_ref), resources)

    retry_oom = whole_gpu or backend.retries_oom
    schedule = Schedule(journal, config, callbacks, interrupt, retry_oom=retry_oom, whole_gpu=whole_gpu)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}),
        tune_config=tune.TuneConfig(
            search_alg=RaySearcher(schedule, journal),
            scheduler=RayScheduler(schedule),
            # A trial that was paused, or whose worker died, is another trial to Ray.
            num_samples=config.n_trials * (1 + len(schedule.rungs.rungs) + MAX_RESTARTS),
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
            failure_config=tune.FailureConfig(
                max_failures=0
            ),  # the schedule hands out the trial of a dead worker again
        ),
    )
    try:
        tuner.fit()
    except Exception:
        if not interrupt.reason:  # a full disk makes Ray fail as well
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
