"""Run studies with simulated faults.

    python -m tests.simulator --seeds 1000                    seeds 0 to 999; prints how often each fault happened
    python -m tests.simulator --seeds 1000 --first 5000       seeds 5000 to 5999
    python -m tests.simulator --seed 17                       one seed

Exit code 1 if a study ended in another way than the undisturbed one; each such seed is printed.
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.simulator.faults import run_seeds

CHUNK = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="Run this seed alone.")
    parser.add_argument("--seeds", type=int, default=1000, help="Number of seeds (default: 1000).")
    parser.add_argument("--first", type=int, default=0, help="The first seed (default: 0).")
    parser.add_argument("--processes", type=int, default=2, help="Number of processes (default: 2).")
    arguments = parser.parse_args()
    began = time.monotonic()
    first, count = (arguments.first, arguments.seeds) if arguments.seed is None else (arguments.seed, 1)
    last = first + count
    chunks = [range(at, min(at + CHUNK, last)) for at in range(first, last, CHUNK)]
    differences, counts = list[str](), Counter[str]()
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        for found, happened in pool.map(run_seeds, chunks):
            differences += found
            counts += happened
            for line in found:
                print(line, flush=True)
    print(f"{count} seeds in {time.monotonic() - began:.0f} s: {len(differences)} differ")
    print("\n".join(f"{count:>9} {name}" for name, count in sorted(counts.items())))
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
