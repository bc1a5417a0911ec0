"""A simulated world for the real schedule and the real journal: a disk, workers, time, and faults.

One process and no waiting: a study of a dozen trials with every fault takes milliseconds. The result of a trial is a
function of its configuration, so that two searches with the same trials have the same results.
"""

import errno
import hashlib
import heapq
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from core.config import TrialConfig
from core.errors import UserError
from core.training.result import EpochResult
from tuning.journal.reader import closes_trial
from tuning.journal.records import TrialRecord, recorded_epochs
from tuning.journal.writer import StudyJournal
from tuning.scheduling.budget import StopSignal
from tuning.scheduling.schedule import SAME_FAILURES, Job, Schedule, common_failure, reopen_trials
from tuning.scheduling.study_config import StudyConfig
from tuning.scheduling.virtual_clock import NoJob


class Killed(Exception):  # noqa: N818 - not an error: the fault that the simulator draws
    """The driver was killed at a write."""


class Disk(BaseJournalBackend):
    """The journal's file in memory. A fault happens at one of its next writes."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.torn = b""
        """What follows the last line break."""
        self.faults: dict[int, str] = {}
        """Number of a write, from now -> kill before it, kill in it (torn), kill after it, or full."""
        self.share = 0.5
        """Of a torn line that is written."""
        self.n_writes = 0
        self.found: Counter[str] = Counter()

    def open(self) -> None:
        """Cut the partial line off, as open_study does."""
        self.torn = b""
        self.n_writes = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Return the records from a number on."""
        return (json.loads(line) for line in self.lines[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records, unless a fault happens."""
        assert not self.torn, "a record is appended to a partial line"
        data = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        self.n_writes += 1
        fault = self.faults.pop(self.n_writes, None)
        if fault is not None:
            self.found[fault] += 1
            shares = {"kill before a write": 0.0, "kill after a write": 1.0}
            data = data[: int(len(data) * shares.get(fault, self.share))]
        *lines, self.torn = data.split(b"\n")
        self.lines += lines
        if fault == "full disk":
            raise OSError(errno.ENOSPC, "No space left on device")
        if fault is not None:
            raise Killed


class SimulatedJournal(StudyJournal):
    """The journal on a simulated disk."""

    def __init__(self, world: "World") -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        disk = world.disk
        disk.open()
        storage = JournalStorage(disk)
        studies = storage.get_all_studies()
        study_id = studies[0]._study_id if studies else storage.create_new_study([StudyDirection.MAXIMIZE], "s")
        super().__init__(Path("/nonexistent"), storage, study_id)
        self.disk = disk
        self.world = world
        self.closing: int | None = None

    def finish_trial(self, number: int, *rest: Any) -> TrialRecord:
        """As StudyJournal, which also removes the checkpoints."""
        self.closing = number
        return super().finish_trial(number, *rest)

    def remove_checkpoints(self, number: int) -> None:
        """As StudyJournal. A trial that stays open must be paused at a rung: otherwise work would be lost."""
        config = self.world.config
        rungs = config.stopping.rungs(config.epochs) if config.stopping else []
        count = len(recorded_epochs(self.trial(number)))
        assert number == self.closing or count in rungs, f"trial {number} loses its checkpoints after {count} epochs"
        self.world.checkpoints.pop(number, None)

    def reopen(self) -> None:
        """As StudyJournal, which replaces the file in one step."""
        fault = self.disk.faults.pop(self.disk.n_writes + 1, None)
        if fault == "kill before a write":
            raise Killed
        self.disk.lines = [line for line in self.disk.lines if not closes_trial(line)]
        self._storage = JournalStorage(self.disk)
        if fault is not None:
            raise Killed


class DigestSampler(BaseSampler):
    """Suggests what follows from all that it sees: another view gives another suggestion."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.digest = ""

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        seen = [
            (t.number, t.state.name, t.value, sorted(t.intermediate_values.items()), sorted(t.params.items()))
            for t in study.get_trials(deepcopy=False)[:-1]
        ]
        self.digest = hashlib.sha256(repr((self.seed, seen)).encode()).hexdigest()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        drawn = random.Random(f"{self.digest} {param_name}")
        if hasattr(param_distribution, "choices"):
            return drawn.choice(param_distribution.choices)
        low, high = param_distribution.low, param_distribution.high  # type: ignore[attr-defined]
        whole = isinstance(low, int)
        return drawn.randint(low, high) if whole else drawn.uniform(low, high)


@dataclass(frozen=True)
class Truth:
    """What training yields: a function of the configuration."""

    seed: int
    epochs: int
    failing: float
    """Share of the configurations that fail."""
    too_large: float
    """Share of the configurations that need a whole GPU."""
    impatient: float
    """Share of the configurations that end early, as with --patience."""

    def accuracy(self, config: Mapping[str, Any], epoch: int) -> float:
        """Return the accuracy of an epoch, with ties."""
        return round(0.5 + 0.4 * self._draw(config, "top") * (1 - 0.7**epoch) + 0.05 * self._draw(config, epoch), 2)

    def fails_after(self, config: Mapping[str, Any]) -> int | None:
        """Return the number of epochs after which the trial fails; after all of them, it lacks only its result."""
        return self._when(config, "fails", self.failing)

    def ends_after(self, config: Mapping[str, Any]) -> int:
        """Return the number of epochs after which the trial is complete."""
        return max(1, self._when(config, "ends", self.impatient) or self.epochs)

    def runs_out_after(self, config: Mapping[str, Any]) -> int | None:
        """Return the number of epochs after which the trial runs out of memory on its share of a GPU."""
        return self._when(config, "oom", self.too_large)

    def _when(self, config: Mapping[str, Any], what: str, share: float) -> int | None:
        if self._draw(config, what) >= share:
            return None
        return int(self._draw(config, f"{what} when") * (self.epochs + 1))

    def _draw(self, config: Mapping[str, Any], what: object) -> float:
        key = f"{self.seed} {what} {config['n_layers']} {config['hidden_dim']} {config['learning_rate']}"
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7]) / 2**56


