"""The ordered searcher: suggestion n sees the outcome of trials 0..n-window, and of no other.

It waits until those are finished; the trials after them are shown to the sampler as running. The sampler is
made anew for each suggestion from (seed, n), or asked again from the first trial on. So which trials a study has
depends on its inputs alone: not on time, the number of workers, or how often it was killed. Ray's own searcher
state is neither written nor read; the journal is the state.

A trial that waits at a rung gives its worker back: to Ray it is over, and once its verdict is there it goes on as
another trial of Ray's, from its checkpoint. So does one whose worker died. Its deaths are counted here, because Ray
itself gives up at once where a worker dies while it takes the trial over from another one.
"""

import re
import time
from bisect import insort
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from core.config import TrialConfig
from core.errors import UserError
from tuning.backend.adapters import unflatten
from tuning.journal.records import copied_from
from tuning.journal.writer import StudyJournal
from tuning.scheduling.callbacks import Callback
from tuning.scheduling.stop_signal import StopSignal
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.successive_halving import Decision, RungTable
from tuning.scheduling.suggester import Suggester, is_ready

SAME_FAILURES = 3
"""So many failures from the start with one cause end the study."""
SEGMENTS = "spells"
"""The user attribute of a trial that has waited or lost its worker: who had it before, `worker`, `since`, `until`."""
OOM = "oom"
"""The user attribute of a trial that is to run once more, alone on a whole GPU: what it asked for on its share."""
MAX_RESTARTS = 2
"""How often what was on a worker that died is started again."""
WORKER_DIED = "its worker died three times (killed, or out of memory)"


def common_failure(trials: Sequence[FrozenTrial]) -> str | None:
    """The cause, when the first SAME_FAILURES trials all failed with the same one."""
    first = trials[:SAME_FAILURES]
    if len(first) < SAME_FAILURES or any(trial.state != TrialState.FAIL for trial in first):
        return None
    causes = [str(trial.user_attrs["outcome"]["error"]) for trial in first]
    alike = {re.sub(r"[\d.]+(e[+-]?\d+)?", "0", cause) for cause in causes}  # the number of a trial, a step, a setting
    return causes[0] if len(alike) == 1 else None


