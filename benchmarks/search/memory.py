"""Memory of the processes of a search: each worker's, and that of the corpus, which they share.

The measure is the proportional set size. A page that k processes share counts 1/k in each, so the sum over processes is
the memory in use. The corpus is in Ray's object store (/dev/shm), whose pages are summed separately.
"""

import contextlib
import statistics
import subprocess
import time
from typing import Any

import psutil


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
