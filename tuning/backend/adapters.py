"""The scheduler: writes each epoch into the journal, then says whether the trial goes on."""

from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from core.errors import UserError
from core.training.result import EpochResult
from tuning.backend.ray_private import drop_finished_trials, keep_idle_workers
from tuning.journal.writer import StudyJournal
from tuning.scheduling.callbacks import Callback
from tuning.scheduling.stop_signal import StopSignal
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.successive_halving import Decision, RungTable


def unflatten(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The dict that was reported under `name`: Ray hands it on as `name/key` entries."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in result.items() if key.startswith(prefix)}


class OrderedStopping(FIFOScheduler):  # type: ignore[misc]  # Ray ships no types
    """Stops a trial by the study's rule, when it has to wait at a rung, or when the study is halted."""

    def __init__(
        self, journal: StudyJournal, plan: StudyConfig, callbacks: Callback, stop: StopSignal, standings: RungTable
    ) -> None:
        super().__init__()
        self.journal = journal
        self.plan = plan
        self.callbacks = callbacks
        self.stop = stop
        self.standings = standings
        self.keeps_workers = False

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Ray's question after each report: CONTINUE or STOP."""
        report = unflatten(result, "epoch_result")
        if not report or unflatten(result, "outcome"):
            return str(TrialScheduler.CONTINUE)
        number, epoch = trial.config["number"], EpochResult(**report)
        try:
            self.journal.record_epoch(number, epoch, unflatten(result, "val_predictions"))
        except UserError as error:
            self.stop.abort(error)
            return str(TrialScheduler.STOP)
        self.callbacks.on_epoch_end(number, epoch)
        goes_on = epoch.epoch == self.plan.epochs or self._goes_on(number, epoch)
        return str(TrialScheduler.STOP if self.stop.requested or not goes_on else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:
        """A trial has ended, or gives its worker back to wait. Ray forgets those that ended before it."""
        if not self.keeps_workers:
            self.keeps_workers = True
            keep_idle_workers(tune_controller, trial, self.plan.n_trials)
        drop_finished_trials(tune_controller)

    def __getstate__(self) -> dict[str, Any]:
        """Empty, as the searcher's."""
        return {}

    def _goes_on(self, number: int, epoch: EpochResult) -> bool:
        """Whether the trial keeps its worker after this epoch, which is not its last."""
        if epoch.epoch not in self.standings.rungs:
            return True
        self.standings.update(*self.journal.records(number, number + 1))
        return self.standings.decide(number, epoch.epoch) == Decision.CONTINUE
