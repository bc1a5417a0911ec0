"""Schedule: which trial a free worker trains next.

The schedule decides and a backend trains, as in Syne Tune. The schedule uses neither Ray, the disk nor the wall clock:
the backend calls it, and its store records every result. The virtual clock (virtual_clock.py) defines the order of the
decisions; the schedule adds:

- the sampler: a new trial is suggested from the results that are visible at its virtual time, and is in the store
  before its job is handed out;
- resuming: a schedule that is built from the same store makes the same decisions again, and hands out only jobs that
  lack results. Nothing is lost when the process is killed;
- a trial whose worker died runs again, from its checkpoint, and one too large for its share of a GPU on a whole one;
- a trial that repeats an earlier one is not trained and takes its result;
- at the end of the study, trials that are still paused are closed as stopped (PRUNED).

Interruptions and time budgets stop the work and never change a decision. A target or a patience ends the study at a
virtual time: no decision follows, and the jobs that were decided before are trained to their end.
"""

import re
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from core.config import TrialConfig
from core.errors import UserError
from core.training.result import EpochResult
from tuning.journal.predictions import Packed, copied_from
from tuning.journal.records import SEGMENTS, TrialRecord, recorded_epochs
from tuning.scheduling.asha import FAILED
from tuning.scheduling.budget import BudgetCheck, EarlyEnd, StopSignal
from tuning.scheduling.study_config import StudyConfig
from tuning.scheduling.suggester import Suggester
from tuning.scheduling.virtual_clock import NoJob, VirtualJob, VisibleResult

if TYPE_CHECKING:
    from tuning.journal.writer import StudyJournal

SAME_FAILURES = 3
"""Number of first trials; if all of them fail with one cause, the study ends."""
MAX_RESTARTS = 2
"""Maximum number of restarts after a worker's death: of a task, or of a trial without a new epoch in between."""
DIED = "its worker died three times ({})"
WORKER_DIED = DIED.format("killed, or out of memory")
KEPT_PAUSED = 4
"""Number of best paused trials per rung and virtual worker that keep their checkpoints. Another trial that is promoted
is trained again from its first epoch, with the same results."""
OOM = "oom"
"""User attribute of a trial that runs again alone on a whole GPU: the error on its share of a GPU."""
GOAL = "goal"
"""User attribute of the study: number of trials, target and patience of the latest command."""