class OrderedSearcher(Searcher):  # type: ignore[misc]  # Ray ships no types
    """Hands trials to Ray Tune in order and writes their ends into the journal."""

    def __init__(
        self,
        journal: StudyJournal,
        plan: StudyConfig,
        callbacks: Callback,
        stop: StopSignal,
        standings: RungTable,
        *,
        retry_oom: bool = False,
        whole_gpu: bool = False,
    ) -> None:
        """Go on where the journal stands.

        Args:
            ledger: the open journal.
            plan: what is searched.
            listener: told of every start and end.
            halt: asked before each new trial.
            standings: of the journal's trials; whoever writes an epoch down tells it.
            retry_oom: a trial that its share of a GPU is too small for stays open and is marked with OOM. It ends in a
                round of its own, whose searcher has `whole_gpu`; suggestions that may see it wait. So its outcome
                depends neither on the share nor on when it ran, and a resumed study finds the mark in the journal.
            whole_gpu: hand out the marked trials and no others.
        """
        super().__init__()
        self.journal = journal
        self.plan = plan
        self.callbacks = callbacks
        self.stop = stop
        self.standings = standings
        self.suggester = Suggester(plan)
        unfinished = [trial for trial in journal.trials() if not trial.state.is_finished()]
        self.copies = {
            t.number: source for t in unfinished if (source := copied_from(t.user_attrs["origin"])) is not None
        }
        self.retry_oom, self.whole_gpu = retry_oom, whole_gpu
        self.marked = {trial.number for trial in unfinished if retry_oom and OOM in trial.user_attrs}
        self.unfinished: list[int] = []  # by number, to be handed out
        self.waiting: dict[int, list[int]] = {rung: [] for rung in standings.rungs}  # rung -> trials, by number
        for trial in unfinished:
            if trial.number not in self.copies and (trial.number in self.marked) == whole_gpu:
                self._put_back(trial.number)
        self.number: dict[str, int] = {}  # Ray's trial id -> ours
        self.deaths: Counter[int] = Counter()  # of workers, by trial; a command starts at none
        self.since: dict[int, float] = {}  # when a trial was handed out, in seconds since 1970
        self._settle_copies()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Ray's question for a new trial: its config, None for later, or FINISHED."""
        try:
            return self._next(trial_id)
        except UserError as error:  # the journal cannot be written
            self.stop.abort(error)
            return str(Searcher.FINISHED)

    def _next(self, trial_id: str) -> dict[str, Any] | str | None:
        while True:
            self._judge()
            trials = self.journal.trials()
            if self._over() or common_failure(trials):
                return str(Searcher.FINISHED)
            if self.unfinished:
                return self._start(trial_id, self.unfinished.pop(0))
            if self.whole_gpu or len(trials) >= self.plan.n_trials or not is_ready(self.plan, trials):
                # A running trial may yet have to wait and be handed out again. Where none is running, what is left
                # waits for a trial that is marked, or for nothing.
                return None if self.number else str(Searcher.FINISHED)
            number = self._add(trials)
            if number not in self.copies:
                return self._start(trial_id, number)
            self._settle_copies()

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Nothing: the scheduler has written it down already, and sees also the last one of a stopped trial."""

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Close the trial in the journal; one that was interrupted stays open and runs again."""
        number = self.number.pop(trial_id)
        outcome = unflatten(result or {}, "outcome")
        spell: dict[str, Any] = {"since": self.since.pop(number)}
        if result and "pid" in result:
            spell["worker"] = f"{result['hostname']}/{result['pid']}"
        try:
            self._close(number, outcome, error, spell)
        except UserError as problem:
            self.stop.abort(problem)

    def _close(self, number: int, outcome: dict[str, Any], error: bool, spell: dict[str, Any]) -> None:
        self.deaths[number] += error
        if "mend" in outcome:
            raise UserError(outcome["mend"])
        if outcome.pop("oom", False) and self.retry_oom and not self.whole_gpu:
            self.journal.set_trial_attr(number, OOM, outcome["error"])
            self.marked.add(number)
            return
        if outcome:
            state = TrialState.FAIL if "error" in outcome else TrialState.COMPLETE
        elif self.stop.requested:
            return
        elif self.deaths[number] > MAX_RESTARTS:
            state, outcome = TrialState.FAIL, {"error": WORKER_DIED}
        elif error or self._verdict(number) not in (Decision.STOP, None):
            self.journal.set_trial_attr(number, SEGMENTS, [*self._spells(number), spell | {"until": time.time()}])
            self._put_back(number)
            self.callbacks.on_trial_pause(number)
            return
        else:
            state = TrialState.PRUNED
        self._finish(number, state, outcome | spell)

    def _finish(self, number: int, state: TrialState, outcome: Mapping[str, Any]) -> None:
        record = self.journal.finish_trial(number, state, outcome)
        self.standings.update(record)
        self.callbacks.on_trial_end(record)
        self._settle_copies()
        self._over()

    def _verdict(self, number: int) -> Decision | None:
        """Of a trial at a rung; None elsewhere."""
        (record,) = self.journal.records(number, number + 1)
        done = len(record.epochs)
        return self.standings.decide(number, done) if done in self.standings.rungs else None

    def _put_back(self, number: int) -> None:
        """An open trial that no worker has: it waits for its verdict, or to be handed out."""
        (record,) = self.journal.records(number, number + 1)
        insort(self.waiting.get(len(record.epochs), self.unfinished), number)

    def _judge(self) -> None:
        """Close the trials that waited and are behind, and put back those that go on."""
        if self.stop.requested:
            return
        # From the first rung on: who is closed there is no longer waited for at the next one. At a rung by number: who
        # waits for a higher one waits for all that a lower one waits for.
        for rung, numbers in self.waiting.items():
            while numbers and (verdict := self.standings.decide(numbers[0], rung)) != Decision.PAUSE:
                number = numbers.pop(0)
                if verdict == Decision.STOP:
                    self._finish(number, TrialState.PRUNED, {})
                else:
                    insort(self.unfinished, number)

    def _spells(self, number: int) -> list[dict[str, Any]]:
        """When which worker had the trial before it waited."""
        return list(self.journal.trials()[number].user_attrs.get(SEGMENTS, []))

    def _over(self) -> bool:
        """Whether no further trial is to begin; a budget that is met ends the running ones too."""
        budget = self.plan.budget
        if budget.depends_on_results and (ending := budget.check(self.journal.records())):
            self.stop.end_study(ending)
        return self.stop.requested

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    restore = save

    def __getstate__(self) -> dict[str, Any]:
        """Empty: Ray pickles its Tuner, which nobody ever loads."""
        return {}

    def _add(self, trials: Sequence[FrozenTrial]) -> int:
        suggestion = self.suggester.suggest(trials)
        params = suggestion.params
        distributions = self.plan.space.distributions(params)
        number = self.journal.add_trial(params, distributions, suggestion.config.to_dict(), suggestion.origin)
        self.standings.update(*self.journal.records(number, number + 1))
        source = copied_from(suggestion.origin)
        if source is not None:
            self.copies[number] = source
        return number

    def _settle_copies(self) -> None:
        """Close the trials that repeat one which is finished by now: training it again would bring the same."""
        for number, source in sorted(self.copies.items()):
            if self.journal.trials()[source].state.is_finished():
                del self.copies[number]
                record = self.journal.copy_result(source, number)
                self.standings.update(record)
                self.callbacks.on_trial_end(record)

    def _start(self, trial_id: str, number: int) -> dict[str, Any]:
        trials = self.journal.trials()
        attrs = trials[number].user_attrs
        self.number[trial_id] = number
        self.since[number] = time.time()
        self.callbacks.on_trial_start(number, TrialConfig.from_dict(attrs["config"]))
        checkpoint_dir = self.journal.checkpoint_dir(number)
        unfinished = [trial.number for trial in trials if not trial.state.is_finished()]
        return {
            "number": number,
            "config": attrs["config"],
            "checkpoint_dir": str(checkpoint_dir),
            "open": unfinished,
        }