def cost(config: TrialConfig) -> float:
    """Return the virtual cost."""
    return cost_of({"n_layers": config.n_layers, "hidden_dim": config.hidden_dim})


def cost_of(config: Mapping[str, Any]) -> float:
    """Return the virtual cost of a configuration as a dict."""
    return float(config["n_layers"] * config["hidden_dim"] / 20)


@dataclass
class World:
    """What outlives a command: the disk and the checkpoints. The counts say which faults happened."""

    config: StudyConfig
    truth: Truth
    retry_oom: bool
    rng: random.Random
    disk: Disk = field(default_factory=Disk)
    checkpoints: dict[int, int] = field(default_factory=dict)
    found: Counter[str] = field(default_factory=Counter)
    decisions: list[Any] = field(default_factory=list)
    """The decisions of the clock of the latest schedule."""

    def command(
        self,
        workers: int,
        *,
        death_rate: float = 0.0,
        lost_checkpoints: float = 0.0,
        stop_at: float = float("inf"),
        noise: float = 0.5,
    ) -> bool:
        """Run a command; return whether the study is complete.

        Args:
            workers: number of real workers.
            death_rate: probability that a worker dies in an epoch, before its report, or before the report of an epoch
                that only its checkpoint has; each trial loses at most two workers without a new epoch between them.
            lost_checkpoints: probability that the checkpoint of an epoch is lost.
            stop_at: time of an interruption.
            noise: standard deviation of the logarithm of an epoch's time.
        """
        try:
            journal = SimulatedJournal(self)
            # As tuning.run: a smaller number of trials than the study has completes these.
            self.config = replace(self.config, n_trials=max(self.config.n_trials, len(journal.trials())))
            reopen_trials(journal, self.config)
            run = _Run(self, journal, workers, death_rate, lost_checkpoints, stop_at, noise)
            if run.schedule.has_job():
                journal.set_study_attr("early_end", None)
                run.to_end()
            if common_failure(journal.trials()):
                return True
            self.found["interruption"] += run.stop.requested and run.stop.reason is None
            early_end = run.schedule.early_end if run.schedule.has_ended_early() else None
            self.found["early end"] += early_end is not None
            journal.set_study_attr("early_end", asdict(early_end) if early_end else None)
        except Killed:
            self.found["kill"] += 1
            return False
        except OSError:  # when the study is created
            return False
        except UserError as error:
            return "all failed with one cause" in str(error)
        trials = journal.trials()[: early_end.n_trials if early_end else None]
        enough = early_end is not None or len(trials) >= self.config.n_trials
        return enough and all(trial.state.is_finished() for trial in trials) and not run.stop.requested

    def new_schedule(self, journal: StudyJournal, stop: StopSignal) -> Schedule:
        """Return a schedule whose clock's decisions are written down."""
        schedule = Schedule(journal, self.config, cost, [], stop, retry_oom=self.retry_oom)
        decide, self.decisions = schedule.clock.next_job, []

        def next_job() -> Any:
            job = decide()
            if not isinstance(job, NoJob):
                self.decisions.append(job)
            return job

        schedule.clock.next_job = next_job  # type: ignore[method-assign]
        return schedule

    def end_state(self) -> list[Any]:
        """Return what must not depend on faults: trials, results, states, and the decisions of the clock."""
        journal = SimulatedJournal(self)
        self.new_schedule(journal, StopSignal()).next_job()  # `decisions` then holds all of its clock's
        rows = [
            (r.number, r.params, r.origin, r.state, r.error, [(e.epoch, e.val_accuracy) for e in r.epochs])
            for r in journal.records()[: (journal.attributes.get("early_end") or {"n_trials": None})["n_trials"]]
        ]
        if common_failure(journal.trials()):  # it ends the study at once, whatever runs
            return [rows[:SAME_FAILURES], []]
        return [rows, self.decisions]


