"""How soon does a search on a million sentences report, and in how much memory?

    python -m benchmarks.search.first_result             100,000 and 1,000,000 sentences: a quarter of an hour
    python -m benchmarks.search.first_result --quick     1,000 and 10,000 sentences: shows that it works

`sentune run` starts with an empty cache: 16 trials of the space `quick`, GloVe vectors, distinct combinations of real
sentences (benchmarks.inputs.many_sentences). It is interrupted once two epochs are recorded; the first one is a result
at the first rung. Memory is the peak of each process, including shared pages. The processor time of the path is that of
the driver and of the busier worker until the first result. It is the wait on two free cores.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.inputs.many_sentences import write_many
from benchmarks.results import verdict
from benchmarks.search.memory import descendants, workers_of
from tuning.journal.file import JOURNAL

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
    arguments = parse()
    sizes = arguments.sizes
    found = {size: first_result(size) for size in sizes}
    print(f"| sentences | {' | '.join(COLUMNS.values())} |\n|{' --- |' * (1 + len(COLUMNS))}")
    for size, figures in found.items():
        print(f"| {size:,} | {' | '.join(f'{figures[name]:,.0f}' for name in COLUMNS)} |")
    first, last = found[sizes[0]], found[sizes[-1]]
    growth = last["driver"] / first["driver"]
    claims = {
        f"the driver's peak grows {growth:.1f}-fold, at most {MAX_GROWTH}": growth <= MAX_GROWTH,
        f"the first result takes {last['path']:,.0f} s, at most {MAX_SECONDS}": last["path"] <= MAX_SECONDS,
    }
    for claim, holds in claims.items():
        print(f"{claim}: {verdict(holds, conclusive=not arguments.quick)}")


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
                workers = workers_of(process.pid, "ray::ImplicitFunc")
                groups = {"driver": [process.pid], "worker": workers, "plain": plain_fits(process.pid)}
                for name, pids in groups.items():
                    peaks[name] = max([peaks[name], *map(peak_mb, pids)])
                if not found and workers and n_epochs(home / "s" / JOURNAL):
                    path = processor_seconds(process.pid) + max(map(processor_seconds, workers))
                    found = {"seconds": time.perf_counter() - began, "path": path}
                time.sleep(0.5)
        finally:
            for _ in range(2):  # the second one does not wait for the running epochs
                process.send_signal(signal.SIGINT)
                time.sleep(1)
            process.wait()
        if not found:
            raise SystemExit("the search ended before its first epoch")
        return peaks | found


def n_epochs(journal: Path) -> int:
    """Return the number of epochs that have been recorded."""
    return journal.read_bytes().count(b'"epoch:') if journal.is_file() else 0


def plain_fits(driver: int) -> Sequence[int]:
    """Return the processes that fit the plain baseline."""
    return [pid for pid in descendants(driver) if "tuning.plain_fit" in read(pid, "cmdline")]


def peak_mb(pid: int) -> float:
    """Return the peak memory of a process; 0 if it has ended."""
    lines = [line for line in read(pid, "status").splitlines() if line.startswith("VmHWM:")]
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines)


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process; 0 if it has ended."""
    fields = read(pid, "stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def read(pid: int, name: str) -> str:
    """Return what the kernel says about a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Use 1,000 and 10,000 sentences.")
    parser.add_argument("--sizes", type=int, nargs="+", help="Sizes to measure instead, in ascending order.")
    arguments = parser.parse_args()
    arguments.sizes = arguments.sizes or ([1_000, 10_000] if arguments.quick else [100_000, 1_000_000])
    return arguments


if __name__ == "__main__":
    main()
