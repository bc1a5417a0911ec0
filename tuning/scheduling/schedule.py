"""Schedule: which trial a free worker trains next, and whether a trial continues after an epoch.

The schedule decides and a backend trains, as in Syne Tune. The schedule uses neither Ray, the disk nor the wall clock:
the backend calls it, and the store that it is given keeps every decision. A schedule that is built from the same store
makes the same decisions, so nothing is lost when the process is killed.

Suggestion n uses the results of trials 0..n-window and of no other trial. It waits until these have ended; the sampler
sees later trials as running. The sampler is made again for each suggestion from (seed, n), or replayed from the first
trial on. The trials of a study are therefore a function of its inputs: time, the number of workers and kills make no
difference.

A trial that is paused at a rung gives its worker back and continues later, from its checkpoint, as another job. A
trial whose worker died does the same.
"""

import re
from bisect import insort
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from core.config import TrialConfig
from core.errors import UserError
from core.training.result import EpochResult
from tuning.journal.records import TrialRecord, copied_from
from tuning.scheduling.budget import StopSignal
from tuning.scheduling.callbacks import Callback
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.successive_halving import Decision, RungTable
from tuning.scheduling.suggester import Suggester, is_ready

SAME_FAILURES = 3
"""If the first trials of a study, this many, all fail with one cause, the study ends."""
MAX_RESTARTS = 2
"""A trial or a run whose worker died is started again at most this many times."""
WORKER_DIED = "its worker died three times (killed, or out of memory)"
SEGMENTS = "segments"
"""User attribute of a trial that was paused or lost its worker: its earlier segments (`worker`, `since`, `until`)."""
OOM = "oom"
"""User attribute of a trial that runs again alone on a whole GPU: the error on its share of a GPU."""


