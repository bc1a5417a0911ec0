"""How soon does a search on a million sentences report, and in how much memory?

    python -m benchmarks.search.first_result             100,000 and 1,000,000 sentences: a quarter of an hour
    python -m benchmarks.search.first_result --quick     1,000 and 10,000 sentences: shows that it works

`sentune run` starts with an empty cache: 16 trials of the space `quick`, GloVe vectors, distinct combinations of real
sentences (benchmarks.inputs.many_sentences). It is interrupted once two epochs are recorded; the first one is a result
at the first rung. Memory is the peak of each process, including shared pages. The processor time of the path is that of
the driver and of the busier worker until the first result. It is the wait on two free cores.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.inputs.many_sentences import write_many
from benchmarks.results import new_parser, table_head, table_row, verdict
from tuning.journal.folder import JOURNAL

SIZES = [100_000, 1_000_000]
MAX_GROWTH = 6
"""Maximum ratio of the driver's peaks at ten times as many sentences."""
MAX_SECONDS = 600
"""Maximum processor time until the first result of the largest size."""
COLUMNS = {
    "driver": "driver, MB",
    "worker": "largest worker, MB",
    "plain": "plain baseline, MB",
    "path": "processor s of the path",
    "seconds": "wall s",
}


def main() -> None:
    sizes = [1_000, 10_000] if new_parser(__doc__, "Use 1,000 and 10,000 sentences.").parse_args().quick else SIZES
    found = {size: first_result(size) for size in sizes}
    print(*table_head(("sentences", *COLUMNS.values())), sep="\n")
    for size, figures in found.items():
        print(table_row((f"{size:,}", *(f"{figures[name]:,.0f}" for name in COLUMNS))))
    first, last = found[sizes[0]], found[sizes[-1]]
    growth = last["driver"] / first["driver"]
    claims = {
        f"the driver's peak grows {growth:.1f}-fold, at most {MAX_GROWTH}": growth <= MAX_GROWTH,
        f"the first result takes {last['path']:,.0f} s, at most {MAX_SECONDS}": last["path"] <= MAX_SECONDS,
    }
    for claim, holds in claims.items():
        print(f"{claim}: {verdict(holds, conclusive=sizes == SIZES)}")


def first_result(count: int) -> dict[str, float]:
    """Run a search until two epochs have ended, then interrupt it."""
    with tempfile.TemporaryDirectory(prefix="sentune-first-") as folder:
        home = Path(folder)
        write_many(home / "many.csv", count)
        command = [sys.executable, "-m", "tuning", "run", str(home / "many.csv"), "--vectors", "glove-50d"]
        command += ["--space", "quick", "--trials", "16", "--workers", "2", "--results", folder, "--name", "s"]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"SENTUNE_CACHE": folder})
        peaks = {"driver": 0.0, "worker": 0.0, "plain": 0.0}
        found: dict[str, float] = {}
        try:
            while process.poll() is None and (not found or n_epochs(home / "s" / JOURNAL) < 2):
                driver, workers = psutil.Process(process.pid), descendants(process.pid, "ray::ImplicitFunc")
                plain_fits = descendants(process.pid, "tuning.plain_fit")
                for name, each in {"driver": [driver], "worker": workers, "plain": plain_fits}.items():
                    peaks[name] = max([peaks[name], *map(peak_mb, each)])
                if not found and workers and n_epochs(home / "s" / JOURNAL):
                    path = processor_seconds(driver) + max(map(processor_seconds, workers))
                    found = {"seconds": time.perf_counter() - began, "path": path}
                time.sleep(0.5)
        finally:
            for _ in range(2):  # the second one does not wait for the running epochs
                process.send_signal(signal.SIGTERM)
                time.sleep(1)
            process.wait()
        if not found:
            raise SystemExit("the search ended before its first epoch")
        return peaks | found


def descendants(pid: int, title: str = "") -> list[psutil.Process]:
    """Return the descendants of a process whose command line contains `title`."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # the process has ended
            if title in " ".join(child.cmdline()):
                found.append(child)
    return found


def n_epochs(journal: Path) -> int:
    """Return the number of epochs that have been recorded."""
    return journal.read_bytes().count(b'"epoch:') if journal.is_file() else 0


def peak_mb(process: psutil.Process) -> float:
    """Return the peak memory of a process, which psutil does not know on Linux; 0 if it has ended."""
    with contextlib.suppress(OSError):
        if peak := re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text()):
            return int(peak[1]) * 1024 / 1e6
    return 0.0


def processor_seconds(process: psutil.Process) -> float:
    """Return the processor time of a process; 0 if it has ended."""
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


if __name__ == "__main__":
    main()
