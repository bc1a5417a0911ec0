"""A stand-in for Ray Tune in a search."""

import random
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from core.config import TrialConfig
from core.training.result import EpochResult
from tests.support.study_configs import cost
from tuning.backend.adapters import RayScheduler, RaySearcher
from tuning.journal.records import TrialRecord
from tuning.journal.writer import StudyJournal
from tuning.scheduling.budget import StopSignal
from tuning.scheduling.schedule import Callback, Schedule
from tuning.scheduling.study_config import StudyConfig


class Heard(Callback):
    """A callback that remembers."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def on_trial_start(self, number: int, config: TrialConfig) -> None:
        self.events.append(f"started {number}")

    def on_trial_pause(self, number: int) -> None:
        self.events.append(f"paused {number}")

    def on_epoch_end(self, number: int, result: EpochResult) -> None:
        self.events.append(f"epoch {number}.{result.epoch}")

    def on_trial_end(self, record: TrialRecord) -> None:
        self.events.append(f"{record.state} {record.number}")


class FakeRay:
    """Runs trials as Ray Tune would, but here and in an order that `rng` decides."""

    def __init__(self, journal: StudyJournal, the_plan: StudyConfig, workers: int, rng: random.Random) -> None:
        self.stop = StopSignal()
        self.heard = Heard()
        self.schedule = Schedule(journal, the_plan, cost, [self.heard], self.stop)
        self.searcher = RaySearcher(self.schedule)
        self.scheduler = RayScheduler(self.schedule)
        self.plan, self.workers, self.rng = the_plan, workers, rng
        self.running: dict[str, tuple[Any, int]] = {}
        self.trained: dict[int, int] = {}
        self.asked = 0

    def run(self, steps: int = 10_000) -> None:
        """Run a maximum number of epochs; then the driver is gone in the middle."""
        for _ in range(steps):
            self._fill()
            if not self.running:
                return
            self._step(self.rng.choice(sorted(self.running)))

    def _fill(self) -> None:
        while len(self.running) < self.workers:
            self.asked += 1
            job = self.searcher.suggest(f"ray{self.asked}")
            if job is None or isinstance(job, str):
                assert job in (None, Searcher.FINISHED)
                return
            # From its checkpoint if it was paused, else from its first epoch.
            self.running[f"ray{self.asked}"] = (job, self.trained.get(job["number"], 0))

    def ray_trial(self, the_id: str) -> Any:
        """What Ray's Trial says of itself."""
        return SimpleNamespace(config=self.running[the_id][0])

    def _step(self, ray_id: str) -> None:
        job, done = self.running[ray_id]
        result: dict[str, Any] = {}
        if done == self.plan.epochs:
            result = {"result/n_parameters": 1}
        else:
            rate = job["config"]["learning_rate"]
            score = 1 / (1 + abs(rate - 0.01) * (self.plan.epochs + 1 - done))  # no two curves cross
            epoch = {"epoch": done + 1, "train_loss": 0.0, "val_loss": -score, "val_accuracy": score}
            epoch |= {"score": score, "seconds": 0.1}
            result = {f"epoch_result/{key}": value for key, value in epoch.items()}

        decision = self.scheduler.on_trial_result(None, self.ray_trial(ray_id), result)
        if decision == TrialScheduler.STOP or done == self.plan.epochs:
            del self.running[ray_id]
            self.searcher.on_trial_complete(ray_id, result)
        else:
            self.searcher.on_trial_result(ray_id, result)
            self.running[ray_id] = (job, done + 1)
            self.trained[job["number"]] = done + 1


def searcher_of(journal: StudyJournal, the_plan: StudyConfig, stop: StopSignal) -> RaySearcher:
    """Return a searcher that continues from the trials in the journal."""
    return RaySearcher(Schedule(journal, the_plan, cost, [Heard()], stop))
