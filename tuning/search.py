"""Assembles the Tuner: starts Ray, hands it the ordered searcher and the stopping rule, and waits."""

import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from core.corpus import Corpus
from core.errors import UserError
from tuning.ledger import Ledger
from tuning.resources import Machine, Shares
from tuning.scheduler import make_scheduler
from tuning.searcher import Listener, OrderedSearcher, shared_failure
from tuning.spec import SearchPlan
from tuning.trial import run_trial

RESTARTS = 2
"""How often a trial whose worker died is started again."""


@dataclass
class Interruption:
    """Ctrl-C or SIGTERM: the first asks to stop after the running epochs, the second stops at once."""

    say: Callable[[str], None]
    requested: bool = False

    def __call__(self) -> bool:
        """Whether the search is to end."""
        return self.requested

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the two signals while the block runs."""
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self.say("stopping: running trials end their epoch and keep their checkpoints; once more to stop at once")


def search(
    ledger: Ledger,
    plan: SearchPlan,
    corpus: Corpus,
    shares: Shares,
    machine: Machine,
    workers: int,
    listener: Listener,
    interruption: Interruption,
) -> None:
    """Run the trials that the journal lacks.

    Returns when all are finished, or after an interruption. Ray is started for it and shut down after it.

    Args:
        ledger: the open journal; every epoch and end is in it before the next decision.
        workers: trials at once.
        listener: told of every start, epoch and end.
        interruption: asked before each new trial and after each epoch.

    Raises:
        UserError: the first trials all failed with one cause.
    """
    with _ray(machine) as ray, interruption.listening():
        _fit(ray.put(corpus), ledger, plan, shares, workers, listener, interruption)
    if cause := shared_failure(ledger.trials()):
        raise UserError(f"the first trials all failed with one cause, so the study stopped: {cause}")


def _fit(
    corpus_ref: Any,
    ledger: Ledger,
    plan: SearchPlan,
    shares: Shares,
    workers: int,
    listener: Listener,
    interruption: Interruption,
) -> None:
    import ray
    from ray import tune

    def trainable(job: dict[str, Any]) -> None:
        run_trial(job, ray.get(corpus_ref), shares)

    scratch = ledger.folder.absolute() / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)  # a killed driver's
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": shares.cpus_per_trial, "gpu": shares.gpus_per_trial}),
        tune_config=tune.TuneConfig(
            search_alg=OrderedSearcher(ledger, plan, listener, interruption),
            scheduler=make_scheduler(ledger, plan, listener, interruption),
            num_samples=plan.n_trials,
            max_concurrent_trials=workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(scratch),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _ray(machine: Machine) -> Iterator[Any]:
    """A Ray of our own on this machine, quiet and gone afterwards."""
    os.environ.update(QUIET_RAY)
    import ray

    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    ray.init(
        address="local",
        num_cpus=machine.cpus,
        num_gpus=machine.gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=True,
    )
    try:
        yield ray
    finally:
        ray.shutdown()


QUIET_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_AUTH_MODE": "disabled",  # no token written into the home folder
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Interruption handles it
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "600",  # a reused worker waits for its last trial's thread, not 2 s
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Ray's snapshots are never read
}
