"""How much memory do two workers and their copy of the corpus take?

    python -m benchmarks.search.memory    one or two minutes on two cores

First, two Ray actors that have only imported torch are measured. Then the workers of `sentune run` on the snippets with
GloVe vectors are measured twice per second while they train. The measure is the proportional set size. A page that k
processes share counts 1/k in each, so the sum over processes is the memory in use. The corpus is in Ray's object store
(/dev/shm). Its pages are summed separately, over all processes.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.results import verdict
from core import load_corpus

MORE_THAN_TORCH = 250e6
"""Maximum bytes of a worker beyond one that has only imported torch."""
COPIES = 1.2
"""Maximum total bytes as a multiple of the corpus: one copy, and Ray's headers and page ends."""
IDLE = """
from tuning.backend.local_ray import local_ray
from tuning.resources.machine import Machine
class Idle:
    def ready(self):
        import torch
        return True
with local_ray(Machine(cpus=2, gpus=0), print) as ray:
    idle = [ray.remote(Idle).remote() for _ in range(2)]
    ray.get([each.ready.remote() for each in idle])
    print("ready", flush=True)
    input()
"""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    corpus = load_corpus("snippets", vectors="glove-50d")
    torch_only = idle_workers()
    workers, shared = training_workers()
    corpus_bytes = corpus.n_bytes
    print(f"a worker that has only imported torch: {torch_only / 1e6:.0f} MB")
    print(f"a worker that trains, at its peak:     {max(workers) / 1e6:.0f} MB")
    print(f"the corpus: {corpus_bytes / 1e6:.1f} MB; in the object store, all processes: {shared / 1e6:.1f} MB\n")
    more = max(workers) - torch_only
    at_most = f"at most {MORE_THAN_TORCH / 1e6:.0f}"
    claims = {
        f"a worker holds {more / 1e6:.0f} MB more than torch, {at_most}": more <= MORE_THAN_TORCH,
        f"{shared / corpus_bytes:.2f} copies of the corpus in total, at most {COPIES}": shared <= COPIES * corpus_bytes,
    }
    for claim, holds in claims.items():
        print(f"{claim}: {verdict(holds)}")


def idle_workers() -> float:
    """Return the bytes of the larger of two idle actors."""
    command = [sys.executable, "-c", IDLE]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    found = [pss(worker) for worker in workers_of(process.pid, "ray::Idle")]
    process.communicate("\n")
    return max(found)


def training_workers() -> tuple[list[float], float]:
    """Return the peak bytes of each worker of a search, and the bytes of the object store's pages."""
    with tempfile.TemporaryDirectory(prefix="sentune-memory-") as folder:
        command = [
            sys.executable, "-m", "tuning", "run", "snippets", "--trials", "4", "--epochs", "3", "--stopping", "none",
            "--workers", "2", "--results", folder, "--name", "s",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        workers, shared = memory_of_search(process)
        assert process.returncode == 0
        return workers, shared


def memory_of_search(process: subprocess.Popen[Any]) -> tuple[list[float], float]:
    """Wait for a search; return the peak bytes of each worker, and the bytes of the object store's pages.

    The latter are summed over all processes: the median over samples with two workers, or 0 if there were none. A
    process that starts to read during a sample makes the sum too large.
    """
    largest: dict[int, float] = {}
    shared: list[float] = []
    while process.poll() is None:
        family = [process.pid, *descendants(process.pid)]
        workers = workers_of(process.pid, "ray::ImplicitFunc")
        for worker in workers:
            largest[worker] = max(largest.get(worker, 0.0), pss(worker))
        if len(workers) == 2:
            shared.append(sum(pss(each, mapped="/dev/shm/") for each in family))
        time.sleep(0.5)
    return list(largest.values()), statistics.median(shared or [0.0])


def workers_of(driver: int, title: str) -> list[int]:
    """Return the processes under `driver` whose title starts with `title`."""
    found = []
    for child in descendants(driver):
        with contextlib.suppress(OSError):  # the process has ended
            if Path(f"/proc/{child}/cmdline").read_text().startswith(title):
                found.append(child)
    return found


def descendants(pid: int) -> list[int]:
    """Return all descendants of a process."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


def pss(pid: int, mapped: str | None = None) -> float:
    """Return the proportional set size in bytes, or that of mappings under `mapped`; 0 if the process has ended."""
    try:
        if mapped is None:
            return total(Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())
        lines, inside = [], False
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            if "-" in line.split(" ", 1)[0]:
                inside = mapped in line
            elif inside:
                lines.append(line)
        return total(lines)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0.0


def total(lines: Iterable[str]) -> float:
    return sum(1024.0 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
