"""search(): train the trials of a study with Ray Tune, as a Schedule decides."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

from core.config import TrialConfig
from core.data.corpus import Corpus
from tuning.backend.adapters import RayScheduler, RaySearcher
from tuning.backend.cluster import Cluster
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.local_ray import local_ray
from tuning.backend.ray_private import skip_callback_telemetry
from tuning.journal.writer import StudyJournal
from tuning.resources.machine import Machine, TrialResources
from tuning.scheduling.budget import EarlyEnd
from tuning.scheduling.callbacks import Callback
from tuning.scheduling.schedule import MAX_RESTARTS, Schedule, common_failure, raise_common_failure
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
    cost: Callable[[TrialConfig], float],
) -> EarlyEnd | None:
    """Run the jobs that the journal lacks.

    Returns when none is left, or after an interruption. Ray is started before and shut down afterwards, unless a
    cluster is joined.

    Args:
        journal: the open journal; every epoch and end is in it before the next decision.
        config: what the study does.
        corpus: the data.
        backend: what trains the trials.
        callbacks: called at each start, epoch, pause and end of a trial.
        interrupt: checked before each job and after each epoch.
        cost: returns the virtual cost of an epoch (tuning.scheduling.virtual_cost).

    Returns:
        The budget that has ended the study, if one has.

    Raises:
        UserError: the first trials all failed with one cause; or the user must fix something, such as a full disk,
            before the search can continue.
    """
    machine = backend.machine
    ray_session = machine.monitored if isinstance(machine, Cluster) else partial(local_ray, machine)
    # Installed twice: Ray sets handlers of its own when it starts, and a signal must not cut its shutdown short.
    with interrupt.installed(), ray_session(interrupt.on_ray_lost) as ray, interrupt.installed():
        new_schedule = partial(Schedule, journal, config, cost, callbacks, interrupt)
        run = partial(_run_trials, new_schedule, journal, ray.put(corpus), interrupt)
        schedule = run(backend)
        while schedule.waits_for_gpu and not (interrupt.requested or common_failure(journal.trials())):
            run(backend.on_whole_gpus(), whole_gpu=True)
            schedule = run(backend)
    if interrupt.reason:
        raise interrupt.reason
    raise_common_failure(journal.trials())
    return interrupt.ended or schedule.early_end


def _run_trials(
    new_schedule: Callable[..., Schedule],
    journal: StudyJournal,
    corpus_ref: Any,
    interrupt: InterruptHandler,
    backend: RayBackend,
    *,
    whole_gpu: bool = False,
) -> Schedule:
    """Run Ray Tune once, until a schedule has no further job for this backend; return the schedule."""
    import ray
    from ray import tune

    skip_callback_telemetry()
    scratch = journal.folder.absolute() / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)  # of a killed driver
    train, resources = backend.train, backend.resources

    def trainable(job: dict[str, Any]) -> None:
        train(job, ray.get(corpus_ref), resources)

    retry_oom = whole_gpu or backend.retries_oom
    schedule = new_schedule(retry_oom=retry_oom, whole_gpu=whole_gpu)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}),
        tune_config=tune.TuneConfig(
            search_alg=RaySearcher(schedule, journal),
            scheduler=RayScheduler(schedule),
            # A trial that continues after a pause, or whose worker died, is another trial to Ray.
            num_samples=schedule.clock.n_trials * (len(schedule.clock.stops) + MAX_RESTARTS),
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
    return schedule