class TrialStore(Protocol):
    """The trials of a study. tuning.journal.writer.StudyJournal keeps them on disk."""

    def trials(self) -> list[FrozenTrial]: ...
    def records(self, start: int = 0, end: int | None = None) -> list[TrialRecord]: ...
    def add_trial(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        config: Mapping[str, Any],
        origin: str,
    ) -> int: ...
    def record_epoch(
        self, number: int, epoch: EpochResult, val_predictions: Mapping[str, Any] | None = None
    ) -> None: ...
    def finish_trial(self, number: int, state: TrialState, result: Mapping[str, Any]) -> TrialRecord: ...
    def copy_result(self, source: int, number: int) -> TrialRecord: ...
    def set_trial_attr(self, number: int, name: str, value: Any) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a free worker does next: train epochs `first`..`last` of a trial, unless a report ends the job earlier."""

    trial: int
    config: Mapping[str, Any]
    """TrialConfig as a dict."""
    first: int
    last: int


class NoJob(Enum):
    """Why a free worker gets no job."""

    WAIT = "wait"
    """Ask again after the next report or end."""
    DONE = "done"
    """No job follows."""


class Schedule:
    """The ordered schedule of one study under successive halving."""

    def __init__(
        self,
        store: TrialStore,
        config: StudyConfig,
        callbacks: Callback,
        stop: StopSignal,
        *,
        retry_oom: bool = False,
        whole_gpu: bool = False,
    ) -> None:
        """Continue from the trials in the store.

        Args:
            store: the study's trials; it holds every decision before the next one is made.
            config: what is searched.
            callbacks: called at each start, epoch, pause and end of a trial.
            stop: checked before each job and after each epoch.
            retry_oom: a trial that runs out of memory on its share of a GPU stays open with the attribute OOM. Another
                schedule, with `whole_gpu`, runs it again; suggestions that may see it wait. Its result therefore
                depends neither on the share nor on when it ran.
            whole_gpu: hand out the trials with the attribute OOM and no others.
        """
        self.store = store
        self.config = config
        self.callbacks = callbacks
        self.stop = stop
        self.retry_oom, self.whole_gpu = retry_oom, whole_gpu
        self.rungs = RungTable(config.stopping, config.epochs, store.records())
        self._suggester = Suggester(config)
        open_trials = [trial for trial in store.trials() if not trial.state.is_finished()]
        self._copies = {
            t.number: source for t in open_trials if (source := copied_from(t.user_attrs["origin"])) is not None
        }
        self._oom_trials = {trial.number for trial in open_trials if retry_oom and OOM in trial.user_attrs}
        self._queue: list[int] = []  # trials to hand out, by number
        self._paused: dict[int, list[int]] = {rung: [] for rung in self.rungs.rungs}  # rung -> trials, by number
        self._running: set[int] = set()
        self._deaths: Counter[int] = Counter()  # of workers, by trial; each command starts at zero
        for trial in open_trials:
            if trial.number not in self._copies and (trial.number in self._oom_trials) == whole_gpu:
                self._requeue(trial.number)
        self._close_duplicates()

    def next_job(self) -> Job | NoJob:
        """Return the job of a free worker. A store that cannot be written sets the stop signal."""
        try:
            return self._next()
        except UserError as error:
            self.stop.abort(error)
            return NoJob.DONE

    def report(self, trial: int, epoch: EpochResult, val_predictions: Mapping[str, Any] | None = None) -> Decision:
        """Record an epoch and return whether the trial continues, pauses or stops after it.

        Args:
            trial: its number.
            epoch: its next epoch, or one that was reported before it was resumed.
            val_predictions: packed (tuning.journal.predictions), if the epoch is the trial's best so far.
        """
        try:
            self.store.record_epoch(trial, epoch, val_predictions)
        except UserError as error:
            self.stop.abort(error)
            return Decision.STOP
        self.callbacks.on_epoch_end(trial, epoch)
        if self.stop.requested:
            return Decision.STOP
        if epoch.epoch == self.config.epochs or epoch.epoch not in self.rungs.rungs:
            return Decision.CONTINUE
        self.rungs.update(*self.store.records(trial, trial + 1))
        return self.rungs.decide(trial, epoch.epoch)

    def end(
        self, trial: int, result: Mapping[str, Any], segment: Mapping[str, Any], *, worker_died: bool = False
    ) -> None:
        """Close a trial whose job has ended; one that was interrupted stays open and runs again.

        Args:
            trial: its number.
            result: what the worker returned: empty if the schedule ended the job, `error` (and `oom`) if the trial
                failed, `user_error` if the user must fix something first.
            segment: `since` and `until`, in seconds since 1970, and `worker` if it is known.
            worker_died: the worker died before it returned anything.
        """
        self._running.discard(trial)
        self._deaths[trial] += worker_died
        try:
            self._close(trial, dict(result), dict(segment), worker_died)
        except UserError as error:
            self.stop.abort(error)

    def unfinished(self) -> list[int]:
        """Return the numbers of all trials that have not ended."""
        return [trial.number for trial in self.store.trials() if not trial.state.is_finished()]

    def _next(self) -> Job | NoJob:
        while True:
            self._resolve_paused()
            trials = self.store.trials()
            if self._should_stop() or common_failure(trials):
                return NoJob.DONE
            if self._queue:
                return self._start(self._queue.pop(0))
            if self.whole_gpu or len(trials) >= self.config.n_trials or not is_ready(self.config, trials):
                # A running trial may still be paused and handed out again. If none is running, what is left waits for
                # a trial with the attribute OOM, or for nothing.
                return NoJob.WAIT if self._running else NoJob.DONE
            number = self._add(trials)
            if number not in self._copies:
                return self._start(number)
            self._close_duplicates()

    def _start(self, number: int) -> Job:
        config = self.store.trials()[number].user_attrs["config"]
        (record,) = self.store.records(number, number + 1)
        self._running.add(number)
        self.callbacks.on_trial_start(number, TrialConfig.from_dict(config))
        return Job(trial=number, config=config, first=len(record.epochs) + 1, last=self.config.epochs)

    def _add(self, trials: Sequence[FrozenTrial]) -> int:
        suggestion = self._suggester.suggest(trials)
        params = suggestion.params
        distributions = self.config.space.distributions(params)
        number = self.store.add_trial(params, distributions, suggestion.config.to_dict(), suggestion.origin)
        self.rungs.update(*self.store.records(number, number + 1))
        source = copied_from(suggestion.origin)
        if source is not None:
            self._copies[number] = source
        return number

    def _close(self, trial: int, result: dict[str, Any], segment: dict[str, Any], worker_died: bool) -> None:
        if "user_error" in result:
            raise UserError(result["user_error"])
        if result.pop("oom", False) and self.retry_oom and not self.whole_gpu:
            self.store.set_trial_attr(trial, OOM, result["error"])
            self._oom_trials.add(trial)
            return
        until = segment.pop("until")
        if result:
            state = TrialState.FAIL if "error" in result else TrialState.COMPLETE
        elif self.stop.requested:
            return
        elif self._deaths[trial] > MAX_RESTARTS:
            state, result = TrialState.FAIL, {"error": WORKER_DIED}
        elif worker_died or self._decide(trial) not in (Decision.STOP, None):
            earlier = self.store.trials()[trial].user_attrs.get(SEGMENTS, [])
            self.store.set_trial_attr(trial, SEGMENTS, [*earlier, segment | {"until": until}])
            self._requeue(trial)
            self.callbacks.on_trial_pause(trial)
            return
        else:
            state = TrialState.PRUNED
        self._finish(trial, state, result | segment)

    def _finish(self, trial: int, state: TrialState, result: Mapping[str, Any]) -> None:
        self._on_end(self.store.finish_trial(trial, state, result))
        self._close_duplicates()
        self._should_stop()

    def _on_end(self, record: TrialRecord) -> None:
        self.rungs.update(record)
        self.callbacks.on_trial_end(record)

    def _decide(self, trial: int) -> Decision | None:
        """Return the decision on a trial at a rung, None elsewhere."""
        (record,) = self.store.records(trial, trial + 1)
        done = len(record.epochs)
        return self.rungs.decide(trial, done) if done in self.rungs.rungs else None

    def _requeue(self, trial: int) -> None:
        """Put back an open trial that no worker has: it is paused at a rung, or to be handed out."""
        (record,) = self.store.records(trial, trial + 1)
        insort(self._paused.get(len(record.epochs), self._queue), trial)

    def _resolve_paused(self) -> None:
        """Stop the paused trials that are behind, and hand out those that continue."""
        if self.stop.requested:
            return
        # From the first rung on: no trial waits at the next rung for one that was stopped here. By number within a
        # rung: a trial waits for all trials that a lower one waits for.
        for rung, trials in self._paused.items():
            while trials and (decision := self.rungs.decide(trials[0], rung)) != Decision.PAUSE:
                trial = trials.pop(0)
                if decision == Decision.STOP:
                    self._finish(trial, TrialState.PRUNED, {})
                else:
                    insort(self._queue, trial)

    def _close_duplicates(self) -> None:
        """Close the trials that repeat one which has ended by now: training them again would give the same result."""
        for number, source in sorted(self._copies.items()):
            if self.store.trials()[source].state.is_finished():
                del self._copies[number]
                self._on_end(self.store.copy_result(source, number))

    def _should_stop(self) -> bool:
        """Return whether no further job follows. A budget that is met also ends the running trials."""
        budget = self.config.budget
        if budget.depends_on_results and (early_end := budget.check(self.store.records())):
            self.stop.end_study(early_end)
        return self.stop.requested


def common_failure(trials: Sequence[FrozenTrial]) -> str | None:
    """Return the cause if the first SAME_FAILURES trials all failed with the same one, else None."""
    first = trials[:SAME_FAILURES]
    if len(first) < SAME_FAILURES or any(trial.state != TrialState.FAIL for trial in first):
        return None
    causes = [str(trial.user_attrs["result"]["error"]) for trial in first]
    alike = {re.sub(r"[\d.]+(e[+-]?\d+)?", "0", cause) for cause in causes}  # the number of a trial, a step, a setting
    return causes[0] if len(alike) == 1 else None