class Callback:
    """Base class of callbacks of the schedule, such as the progress display. Each method does nothing."""

    def on_trial_start(self, number: int, config: TrialConfig) -> None:
        """Called when a trial starts or continues."""

    def on_epoch_end(self, number: int, result: EpochResult) -> None:
        """Called when an epoch of a trial is in the journal."""

    def on_trial_pause(self, number: int) -> None:
        """Called when a trial is paused at a rung or has lost its worker; no worker trains it until it starts again."""

    def on_trial_end(self, record: TrialRecord) -> None:
        """Called when a trial has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """The next work of a free worker: train epochs `first`..`last` of a trial."""

    trial: int
    config: Mapping[str, Any]
    """TrialConfig as a dict."""
    first: int
    last: int
    whole_gpu: bool
    """Whether it gets a whole GPU because a fraction was too small."""


class Schedule:
    """The schedule of one study."""

    def __init__(
        self,
        store: "StudyJournal",
        config: StudyConfig,
        cost: Callable[[TrialConfig], float],
        callbacks: list[Callback],
        stop: StopSignal,
        *,
        retry_oom: bool = False,
    ) -> None:
        """Continue from the trials in the store.

        Args:
            store: The study's trials, with every result before the next decision.
            config: Configuration of the study.
            cost: Called with a configuration; returns the virtual cost of an epoch (tuning.scheduling.virtual_cost).
            callbacks: Called at every start, epoch, pause and end of a trial; more may be added.
            stop: Stop signal, which is checked before each job and after each epoch.
            retry_oom: Whether a trial that runs out of memory on its fraction of a GPU runs again on a whole one. Its
                result therefore does not depend on the fraction.
        """
        self.store = store
        self.config = config
        self.cost = cost
        self.callbacks = callbacks
        self.stop = stop
        self.retry_oom = retry_oom
        self.early_end: EarlyEnd | None = None
        """The target or patience that has ended the study."""
        self._suggester = Suggester(config)
        self._budget = BudgetCheck(config.budget)
        self._n_stored = len(store.trials())  # trials in the store
        self.clock = config.clock(
            n_trials=max(config.n_trials, self._n_stored),
            start=self._start_trial,
            score=self._score,
            ended=self._has_ended,
        )
        self._scores: defaultdict[int, list[float]] = defaultdict(list)  # best score after each epoch, by trial
        self._results: dict[int, Mapping[str, Any]] = {}  # result of the worker, by trial
        self._last: dict[int, int] = {}  # last epoch that the clock has decided, by trial
        self._queue: list[int] = []  # trials whose job has no worker
        self._running: set[int] = set()
        self._paused: defaultdict[int, list[tuple[float, int]]] = defaultdict(list)
        """Epoch -> -score and trial of the paused trials that keep their checkpoints, best first."""
        self._copies: defaultdict[int, list[int]] = defaultdict(list)  # trial -> open trials that repeat it
        self._deaths: Counter[int] = Counter()  # of workers since the last new epoch, by trial; 0 at the start
        for trial in store.trials():
            epochs = recorded_epochs(trial)
            self._scores[trial.number] = list(accumulate((epoch.score for epoch in epochs), max))
            if "result" in trial.user_attrs:
                self._results[trial.number] = trial.user_attrs["result"]

    def next_job(self) -> Job | NoJob:
        """Return the job of a free worker. If the store cannot be written, set the stop signal."""
        try:
            trial = self._decide()
            return trial if isinstance(trial, NoJob) else self._hand_out(trial)
        except UserError as error:
            self.stop.abort(error)
            return NoJob.DONE

    def has_job(self) -> bool:
        """Return whether a job is left, without starting it.

        Raises:
            UserError: The store cannot be written, or the first trials all failed with one cause.
        """
        trial = self._decide()
        self.raise_reason()
        if isinstance(trial, NoJob):
            return False
        self._queue.insert(0, trial)
        return True

    def has_ended_early(self) -> bool:
        """Return whether a target or a patience has ended the study, and none of its trials is left."""
        if self.early_end is None:
            return False
        return all(trial.state.is_finished() for trial in self.store.trials()[: self.early_end.n_trials])

    def raise_reason(self) -> None:
        """Raise UserError for a problem that the user must fix, or if the first trials all failed with one cause."""
        if self.stop.reason is not None:
            raise self.stop.reason
        if cause := self._common_failure():
            raise UserError(
                f"the first {SAME_FAILURES} trials all failed with one cause, so the study stopped ({cause}); fix the "
                "cause, and choose another --name, because this study keeps the failures"
            )

    def report(
        self, trial: int, epoch: EpochResult, val_predictions: Packed | None = None, log_odds: str | None = None
    ) -> bool:
        """Record an epoch; return whether the job continues.

        Args:
            trial: Number of the trial.
            epoch: Its next epoch, or one that was already reported before a resume.
            val_predictions: Packed predictions (tuning.journal.predictions).
            log_odds: Packed log-odds (tuning.journal.probabilities), if the epoch is the trial's best so far.
        """
        try:
            self.store.record_epoch(trial, epoch, val_predictions, log_odds)
            scores = self._scores[trial]
            if epoch.epoch == len(scores) + 1:
                scores.append(max([*scores[-1:], epoch.score]))
                del self._deaths[trial]  # the trial is not their cause
            self._notify("on_epoch_end", trial, epoch)
        except UserError as error:
            self.stop.abort(error)
            return False
        if epoch.epoch == self.config.epochs:  # a trial then returns its result, also if the search stops
            return True
        return not self.stop.requested and epoch.epoch < self._last[trial]

    def end(
        self, trial: int, result: Mapping[str, Any], segment: Mapping[str, Any], *, worker_died: bool = False
    ) -> None:
        """Record that a worker has ended its job. A trial that was interrupted stays open and runs again.

        Args:
            trial: Number of the trial.
            result: Result of the worker: empty if the job ended before the trial, `error` (and `oom`) if the trial
                failed, `user_error` for a problem that the user must fix. If the worker died, `error` if the cause is
                known.
            segment: `since` and `until`, in seconds since 1970, and `worker` if it is known.
            worker_died: Whether the worker died before it returned a result.
        """
        self._running.discard(trial)
        self._deaths[trial] += worker_died
        try:
            self._close(trial, dict(result), dict(segment), worker_died)
        except UserError as error:
            self.stop.abort(error)

    def with_checkpoints(self) -> list[int]:
        """Return the numbers of the trials whose checkpoints are kept: running, or paused and likely to continue."""
        paused = (trial for trials in self._paused.values() for _, trial in trials)
        return sorted({*self._running, *self._queue, *paused})

    def _decide(self) -> int | NoJob:
        """Return the number of the next trial that a worker must train."""
        while not (self.stop.requested or self._common_failure()):
            if self._queue:
                return self._queue.pop(0)
            job = self.clock.next_job()
            if isinstance(job, NoJob):
                if self.stop.requested:  # paused trials stay open
                    break
                if self._running:
                    return NoJob.WAIT
                for trial in self._last:  # trials that are still paused
                    self._finish(trial, None)
                break
            if self._record_decision(job):
                return job.trial
        return NoJob.DONE

    def _record_decision(self, job: VirtualJob) -> bool:
        """Record a decision of the clock; return whether a worker must train it now."""
        trial = job.trial
        self._last[trial] = job.last
        for trials in self._paused.values():  # it is no longer paused
            trials[:] = [pair for pair in trials if pair[1] != trial]
        if self._score(trial, job.last) is None:
            return True
        self._keep_checkpoints(trial)
        self._pause_killed(trial)
        # The result may be later than this job: if the study had fewer trials before, and trained this one for longer.
        if trial in self._results and (len(self._scores[trial]) < job.last or job.last == self.config.epochs):
            self._finish(trial, self._results[trial])
        return False

    def _pause_killed(self, trial: int) -> None:
        """Record the pause of a trial whose command was killed between the last epoch of its job and its segment."""
        last = self._last[trial]
        if trial in self._results or last == self.config.epochs or len(self._scores[trial]) != last:
            return
        stored = self.store.trial(trial)
        began, segments = stored.datetime_start, stored.user_attrs.get(SEGMENTS, [])
        if stored.state.is_finished() or began is None or (segments and segments[-1].get("paused") == last):
            return
        unknown = {"since": began.timestamp(), "until": began.timestamp()}  # the duration of the killed segment
        self.store.set_trial_attr(trial, SEGMENTS, [*segments, unknown | {"paused": last}])

    def _score(self, trial: int, epoch: int) -> float | None:
        """Return the best score of the first epochs of a trial; FAILED, or None if it is not known yet."""
        scores, result = self._scores[trial], self._results.get(trial)
        if epoch <= len(scores) and epoch < self.config.epochs:
            return scores[epoch - 1]
        if result is None:
            return None
        if "error" in result or not scores:  # a damaged journal may have lost all epochs
            return FAILED
        return scores[-1]  # after all epochs, or ended early by --patience

    def _start_trial(self, number: int) -> float | None:
        """Suggest a trial, unless it exists; return the virtual cost of its epoch, None if it repeats another one."""
        if number < self._n_stored:
            self._suggester.replay(self.clock.log)
        else:
            new = self._suggester.suggest(self.clock.log)
            distributions = self.config.space.distributions(new.params)
            self.store.add_trial(new.params, distributions, new.config.to_dict(), new.origin)
            self._n_stored += 1
        trial = self.store.trial(number)
        self._suggester.add(trial)
        source = copied_from(trial.user_attrs["origin"])
        if source is None:
            return self.cost(TrialConfig.from_dict(trial.user_attrs["config"]))
        if not trial.state.is_finished():
            self._copies[source].append(number)
            self._close_copies(source)
        return None

    def _common_failure(self) -> str | None:
        return common_failure([self.store.trial(number) for number in range(min(SAME_FAILURES, self._n_stored))])

    def _has_ended(self, log: Sequence[VisibleResult]) -> bool:
        self.early_end = self._budget.update(log, self.clock.n_started)
        return self.early_end is not None or self.stop.requested  # the clock may start hundreds of repeats in a call

    def _hand_out(self, trial: int) -> Job:
        attributes = self.store.trial(trial).user_attrs
        config = attributes["config"]
        self._running.add(trial)
        self._notify("on_trial_start", trial, TrialConfig.from_dict(config))
        first, last = len(self._scores[trial]) + 1, self._last[trial]
        return Job(trial=trial, config=config, first=first, last=last, whole_gpu=self.retry_oom and OOM in attributes)

    def _close(self, trial: int, result: dict[str, Any], segment: dict[str, Any], worker_died: bool) -> None:
        if "user_error" in result:
            raise UserError(result["user_error"])
        earlier = self.store.trial(trial).user_attrs.get(SEGMENTS, [])
        if result.pop("oom", False) and self.retry_oom and OOM not in self.store.trial(trial).user_attrs:
            self.store.set_trial_attr(trial, SEGMENTS, [*earlier, segment])
            self.store.set_trial_attr(trial, OOM, result["error"])
            insort(self._queue, trial)
            self._notify("on_trial_pause", trial)
            return
        if worker_died:
            last = self._deaths[trial] > MAX_RESTARTS and self.stop.reason is None
            result = {"error": WORKER_DIED, **result} if last else {}
        if result:
            self._results[trial] = result | segment
            self._finish(trial, self._results[trial])
            return
        paused = not worker_died and self.config.epochs > self._last[trial] <= len(self._scores[trial])
        if self.stop.requested and not paused:
            return
        new = segment | ({"paused": self._last[trial]} if paused else {})
        self.store.set_trial_attr(trial, SEGMENTS, [*earlier, new])
        if paused:
            self._keep_checkpoints(trial)
        else:
            insort(self._queue, trial)
        self._notify("on_trial_pause", trial)

    def _notify(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(*arguments)

    def _keep_checkpoints(self, trial: int) -> None:
        """Keep the checkpoints of a trial that has paused, and remove those of the worst one at its rung."""
        epoch, score = self._last[trial], self._score(trial, self._last[trial])
        ended = epoch == self.config.epochs or epoch > len(self._scores[trial])  # by --patience, or it failed
        if ended or score is None or score == FAILED:
            return
        trials = self._paused[epoch]
        insort(trials, (-score, trial))
        full = len(trials) > KEPT_PAUSED * self.config.parallelism
        # After a restart, a trial may have been promoted later: its checkpoints are those of later epochs.
        if full and len(self._scores[worst := trials.pop()[1]]) == epoch:
            self.store.remove_checkpoints(worst)

    def _finish(self, trial: int, result: Mapping[str, Any] | None) -> None:
        """Close a trial, unless it is closed; without a result, as stopped."""
        if self.store.trial(trial).state.is_finished():
            return
        state = TrialState.PRUNED if result is None else TrialState.FAIL if "error" in result else TrialState.COMPLETE
        self._notify("on_trial_end", self.store.finish_trial(trial, state, result, self._last[trial]))
        self._close_copies(trial)

    def _close_copies(self, source: int) -> None:
        """Close the trials that repeat a trial, if it is closed."""
        if source in self._copies and self.store.trial(source).state.is_finished():
            for number in self._copies.pop(source):
                self._notify("on_trial_end", self.store.copy_result(source, number))


def reopen_trials(store: "StudyJournal", config: StudyConfig) -> None:
    """Reopen all trials and remove an early end if the last command had another number of trials, target or patience.

    That command may have closed trials that continue now. Raise UserError if the store cannot be written.
    """
    if store.attributes.get(GOAL) != config.goal:
        store.set_study_attr("early_end", None)
        if any(trial.state.is_finished() for trial in store.trials()):
            store.reopen()
        store.set_study_attr(GOAL, config.goal)


def common_failure(trials: Sequence[FrozenTrial]) -> str | None:
    """Return the cause if the first SAME_FAILURES trials all failed with the same one, else None."""
    first = trials[:SAME_FAILURES]
    if len(first) < SAME_FAILURES or any(trial.state != TrialState.FAIL for trial in first):
        return None
    causes = [str(trial.user_attrs["result"]["error"]) for trial in first]
    alike = {re.sub(r"[\d.]+(e[+-]?\d+)?", "0", cause) for cause in causes}  # the number of a trial, a step, a setting
    return causes[0] if len(alike) == 1 else None
