"""The program with its trials trained in this process instead of by Ray, perhaps on tiny data: a search in seconds."""

import csv
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import tuning.backend.tuner
import tuning.confirm.command
import tuning.ensemble.command
import tuning.forecast.probe
import tuning.run
from core.data.corpus import Corpus, DatasetSource, ReadOptions
from core.data.datasets import resolve_dataset
from core.errors import StopTraining
from core.training.result import EpochResult
from tuning.backend import worker
from tuning.backend.tuner import RayBackend
from tuning.journal.probabilities import trial_name
from tuning.journal.records import PLAIN_BASELINE
from tuning.plain_fit import PlainFit, fit_and_predict
from tuning.resources.machine import Machine, TrialResources
from tuning.scheduling.schedule import Job, Schedule
from tuning.scheduling.virtual_clock import NoJob


def write_reviews(path: Path, count: int, seed: int = 0) -> None:
    """Write sentences in the columns `body` and `stars`, which a small model can learn."""
    draw = random.Random(seed)
    words = {1: ("dull", "tedious", "bad", "boring"), 5: ("witty", "gorgeous", "good", "moving")}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("body", "stars"))
        for number in range(count):
            stars = (1, 5)[number % 2]
            noun = draw.choice(("movie", "film", "story", "plot", "actor", "scene", "script", "ending"))
            writer.writerow((f"a {draw.choice(words[stars])} {noun} of part {draw.randrange(99)}", stars))


class NoRay:
    """Takes the place of BackgroundRay, and of the module ray in what its session gives."""

    exceptions = SimpleNamespace(RayError=(), RayTaskError=())

    def __init__(self, machine: Machine | None = None, *_: object) -> None:
        self.machine = machine
        self.session = self._session

    def __enter__(self) -> "NoRay":
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self) -> None:
        """Start nothing."""

    @contextmanager
    def _session(self, say: Callable[[str], None] = print) -> Iterator["NoRay"]:
        yield self

    def remote(self, **_: object) -> Callable[[Callable[..., Any]], Any]:
        """Return what makes a function one whose `remote` calls it."""
        return lambda function: SimpleNamespace(remote=lambda *values: Result(function(*values)))

    def put(self, value: Any) -> Any:
        """Return the value itself."""
        return value

    def wait(self, references: list["Result"], timeout: float) -> tuple[list["Result"], list["Result"]]:
        """Return that all have ended."""
        return references, []

    def get(self, reference: "Result") -> Any:
        """Return the value of a reference."""
        return reference.value


class Result:
    """A reference to a value: `tuning.backend.tasks` has references as keys of a dict, and results are dicts."""

    def __init__(self, value: Any) -> None:
        self.value = value


def run_trials(schedule: Schedule, corpus: Corpus, backend: RayBackend, *_: object) -> None:
    """Train the jobs of a schedule one after the other."""
    while not isinstance(job := schedule.next_job(), NoJob):
        result = _train(schedule, job, corpus, backend.resources)
        schedule.end(job.trial, result, {"since": 0.0, "until": 1.0, "worker": "host/1"})


def _train(schedule: Schedule, job: Job, corpus: Corpus, resources: TrialResources) -> dict[str, Any]:
    """Train a trial to the end of its job; return its result, which is empty if the trial is not over."""
    result: dict[str, Any] = {}
    continues = True

    def report(said: dict[str, Any]) -> None:
        nonlocal continues
        result.update(said.get("result", {}))
        if "epoch_result" in said:
            epoch = EpochResult(**said["epoch_result"])
            continues = schedule.report(job.trial, epoch, said["val_predictions"], said["log_odds"])
            if not continues:
                raise StopTraining

    place = schedule.store.checkpoint_dir(trial_name(job.trial))
    given = {"config": job.config, "checkpoint_dir": str(place), "first": job.first}
    with patch.object(worker, "tune", SimpleNamespace(report=report)):
        worker.run_trial(given, corpus, resources)
    return result if continues else {}


def _fit_now(self: PlainFit) -> PlainFit:
    if PLAIN_BASELINE in self._journal.attributes:
        return self
    own = ("path", "parent", "niceness")
    task: dict[str, Any] = {name: value for name, value in self._task.items() if name not in own}
    self._output.write(json.dumps(fit_and_predict(**task)).encode())
    self._process = SimpleNamespace(poll=lambda: 0, wait=lambda *_: 0, kill=lambda: None)  # type: ignore[assignment]
    return self


@contextmanager
def without_ray() -> Iterator[None]:
    """Train, fit and probe in this process."""
    with (
        patch.object(tuning.run, "BackgroundRay", NoRay),
        patch.object(tuning.ensemble.command, "BackgroundRay", NoRay),
        patch.object(tuning.confirm.command, "BackgroundRay", NoRay),
        patch.object(tuning.backend.tuner, "_run_trials", run_trials),
        patch.object(PlainFit, "__enter__", _fit_now),
        patch.object(tuning.forecast.probe, "run_processes", lambda calls: [call() for call in calls]),
        patch.object(tuning.forecast.probe, "PROBE_SECONDS", 0.3),
    ):
        yield


@contextmanager
def trained_here(reviews: Path) -> Iterator[None]:
    """Train without Ray, and read the built-in datasets from the file `reviews`."""

    def tiny(folder: Path, notify: object = None) -> DatasetSource:
        return resolve_dataset(str(reviews), ReadOptions(text_column="body", label_column="stars"), folder)

    with (
        without_ray(),
        patch("core.data.datasets.resolve_snippets", tiny),
        patch("core.data.datasets.resolve_mr", tiny),
        patch("core.data.datasets.resolve_mr_at", tiny),
    ):
        yield
