"""Run a study with the real command, retrain its recommended trial and read both results."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

from core.nn.environment import cpu_model
from tuning.journal.records import TrialRecord, read_study


@dataclass(frozen=True, kw_only=True)
class Study:
    """A complete study."""

    seconds: float
    """Duration of the whole `sentune run`."""
    trials: Sequence[TrialRecord]
    """Trained trials, without failed ones and copies of earlier ones."""
    val_accuracy: float
    """Validation accuracy of the retrained (recommended) trial."""
    test_accuracy: float
    """Test accuracy of the same model."""
    verdict: str
    """Line of `sentune retrain` about the reproduction."""


def run_study(folder: Path, name: str, words: Sequence[str]) -> Study:
    """Run `sentune run` with these arguments, then `sentune retrain`."""
    began = time.perf_counter()
    run_sentune("run", *words, "--results", str(folder), "--name", name)
    seconds = time.perf_counter() - began
    records = read_study(folder / name)[1]
    run_sentune("retrain", str(folder / name), "--out", str(folder / f"{name}-model"))
    model = json.loads((folder / f"{name}-model" / "metrics.json").read_text())
    return Study(
        seconds=seconds,
        trials=[r for r in records if r.state in ("COMPLETE", "PRUNED") and r.copy_of is None],
        val_accuracy=model["val_accuracy"],
        test_accuracy=model["test_accuracy"],
        verdict=model["verdict"],
    )


def run_sentune(*words: str) -> str:
    """Run a command and return its output."""
    command = [sys.executable, "-m", "tuning", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def trial_span(trials: Sequence[TrialRecord]) -> float:
    """Return the seconds from the first trial's start to the last one's end, in a study that has ended."""
    starts = [trial.started for trial in trials if trial.started]
    ends = [trial.ended for trial in trials if trial.ended]
    return (max(ends) - min(starts)).total_seconds()


def seconds_an_epoch(trials: Sequence[TrialRecord]) -> float:
    """Return the mean seconds per epoch, with equal weight for each trial."""
    return statistics.fmean(trial.seconds / len(trial.epochs) for trial in trials)


def spread_sample(trials: Sequence[TrialRecord], count: int) -> list[TrialRecord]:
    """Sort trials by seconds per epoch; return the middle one of each of `count` equal parts."""
    ordered = sorted(trials, key=lambda trial: trial.seconds / len(trial.epochs))
    return [ordered[int((part + 0.5) * len(ordered) / count)] for part in range(count)]


def machine() -> str:
    """Return date, machine and versions, for a table's heading."""
    import torch  # only here: some scripts measure the memory of the process that they run in

    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna"))
    return (
        f"{date.today()}, {os.cpu_count()} cores {cpu_model()} ({torch.backends.cpu.get_cpu_capability()}), {versions}"
    )
