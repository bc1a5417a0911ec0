"""Does a study take as long as `sentune plan` forecasts?

    python -m benchmarks.search.forecast_accuracy            about 25 minutes on two cores
    python -m benchmarks.search.forecast_accuracy --quick    a tiny study: shows that it works, not what holds

Four different studies are first planned, then run. The real time is that of the whole command. Use an idle machine.
results/reference/forecast_accuracy.md keeps the table.
"""

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.baselines.sentune_studies import run_sentune
from benchmarks.results import new_parser, table_head, verdict
from tuning.journal.records import read_study

STUDIES: dict[str, Sequence[str]] = {
    "quick space, 16 trials, asha, two workers": (
        "--trials", "16", "--epochs", "8", "--workers", "2", "--parallelism", "2",
    ),
    "notebook space, 8 trials, no stopping, random vectors": (
        "--space", "notebook", "--vectors", "none", "--embedding-dim", "100", "--trials", "8", "--epochs", "4",
        "--stopping", "none",
    ),
    "default space, 10 trials, asha, one worker with two threads": (
        "--space", "default", "--set", "hidden_dim=int(64,192,log)", "--trials", "10", "--epochs", "5",
        "--workers", "1", "--cpus-per-trial", "2",
    ),
    "small models, 40 trials, patience, bf16": (
        "--set", "hidden_dim=int(16,64,log)", "--set", "n_layers=1", "--trials", "40", "--epochs", "6",
        "--patience", "2", "--precision", "bf16",
    ),
}  # fmt: skip
QUICK: dict[str, Sequence[str]] = {
    "tiny, 6 trials": ("--set", "hidden_dim=16", "--set", "n_layers=1", "--trials", "6", "--epochs", "2"),
}
CLAIM = 3
"""Number of intervals, out of four, that must contain the real time."""


def main() -> None:
    studies = QUICK if new_parser(__doc__, "Run a tiny study.").parse_args().quick else STUDIES
    print(f"{os.cpu_count()} cores; seconds\n")
    memory = "memory of a worker planned, MB"
    columns = ("study", "planned", "real", "inside", "epochs planned", "real", memory, "probe, s")
    print(*table_head(columns), sep="\n")
    inside = 0
    for name, words in studies.items():
        plan, seconds, epochs = plan_and_run(words)
        worker = plan["memory_bytes"]["worker"] / 1e6
        holds = plan["seconds"]["low"] <= seconds <= plan["seconds"]["high"]
        inside += holds
        print(
            f"| {name} | {spread(plan['seconds'])} | {seconds:.0f} | {'yes' if holds else 'NO'} "
            f"| {spread(plan['epochs'])} | {epochs} | {worker:.0f} | {plan['probe']['seconds']:.0f} |",
            flush=True,
        )
    end = verdict(inside >= CLAIM, conclusive=studies is STUDIES)
    print(f"\n{inside} of {len(studies)} intervals contain the real time, at least {CLAIM} of 4 claimed: {end}")


def plan_and_run(words: Sequence[str]) -> tuple[dict[str, Any], float, int]:
    """Return the plan, and the seconds and epochs that the study took."""
    with tempfile.TemporaryDirectory(prefix="sentune-plans-") as folder:
        options = ["snippets", *words, "--results", folder, "--name", "s"]
        said = run_sentune("plan", *options, "--format", "json")
        began = time.perf_counter()
        run_sentune("run", *options)
        seconds = time.perf_counter() - began
        records = read_study(Path(folder) / "s")[1]
        return json.loads(said), seconds, sum(len(r.epochs) for r in records if r.copy_of is None)


def spread(interval: dict[str, float]) -> str:
    return f"{interval['middle']:.0f} ({interval['low']:.0f} to {interval['high']:.0f})"


if __name__ == "__main__":
    main()
