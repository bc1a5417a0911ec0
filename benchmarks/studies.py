"""A study made by the real command, its winner retrained, and what both came to."""

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

import torch

from core.nn.environment import cpu_model
from tuning.journal.records import TrialRecord, rank_trials, read_study


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study that is complete."""

    seconds: float
    """Of the whole `sentune run`."""
    trials: Sequence[TrialRecord]
    """Those that were trained: without failed ones, and without copies of earlier ones."""
    val_accuracy: float
    """The best trial's."""
    test_accuracy: float
    """Of the best trial, retrained."""
    verdict: str
    """What `sentune retrain` said first about it."""


def run_study(folder: Path, name: str, words: Sequence[str]) -> Study:
    """`sentune run` with these words, then `sentune retrain`."""
    began = time.perf_counter()
    said_by("run", *words, "--results", str(folder), "--name", name)
    seconds = time.perf_counter() - began
    records = read_study(folder / name)[1]
    said = said_by("retrain", str(folder / name), "--out", str(folder / f"{name}-model"))
    best = rank_trials(records)[0].best
    assert best is not None  # ranked trials have one
    return Study(
        seconds=seconds,
        trials=[r for r in records if r.state in ("COMPLETE", "PRUNED") and r.copy_of is None],
        val_accuracy=best.val_accuracy,
        test_accuracy=json.loads((folder / f"{name}-model" / "metrics.json").read_text())["test_accuracy"],
        verdict=verdict_in(said),
    )


def said_by(*words: str) -> str:
    """What a verb printed."""
    command = [sys.executable, "-m", "tuning", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def verdict_in(said: str) -> str:
    """The part of `retrain`'s output that says whether the trial came out the same."""
    return next(line for line in said.splitlines() if "REPRODUCED" in line)


def seconds_an_epoch(trials: Sequence[TrialRecord]) -> float:
    """Of a trial, each trial counting the same."""
    return statistics.fmean(trial.seconds / len(trial.epochs) for trial in trials)


def spread_sample(trials: Sequence[TrialRecord], count: int) -> list[TrialRecord]:
    """So many trials from cheap to dear: the middle one of each of `count` equal parts by seconds an epoch."""
    ordered = sorted(trials, key=lambda trial: trial.seconds / len(trial.epochs))
    return [ordered[int((part + 0.5) * len(ordered) / count)] for part in range(count)]


def machine() -> str:
    """Date, machine and versions, for a table's heading."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna"))
    return (
        f"{date.today()}, {os.cpu_count()} cores {cpu_model()} ({torch.backends.cpu.get_cpu_capability()}), {versions}"
    )
