"""Assembles the Tuner: starts Ray, hands it the ordered searcher and the stopping rule, and waits."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

from core.data.corpus import Corpus
from core.errors import UserError
from tuning.backend.adapters import OrderedStopping
from tuning.backend.cluster import Cluster
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.local_ray import local_ray
from tuning.backend.ray_private import skip_callback_telemetry
from tuning.journal.writer import StudyJournal
from tuning.resources.machine import Machine, TrialResources
from tuning.scheduling.callbacks import Callback
from tuning.scheduling.scheduler import MAX_RESTARTS, OOM, OrderedSearcher, common_failure
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.successive_halving import RungTable

Work = Callable[[Mapping[str, Any], Corpus, TrialResources], None]


class StorageProblems(TrialProgressCallback):  # type: ignore[misc]  # Ray ships no types
    """Says once that checkpoints cannot be kept in the storage: the search goes on without.

    It stands in the place of Ray's own progress lines, which nobody sees and which keep every trial in memory.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self.say = say
        self.said = False

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Mapping[str, Any], **info: Any) -> None:
        """Ray tells of a report."""
        problem = result.get("storage_problem")
        if problem and not self.said:
            self.said = True
            self.say(f"{problem}; the search goes on, and tries again after each epoch")

    def on_trial_complete(self, *_: Any, **info: Any) -> None:
        """Nothing to say."""

    on_trial_error = on_trial_complete


def search(
    journal: StudyJournal,
    plan: StudyConfig,
    corpus: Corpus,
    resources: TrialResources,
    machine: Machine | Cluster,
    workers: int,
    listener: Callback,
    interrupt: InterruptHandler,
    work: Work,
) -> None:
    """Run the trials that the journal lacks.

    Returns when all are finished, or after an interruption. Ray is started for it and shut down after it, unless a
    cluster is joined.

    Args:
        ledger: the open journal; every epoch and end is in it before the next decision.
        machine: what Ray may use of this machine, or the cluster that was joined.
        workers: trials at once.
        listener: told of every start, epoch and end.
        interruption: asked before each new trial and after each epoch.
        work: what a worker does with a trial (tuning.backend.checkpoint_sync).

    Raises:
        UserError: the first trials all failed with one cause; or the person must mend something, such as a full disk,
            before the search can go on.
    """
    # Twice: Ray sets handlers of its own when it starts, and what comes while it shuts down must not cut that short.
    place = machine.monitored if isinstance(machine, Cluster) else partial(local_ray, machine)
    with interrupt.installed(), place(interrupt.on_ray_lost) as ray, interrupt.installed():
        fit = partial(_fit, ray.put(corpus), journal, plan, workers, listener, interrupt, work)
        fit(resources)
        while _some_wait_for_a_gpu(journal, resources) and not (
            interrupt.requested or common_failure(journal.trials())
        ):
            fit(dataclasses.replace(resources, gpus_per_trial=1.0), whole_gpu=True)
            fit(resources)
    if interrupt.reason:
        raise interrupt.reason
    if cause := common_failure(journal.trials()):
        raise UserError(f"the first trials all failed with one cause, so the study stopped: {cause}")


def _retries(resources: TrialResources) -> bool:
    """Whether a trial whose share of a GPU is too small runs once more: not where it had all of it."""
    return resources.retry_oom and resources.gpus_per_trial < 1


def _some_wait_for_a_gpu(journal: StudyJournal, resources: TrialResources) -> bool:
    waiting = (trial for trial in journal.trials() if not trial.state.is_finished())
    return _retries(resources) and any(OOM in trial.user_attrs for trial in waiting)


def _fit(
    corpus_ref: Any,
    journal: StudyJournal,
    plan: StudyConfig,
    workers: int,
    listener: Callback,
    interrupt: InterruptHandler,
    work: Work,
    resources: TrialResources,
    *,
    whole_gpu: bool = False,
) -> None:
    import ray
    from ray import tune

    skip_callback_telemetry()

    scratch = journal.folder.absolute() / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)  # a killed driver's

    def trainable(job: dict[str, Any]) -> None:
        work(job, ray.get(corpus_ref), resources)

    retry_oom = whole_gpu or _retries(resources)
    standings = RungTable(plan.stopping, plan.epochs, journal.records())
    searcher = OrderedSearcher(journal, plan, listener, interrupt, standings, retry_oom=retry_oom, whole_gpu=whole_gpu)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=OrderedStopping(journal, plan, listener, interrupt, standings),
            # One that waited, or whose worker died, is another trial to Ray.
            num_samples=plan.n_trials * (1 + len(standings.rungs) + MAX_RESTARTS),
            max_concurrent_trials=workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(scratch),
            verbose=0,
            progress_reporter=tune.CLIReporter(),  # silent; in a notebook Ray's default would clear the cell
            callbacks=[StorageProblems(interrupt.say)],
            failure_config=tune.FailureConfig(max_failures=0),  # the searcher hands a dead worker's trial out again
        ),
    )
    try:
        tuner.fit()
    except Exception:
        if not interrupt.reason:  # Ray stumbles over a full disk as well
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
