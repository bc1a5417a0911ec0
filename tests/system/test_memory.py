"""The memory of a trial on the real default data, in a fresh process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MEASURE = """
import json, os
from pathlib import Path
from tempfile import TemporaryDirectory

def status(name):  # not getrusage: its peak begins with that of the process that started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))

import torch
after_import = status("VmRSS")
from core import TrialConfig, load_corpus, train
corpus = load_corpus("snippets")

def one():
    with TemporaryDirectory() as folder:
        result = train(TrialConfig(epochs=2, epoch_sentences=512), corpus, checkpoint_dir=Path(folder))
    parameter_bytes = 4 * sum(weights.numel() for weights in result.weights.values())
    return {"after_import": after_import, "peak": status("VmHWM"), "parameter_bytes": parameter_bytes}

def twenty():
    after = []
    for seed in range(20):
        size = {"hidden_dim": 16 + seed % 3, "bidirectional": False, "batch_size": 256, "epoch_sentences": 256}
        train(TrialConfig(epochs=1, seed=seed, **size), corpus)
        after.append(status("VmRSS"))
    return {"after": after}

if not os.fork():  # a process in which nothing was trained before
    print(json.dumps(twenty()), flush=True)
    os._exit(0)
assert os.wait()[1] == 0
print(json.dumps(one()))  # not in a fork, whose peak lacks torch's own pages
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """Memory in bytes of one trial, and after each of twenty."""
    from core import load_corpus

    load_corpus("snippets")  # built here if it is not there: what that takes is not the trial's
    command = [sys.executable, "-c", MEASURE]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(json.loads(lines[0]) | json.loads(lines[1]))


def test_a_trial_needs_little_more_than_its_weights(measured: dict[str, Any]) -> None:
    """At most torch itself, 200 MB and five times the weights; with checkpoints, data from a warm cache."""
    assert measured["peak"] <= measured["after_import"] + 200e6 + 5 * measured["parameter_bytes"]


def test_twenty_trials_leave_nothing_behind(measured: dict[str, Any]) -> None:
    assert max(measured["after"][10:]) <= max(measured["after"][:5]) + 20e6


GROWTH = """
import sys
from pathlib import Path
from tuning.journal.writer import open_study
from tuning.resources.machine import Machine, TrialResources
from tuning.backend.background_ray import BackgroundRay
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.tuner import RayBackend, run_schedule
from tuning.scheduling.schedule import Callback, Schedule
from benchmarks.search.overhead import nothing, plan
from tests.support.corpora import tiny_corpus

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))

class Ends(Callback):
    ended_trials = 0
    def on_trial_start(self, number, config): ...
    def on_epoch_end(self, number, result): ...
    def on_trial_pause(self, number): ...
    def on_trial_end(self, record):
        self.ended_trials += 1
        if self.ended_trials in (200, 1000):
            print(resident(), flush=True)

interrupt = InterruptHandler(say=print)
session = BackgroundRay(Machine(cpus=2, gpus=0), interrupt.on_ray_lost).session
backend = RayBackend(session=session, resources=TrialResources(), workers=2, train=nothing)
with open_study(Path(sys.argv[1]), {}) as journal:
    schedule = Schedule(journal, plan(1000), lambda config: 1.0, [Ends()], interrupt)
    run_schedule(schedule, tiny_corpus(), backend, interrupt)
"""


@pytest.mark.chaos
def test_over_a_thousand_trials_the_driver_grows_by_what_it_must_know_of_each(tmp_path: Path) -> None:
    """Some 18 kB a trial (results/LOG.md); it was 65 while Ray kept every trial."""
    command = [sys.executable, "-c", GROWTH, str(tmp_path / "study")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    early, late = (int(line) for line in done.stdout.splitlines() if line.isdigit())
    assert (late - early) / 800 <= 25e3
