"""What several scripts report: verdicts on claims, means, results of steps, and files that hold one result per line."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

Result = dict[str, Any]


def verdict(holds: bool, *, conclusive: bool = True) -> str:
    """Return the end of a claim's line; the short form of a script does not decide."""
    return "run too small to decide" if not conclusive else "holds" if holds else "DOES NOT HOLD"


def mean_and_error(values: Sequence[float]) -> str:
    """Format a mean with its standard error, which one value does not have."""
    error = f" +- {stdev(values) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{fmean(values):+.2f}{error}"


def run_step(module: str, *words: str) -> Result:
    """Run a module in a fresh process with one thread; return the JSON in the last line of its output."""
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return dict(json.loads(done.stdout.splitlines()[-1]))


def read_results(path: Path) -> list[Result]:
    """Return all results so far; cut off the partial last line of an interrupted command."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(path, len(whole))
    return [json.loads(line) for line in whole.splitlines()]


def has_result(path: Path, what: Mapping[str, Any]) -> bool:
    """Return whether a result with these values has been recorded."""
    return any(what.items() <= result.items() for result in read_results(path))


def add_result(path: Path, result: Result) -> None:
    """Append a line."""
    with path.open("a") as file:
        file.write(json.dumps(result) + "\n")
