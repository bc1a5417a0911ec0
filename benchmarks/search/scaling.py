"""How much faster is a search with two workers, or with two threads per trial?

    python -m benchmarks.search.scaling            three rounds, about 10 minutes on two cores
    python -m benchmarks.search.scaling --quick    one round of fewer and shorter trials: shows that it works

One worker with one thread, two workers with one thread each, and one worker with two threads run the same 8 trials in
turn. All trials have the size of the tutorial notebook's model, so the work divides evenly. They differ in learning
rate and dropout. `trials` is the time from the first trial's start to the last one's end in the journal. `command` is
the time of the whole command, including Ray's start and the data. Use an idle machine.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.baselines.sentune_studies import run_sentune, trial_span
from benchmarks.results import new_parser, table_head, verdict
from tuning.journal.records import read_study

WAYS = {"1 worker x 1 thread": (1, 1), "2 workers x 1 thread": (2, 1), "1 worker x 2 threads": (1, 2)}
TRIALS = 8
CLAIM = 1.7
"""Claimed speed-up of two workers."""
SAME_SIZE = ("--set", "n_layers=2", "--set", "hidden_dim=128", "--set", "freeze_embedding=false")


def main() -> None:
    arguments = new_parser(__doc__, "Run one round of 2 trials of one epoch.").parse_args()
    rounds, trials, epochs = (1, 2, 1) if arguments.quick else (3, TRIALS, 4)
    print(f"{trials} trials of {epochs} epochs on the snippets, {rounds} rounds in turn, {os.cpu_count()} cores")
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, (workers, threads) in WAYS.items():
            found[way].append(run_trials(workers, threads, trials, epochs))
    base = found["1 worker x 1 thread"]
    speed_ups = ("speed-up (trials)", "range over rounds", "speed-up (command)")
    print("", *table_head(("workers", "trials, s", "command, s", *speed_ups)), sep="\n")
    speed = {}
    for way, times in found.items():
        ratios = [old[0] / new[0] for old, new in zip(base, times, strict=True)]
        whole = statistics.median(old[1] / new[1] for old, new in zip(base, times, strict=True))
        speed[way] = statistics.median(ratios)
        searching, command = (statistics.median(each) for each in zip(*times, strict=True))
        print(
            f"| {way} | {searching:.1f} | {command:.1f} | {speed[way]:.2f} | {min(ratios):.2f} to {max(ratios):.2f} "
            f"| {whole:.2f} |"
        )
    reached = speed["2 workers x 1 thread"]
    end = verdict(reached >= CLAIM, conclusive=not arguments.quick)
    print(f"\ntwo workers are {reached:.2f} times as fast as one, at least {CLAIM} claimed: {end}")


def run_trials(workers: int, threads: int, trials: int, epochs: int) -> tuple[float, float]:
    """Return the seconds of the trials and of the whole command."""
    with tempfile.TemporaryDirectory(prefix="sentune-scaling-") as folder:
        began = time.perf_counter()
        run_sentune(
            "run", "snippets", "--space", "notebook", *SAME_SIZE, "--trials", str(trials), "--epochs", str(epochs),
            "--stopping", "none", "--parallelism", "2", "--workers", str(workers), "--cpus-per-trial", str(threads),
            "--results", folder, "--name", "s",
        )  # fmt: skip
        seconds = time.perf_counter() - began
        return trial_span(read_study(Path(folder) / "s")[1]), seconds


if __name__ == "__main__":
    main()
