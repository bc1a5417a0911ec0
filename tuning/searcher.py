"""The ordered searcher: suggestion n sees the outcome of trials 0..n-window, and of no other.

It waits until those are finished; the trials after them are shown to the sampler as running. The sampler is
made anew for each suggestion from (seed, n). So which trials a study has depends on its inputs alone: not on
time, the number of workers, or how often it was killed. Ray's own searcher state is neither written nor read;
the journal is the state.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from core.config import TrialConfig
from core.epoch import EpochResult
from tuning.first_trials import first_trials
from tuning.ledger import Ledger
from tuning.records import TrialRecord
from tuning.spec import SearchPlan

STARTUP_TRIALS = 6
"""TPE draws at random until it knows this many outcomes."""
SAME_FAILURES = 3
"""So many failures from the start with one cause end the study."""


class Listener(Protocol):
    """Who wants to know what happens, such as the progress display."""

    def started(self, number: int, config: TrialConfig) -> None: ...
    def epoch(self, number: int, result: EpochResult) -> None: ...
    def ended(self, record: TrialRecord) -> None: ...


def visible(trials: Sequence[FrozenTrial], number: int, window: int) -> Sequence[FrozenTrial]:
    """The trials whose outcome suggestion `number` may see: 0..number-window."""
    return trials[: max(0, number - window + 1)]


def suggest_params(plan: SearchPlan, number: int, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Parameters of trial `number`: a pure function of the plan, the visible outcomes and the others' parameters.

    Args:
        plan: the study's.
        number: which trial; `trials` holds all before it, in order.
        trials: those in 0..number-window are finished.
    """
    known = visible(trials, number, plan.window)
    seed = int(np.random.SeedSequence((plan.seed, number)).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # `group` is still marked experimental
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(known)
    study.add_trials([_as_running(trial) for trial in trials[len(known) :]])
    return plan.space.suggest(study.ask())


def shared_failure(trials: Sequence[FrozenTrial]) -> str | None:
    """The cause, when the first SAME_FAILURES trials all failed with the same one."""
    first = trials[:SAME_FAILURES]
    causes = {t.user_attrs.get("outcome", {}).get("error") for t in first if t.state == TrialState.FAIL}
    if len(first) == SAME_FAILURES and all(t.state == TrialState.FAIL for t in first) and len(causes) == 1:
        return str(causes.pop())
    return None


class OrderedSearcher(Searcher):  # type: ignore[misc]  # Ray ships no types
    """Hands trials to Ray Tune in order and writes their ends into the journal."""

    def __init__(self, ledger: Ledger, plan: SearchPlan, listener: Listener, halted: Callable[[], bool]) -> None:
        super().__init__()
        self.ledger = ledger
        self.plan = plan
        self.listener = listener
        self.halted = halted
        self.first = first_trials(plan.space)
        self.unfinished = [trial for trial in ledger.trials() if not trial.state.is_finished()]
        self.number: dict[str, int] = {}  # Ray's trial id -> ours

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Ray's question for a new trial: its config, None for later, or FINISHED."""
        trials = self.ledger.trials()
        if self.halted() or shared_failure(trials):
            return str(Searcher.FINISHED)
        if self.unfinished:
            return self._start(trial_id, self.unfinished.pop(0).number)
        number = len(trials)
        if number >= self.plan.n_trials:
            return str(Searcher.FINISHED)
        if not all(trial.state.is_finished() for trial in visible(trials, number, self.plan.window)):
            return None
        return self._start(trial_id, self._new(number, trials))

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Nothing: OrderedStopping has written it down already, and sees also the last one of a stopped trial."""

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Close the trial in the journal; one that was interrupted stays open and runs again."""
        number = self.number.pop(trial_id)
        outcome = unflattened(result or {}, "outcome")
        if outcome:
            state = TrialState.FAIL if "error" in outcome else TrialState.COMPLETE
        elif error:
            state, outcome = TrialState.FAIL, {"error": "its worker died three times (killed, or out of memory)"}
        elif self.halted():
            return
        else:
            state = TrialState.PRUNED
        self.listener.ended(self.ledger.finish(number, state, outcome))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    restore = save

    def __getstate__(self) -> dict[str, Any]:
        """Empty: Ray pickles its Tuner, which nobody ever loads."""
        return {}

    def _new(self, number: int, trials: Sequence[FrozenTrial]) -> int:
        space = self.plan.space
        settings = self.plan.settings
        if number < len(self.first):
            config = TrialConfig.from_dict({**self.first[number], **settings})
            params = space.params_of(config)
            origin = "notebook" if number == 0 else "try_first"
        else:
            params = suggest_params(self.plan, number, trials)
            config = space.config(params, **settings)
            origin = "sampler"
        return self.ledger.add(params, space.distributions(params), config.to_dict(), origin)

    def _start(self, trial_id: str, number: int) -> dict[str, Any]:
        attrs = self.ledger.trials()[number].user_attrs
        self.number[trial_id] = number
        self.listener.started(number, TrialConfig.from_dict(attrs["config"]))
        checkpoint_dir = self.ledger.checkpoint_dir(number)
        return {"number": number, "config": attrs["config"], "checkpoint_dir": str(checkpoint_dir)}


class OrderedStopping(FIFOScheduler):  # type: ignore[misc]  # Ray ships no types
    """Writes each epoch into the journal and stops a trial by the study's rule, or when the study is halted."""

    def __init__(self, ledger: Ledger, plan: SearchPlan, listener: Listener, halted: Callable[[], bool]) -> None:
        super().__init__()
        self.ledger = ledger
        self.plan = plan
        self.listener = listener
        self.halted = halted

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Ray's question after each report: CONTINUE or STOP."""
        report = unflattened(result, "epoch_result")
        if not report or unflattened(result, "outcome"):
            return str(TrialScheduler.CONTINUE)
        number, epoch = trial.config["number"], EpochResult(**report)
        self.ledger.record(number, epoch)
        self.listener.epoch(number, epoch)
        stop = self.halted() or self._is_behind(number, epoch)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def __getstate__(self) -> dict[str, Any]:
        """Empty, as the searcher's."""
        return {}

    def _is_behind(self, number: int, epoch: EpochResult) -> bool:
        if self.plan.halving is None or epoch.epoch not in self.plan.halving.rungs(self.plan.epochs):
            return False
        records = self.ledger.records()
        peers = [record.epochs for record in records[: max(0, number - self.plan.window + 1)]]
        return self.plan.halving.stops(records[number].epochs[: epoch.epoch], peers, self.plan.epochs)


def unflattened(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The dict that was reported under `name`: Ray hands it on as `name/key` entries."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in result.items() if key.startswith(prefix)}


def _as_running(trial: FrozenTrial) -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions)