@dataclass
class _Worker:
    """A worker with a job."""

    job: Job
    epoch: int
    """Number of epochs of the trial that its process has trained."""


_Events = list[tuple[float, int, _Worker]]
"""End of an epoch, place of the worker, and what it does."""


class _Run:
    """One command in simulated time."""

    def __init__(
        self,
        world: World,
        journal: StudyJournal,
        workers: int,
        death_rate: float,
        lost_checkpoints: float,
        stop_at: float,
        noise: float,
    ) -> None:
        self.world, self.journal, self.workers = world, journal, workers
        self.death_rate, self.lost_checkpoints, self.stop_at, self.noise = death_rate, lost_checkpoints, stop_at, noise
        self.stop = StopSignal()
        self.schedule = world.new_schedule(journal, self.stop)
        self.now = 0.0
        self.deaths: Counter[int] = Counter()
        self.speeds = [2.0 ** world.rng.uniform(-2, 2) for _ in range(workers)]

    def to_end(self) -> None:
        """Run until the schedule has no further job."""
        events: _Events = []
        idle = list(range(self.workers))
        while True:
            while idle and isinstance(job := self.schedule.next_job(), Job):
                self._start(events, idle, job)
            if not events:
                break
            self.now, place, worker = heapq.heappop(events)
            if self.now >= self.stop_at:
                self.stop.requested = True
            if self._continues(worker):
                self._begin(events, place, worker)
            else:
                idle.append(place)

    def _start(self, events: _Events, idle: list[int], job: Job) -> None:
        """Give a job to an idle worker, which first reports the epochs of its checkpoint that the journal lacks."""
        assert all(other.job.trial != job.trial for _, _, other in events), f"two workers train trial {job.trial}"
        whole = job.last == self.world.config.epochs  # such a trial may lack its result alone
        assert whole or job.first <= job.last, f"all epochs of {job} are in the journal"
        worker = _Worker(job, self.world.checkpoints.get(job.trial, 0))
        for epoch in range(job.first, worker.epoch + 1):
            died = self._dies(job.trial, "before a late report")
            if died or not self._report(job, epoch):
                self._end(job.trial, {}, worker_died=died)
                return
        self._begin(events, idle.pop(), worker)

    def _begin(self, events: _Events, place: int, worker: _Worker) -> None:
        took = self.speeds[place] * 2.0 ** self.world.rng.gauss(0, self.noise)
        heapq.heappush(events, (self.now + took * cost_of(worker.job.config), place, worker))

    def _result(self, job: Job, epoch: int) -> EpochResult:
        accuracy = self.world.truth.accuracy(job.config, epoch)
        return EpochResult(
            epoch=epoch, train_loss=1.0, val_loss=1 - accuracy, val_accuracy=accuracy, score=accuracy, seconds=1.0
        )

    def _continues(self, worker: _Worker) -> bool:
        """Process the end of an epoch; return whether the worker continues."""
        world, job = self.world, worker.job
        trial, config, truth = job.trial, job.config, self.world.truth
        if self._dies(trial, "in an epoch"):
            self._end(trial, {}, worker_died=True)
            return False
        result: dict[str, Any] = {}
        if truth.fails_after(config) == worker.epoch:
            world.found["failed trial"] += 1
            result = {"error": "the loss is NaN"}
        elif truth.runs_out_after(config) == worker.epoch and not job.whole_gpu:
            world.found["out of memory"] += 1
            result = {"error": "out of GPU memory", "oom": True}
        elif worker.epoch >= truth.ends_after(config):
            result = {"n_parameters": 1}
        if result:
            self._end(trial, result)
            return False
        worker.epoch += 1
        if world.rng.random() >= self.lost_checkpoints:
            world.checkpoints[trial] = worker.epoch
        else:
            world.found["lost checkpoint"] += 1
        died = self._dies(trial, "before its report")
        if not died and self._report(job, worker.epoch):
            return True
        self._end(trial, {}, worker_died=died)
        return False

    def _report(self, job: Job, epoch: int) -> bool:
        """Report an epoch; return whether the job continues. After a new epoch, two more workers may die."""
        if f"epoch:{epoch}" not in self.journal.trial(job.trial).user_attrs:
            del self.deaths[job.trial]
        return self.schedule.report(job.trial, self._result(job, epoch))

    def _dies(self, trial: int, when: str) -> bool:
        """Draw whether the worker of a trial dies now."""
        dies = self.deaths[trial] < 2 and self.world.rng.random() < self.death_rate
        self.deaths[trial] += dies
        self.world.found[f"worker death {when}"] += dies
        return dies

    def _end(self, trial: int, result: dict[str, Any], *, worker_died: bool = False) -> None:
        segment = {"since": self.now, "until": self.now, "worker": "w"}
        self.schedule.end(trial, result, segment, worker_died=worker_died)
