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
from typing import Any

import psutil

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
    found = [pss(worker) for worker in descendants(process.pid, "ray::Idle")]
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
        workers = descendants(process.pid, "ray::ImplicitFunc")
        for worker in workers:
            largest[worker.pid] = max(largest.get(worker.pid, 0.0), pss(worker))
        if len(workers) == 2:
            family = [psutil.Process(process.pid), *descendants(process.pid)]
            shared.append(sum(pss(each, mapped="/dev/shm/") for each in family))
        time.sleep(0.5)
    return list(largest.values()), statistics.median(shared or [0.0])


def descendants(pid: int, title: str = "") -> list[psutil.Process]:
    """Return the descendants of a process whose command line contains `title`."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # the process has ended
            if title in " ".join(child.cmdline()):
                found.append(child)
    return found


def pss(process: psutil.Process, mapped: str = "") -> float:
    """Return the proportional set size in bytes, or that of mappings under `mapped`; 0 if the process has ended."""
    with contextlib.suppress(psutil.Error):
        if not mapped:
            return float(process.memory_full_info().pss)
        return float(sum(each.pss for each in process.memory_maps(grouped=False) if each.path.startswith(mapped)))
    return 0.0


if __name__ == "__main__":
    main()
