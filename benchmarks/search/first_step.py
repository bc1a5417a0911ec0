"""How long does a search take until it trains, with a warm cache?

    python -m benchmarks.search.first_step                    5 rounds, about two minutes
    python -m benchmarks.search.first_step --against COMMIT   also that commit's code, in turn with this one's
    python -m benchmarks.search.first_step --quick            one round: shows that it works

Each command searches the snippets with two workers: 4 trials of 1 epoch, in a new results folder. `first result` is the
time from the start of the command until the journal holds an epoch. `first step` is that time less the seconds of the
epoch, which is when training began. `command` is the time of the whole command. Use an idle machine.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.results import new_parser, table_head, table_row, verdict
from tuning.journal.folder import JOURNAL

ROOT = Path(__file__).parents[2]
CLAIM = 6.0
"""Claimed seconds until the first step, on two idle cores."""
SEARCH = ["snippets", "--trials", "4", "--epochs", "1", "--workers", "2"]


class Times(NamedTuple):
    """Seconds from the start of a command."""

    first_step: float
    first_result: float
    command: float


def main() -> None:
    parser = new_parser(__doc__, "Run one round.")
    parser.add_argument("--rounds", type=int, default=5, help="Number of rounds.")
    parser.add_argument("--against", metavar="COMMIT", help="Another commit of this repository.")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    with tempfile.TemporaryDirectory(prefix="sentune-first-step-") as folder:
        codes = {"this code": ROOT}
        if arguments.against:
            codes[arguments.against] = unpack(arguments.against, Path(folder) / "compared-commit")
        for code in codes.values():
            run_search(code, Path(folder) / "warm")  # fills the cache, and the disk's
        found: dict[str, list[Times]] = {name: [] for name in codes}
        for number in range(rounds):
            for name, code in codes.items():
                found[name].append(run_search(code, Path(folder) / f"{number}"))
    print(f"{' '.join(SEARCH)}: {os.cpu_count()} cores, {rounds} rounds; medians and ranges in seconds\n")
    print(*table_head(("code", "first step", "first result", "command")), sep="\n")
    for name, times in found.items():
        print(table_row((name, *(summary(column) for column in zip(*times, strict=True)))))
    reached = statistics.median(times.first_step for times in found["this code"])
    end = verdict(reached <= CLAIM, conclusive=not arguments.quick)
    print(f"\nthe first step begins after {reached:.1f} s, at most {CLAIM:g} claimed: {end}")


def summary(seconds: tuple[float, ...]) -> str:
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def unpack(commit: str, folder: Path) -> Path:
    """Write the packages of a commit into a new folder."""
    folder.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, "core", "tuning"], check=True, stdout=subprocess.PIPE
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def run_search(code: Path, results: Path) -> Times:
    """Run the search once with the packages in `code`."""
    command = [sys.executable, "-m", "tuning", "run", *SEARCH, "--results", str(results), "--name", code.name]
    journal = results / code.name / JOURNAL
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, cwd=code, env=os.environ | {"PYTHONPATH": str(code)}
    ) as process:
        seen: list[tuple[float, float]] = []  # (time of a result, seconds of its epoch)
        while process.poll() is None:
            epochs = list(first_epochs(journal))
            seen += [(time.perf_counter() - began, seconds) for seconds in epochs[len(seen) :]]
            time.sleep(0.02)
    if process.returncode or not seen:
        raise SystemExit(f"{' '.join(command)} ended with code {process.returncode}")
    first_step = min(moment - seconds for moment, seconds in seen)
    return Times(first_step, seen[0][0], time.perf_counter() - began)


def first_epochs(journal: Path) -> Iterator[float]:
    """Yield the seconds of the first epoch of each trial, in the order of the journal."""
    if not journal.is_file():
        return
    for line in journal.read_bytes().splitlines():
        if b'"epoch:1"' in line:
            attributes: dict[str, Any] = json.loads(line)["user_attr"]
            yield attributes["epoch:1"]["seconds"]


if __name__ == "__main__":
    main()
