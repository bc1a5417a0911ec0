"""The schedulers: write each epoch into the journal, then say whether the trial goes on."""

from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from core.epoch import EpochResult
from core.errors import UserError
from tuning.ledger import Ledger
from tuning.searcher import Halt, Listener, unflattened
from tuning.spec import SearchPlan
from tuning.stopping import Asha, Halving


def make_scheduler(ledger: Ledger, plan: SearchPlan, listener: Listener, halt: Halt) -> "OrderedStopping":
    """The scheduler of the plan's stopping rule."""
    kind = TimedStopping if isinstance(plan.stopping, Asha) else OrderedStopping
    return kind(ledger, plan, listener, halt)


class OrderedStopping(FIFOScheduler):  # type: ignore[misc]  # Ray ships no types
    """Stops a trial by the study's rule, or when the study is halted."""

    def __init__(self, ledger: Ledger, plan: SearchPlan, listener: Listener, halt: Halt) -> None:
        super().__init__()
        self.ledger = ledger
        self.plan = plan
        self.listener = listener
        self.halt = halt

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Ray's question after each report: CONTINUE or STOP."""
        report = unflattened(result, "epoch_result")
        if not report or unflattened(result, "outcome"):
            return str(TrialScheduler.CONTINUE)
        number, epoch = trial.config["number"], EpochResult(**report)
        try:
            self.ledger.record(number, epoch, unflattened(result, "val_predictions"))
        except UserError as error:
            self.halt.give_up(error)
            return str(TrialScheduler.STOP)
        self.listener.epoch(number, epoch)
        behind = epoch.epoch < self.plan.epochs and self.is_behind(tune_controller, trial, epoch)
        return str(TrialScheduler.STOP if self.halt.requested or behind else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:
        """A trial has ended: let Ray forget the averages of its metrics, 26 kB a trial that nobody reads."""
        trial.run_metadata.metric_analysis = {}
        trial.run_metadata.metric_n_steps = {}

    def __getstate__(self) -> dict[str, Any]:
        """Empty, as the searcher's."""
        return {}

    def is_behind(self, tune_controller: Any, trial: Trial, epoch: EpochResult) -> bool:
        """Whether the trial is to be stopped after this epoch, which is not its last."""
        rule, number = self.plan.stopping, trial.config["number"]
        if not isinstance(rule, Halving) or epoch.epoch not in rule.rungs(self.plan.epochs):
            return False
        peers = [record.epochs for record in self.ledger.records(0, max(0, number - self.plan.window + 1))]
        (own,) = self.ledger.records(number, number + 1)
        return rule.stops(own.epochs[: epoch.epoch], peers, self.plan.epochs)


class TimedStopping(OrderedStopping):
    """Stops by Ray's ASHA: against the trials that reached the rung earlier, which after a restart are none."""

    def __init__(self, ledger: Ledger, plan: SearchPlan, listener: Listener, halt: Halt) -> None:
        super().__init__(ledger, plan, listener, halt)
        rule = plan.stopping
        assert isinstance(rule, Asha)
        self.asha = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric="val_accuracy",
            mode="max",
            max_t=plan.epochs,
            grace_period=min(rule.grace, plan.epochs),
            reduction_factor=rule.reduction,
        )

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A trial begins."""
        self.asha.on_trial_add(tune_controller, trial)

    def is_behind(self, tune_controller: Any, trial: Trial, epoch: EpochResult) -> bool:
        """As ASHA says."""
        result = {"epoch": epoch.epoch, "val_accuracy": epoch.val_accuracy}
        return bool(self.asha.on_trial_result(tune_controller, trial, result) == TrialScheduler.STOP)
