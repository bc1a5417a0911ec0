"""Record many trainings in several processes: one line per finished one, one compressed file at the end."""

import gzip
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Result, add_result, read_results, run_in_processes
from core.io.atomic import atomic_write

Finished = Result
"""One training as JSON: what identifies its job, and `curve`, a list of numbers for each epoch."""


def record_all(
    path: Path,
    about: dict[str, Any],
    jobs: Iterable[dict[str, Any]],
    identity: Sequence[str],
    train: Callable[[dict[str, Any]], Finished],
    processes: int,
) -> list[Finished]:
    """Train the jobs that are not finished, in order; return all finished trainings in the order of the jobs.

    Each finished training is a line of `PATH.part`, and `write_recording` removes this file. The same command continues
    an interrupted recording.

    Args:
        path: Name of the recording.
        about: What all trainings depend on. A file of other values is not continued.
        jobs: Arguments of `train`.
        identity: Names that identify a job, in the job and in its finished training.
        train: Called in another process with each job.
        processes: Number of processes.
    """
    jobs = list(jobs)
    names = [tuple(job[name] for name in identity) for job in jobs]
    done = {tuple(each[name] for name in identity): each for each in read_finished(path, about)}
    waiting = [job for job, name in zip(jobs, names, strict=True) if name not in done]
    print(f"{len(jobs) - len(waiting)} trainings finished, {len(waiting)} left", flush=True)
    for number, found in enumerate(run_in_processes(train, waiting, processes), 1):
        name = tuple(found[each] for each in identity)
        done[name] = found
        add_result(_part(path), found)
        best = max((epoch[0] for epoch in found["curve"]), default=0.0)
        label = " ".join(map(str, name))
        print(f"{number}/{len(waiting)} {label}: {best:.4f}, {found['seconds']:.1f} s per epoch", flush=True)
    return [done[name] for name in names]


def read_finished(path: Path, about: dict[str, Any]) -> list[Finished]:
    """Return the finished trainings of an interrupted recording, or of a complete one that can become longer.

    What another command left is replaced.
    """
    lines = read_results(_part(path))
    if not lines or lines[0] != about:
        content = read_recording(path) if path.exists() else {}
        lines = [about, *(content["curves"] if about.items() <= content.items() else [])]
        atomic_write(_part(path), "".join(json.dumps(line) + "\n" for line in lines).encode())
    return lines[1:]


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def write_recording(path: Path, module: str, content: dict[str, Any]) -> None:
    """Write a compressed JSON file, with the command first; remove its part file."""
    command = f"python -m {module} {shlex.join(sys.argv[1:])}".strip()
    text = json.dumps({"command": command, **content}, separators=(",", ":"))
    atomic_write(path, gzip.compress(text.encode(), mtime=0))
    _part(path).unlink(missing_ok=True)
    print(f"{path}: {len(content['curves'])} curves, {path.stat().st_size:,} bytes")


def read_recording(path: Path) -> dict[str, Any]:
    """Return the content of a file of `write_recording`."""
    content: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return content
