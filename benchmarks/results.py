"""What several scripts share: options, verdicts on claims, tables, results of steps, files with one result per line."""

import argparse
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from threadpoolctl import threadpool_limits

REFERENCE = Path(__file__).parents[1] / "results/reference"
"""Folder of the published tables, and of the results and recordings that they are made of."""
Result = dict[str, Any]


def new_parser(description: str | None, quick: str | None = None) -> argparse.ArgumentParser:
    """Return a parser whose --help shows the docstring of a script as it is.

    Args:
        description: The docstring.
        quick: Help of --quick; None without this option.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if quick:
        parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def verdict(holds: bool, *, conclusive: bool = True) -> str:
    """Return the end of a claim's line; the short form of a script does not decide."""
    return "run too small to decide" if not conclusive else "holds" if holds else "DOES NOT HOLD"


def mean_and_error(values: Sequence[float]) -> str:
    """Format a mean with its standard error, which one value does not have."""
    error = f" +- {stdev(values) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{fmean(values):+.2f}{error}"


def table_row(cells: Iterable[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def table_head(columns: Sequence[str]) -> list[str]:
    """Return the first two rows of a Markdown table."""
    return [table_row(columns), "| --- " * len(columns) + "|"]


def run_step(module: str, *words: str) -> Result:
    """Run a module in a fresh process with one thread; return the JSON in the last line of its output."""
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return dict(json.loads(done.stdout.splitlines()[-1]))


def process_pool(processes: int) -> ProcessPoolExecutor:
    """Return a pool of processes of one thread. A forked process has numpy already, so OMP_NUM_THREADS is too late."""
    return ProcessPoolExecutor(processes, initializer=threadpool_limits, initargs=(1,))


def run_in_processes(work: Callable[[Any], Result], jobs: Iterable[Any], processes: int) -> Iterator[Result]:
    """Call `work` with each job in processes of one thread; yield the results as they finish."""
    jobs = list(jobs)  # before the processes are forked, so that they have the data that this loads
    with process_pool(processes) as pool:
        for future in as_completed([pool.submit(work, job) for job in jobs]):
            yield future.result()


def read_results(path: Path) -> list[Result]:
    """Return all results so far, without the partial last line of an interrupted command."""
    content = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def has_result(path: Path, what: Mapping[str, Any]) -> bool:
    """Return whether a result with these values has been recorded."""
    return any(what.items() <= result.items() for result in read_results(path))


def add_result(path: Path, result: Result) -> None:
    """Append a line, after the last whole one; other processes may do so at the same time."""
    with path.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(result).encode() + b"\n")


def measure_missing(
    path: Path,
    jobs: Iterable[Mapping[str, Any]],
    measure: Callable[[Any], Result],
    *,
    processes: int | None = None,
) -> None:
    """Measure the jobs that have no result yet; print each result and add it to the file.

    Args:
        path: File of the results.
        jobs: Arguments of `measure`.
        measure: Called with each job; returns its result, in which the job's values are.
        processes: Number of processes of one thread; None measures one job after another in this process.
    """
    missing = (job for job in jobs if not has_result(path, job))
    for result in run_in_processes(measure, missing, processes) if processes else map(measure, missing):
        print(json.dumps(result), flush=True)
        add_result(path, result)
