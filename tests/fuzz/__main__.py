"""Give the program generated bad inputs: command lines, damaged files, calls of the Python API.

    python -m tests.fuzz --count 10000    cases 0 to 9999; prints each fault and a summary
    python -m tests.fuzz --cases 17 99    these cases, with their messages

Exit code 1 if there is a fault: a traceback, a message of another form than one line, a case that hangs, or a file that
was overwritten. The same seed and number give the same case.
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter

from tests.fuzz.runner import begin, run_chunk

HANG_SECONDS = 20.0
CHUNK = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", help="Run these cases alone.")
    parser.add_argument("--count", type=int, default=1000, help="Number of cases (default: 1000).")
    parser.add_argument("--seed", type=int, default=0, help="Seed of all cases (default: 0).")
    parser.add_argument(
        "--seconds", type=float, default=HANG_SECONDS, help="Maximum processor time of a case (default: 20)."
    )
    parser.add_argument("--processes", type=int, default=2, help="Number of processes (default: 2).")
    parser.add_argument("--first", type=int, default=0, help="Number of the first case (default: 0).")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text may hold half a pair
    began = time.monotonic()
    numbers = arguments.cases or range(arguments.first, arguments.first + arguments.count)
    chunks = [(arguments.seed, numbers[at : at + CHUNK], arguments.seconds) for at in range(0, len(numbers), CHUNK)]
    outcomes, verbs, faults = Counter[str](), Counter[str](), 0
    with multiprocessing.get_context("spawn").Pool(min(arguments.processes, len(chunks)), begin) as pool:
        for found in pool.imap_unordered(run_chunk, chunks):
            for number, (verb, text, ended) in found.items():
                outcomes[ended.outcome] += 1
                verbs[verb] += 1
                faults += ended.fault is not None
                if ended.fault is not None or arguments.cases:
                    print(f"case {number}: {text}\n  {ended.fault or ended.message}", flush=True)
        pool.close()  # else it sends SIGTERM, which a command that ran there handles
        pool.join()
    parts = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    print(
        f"{len(numbers)} inputs of seed {arguments.seed} in {time.monotonic() - began:.0f} s: {parts}; {faults} faults"
    )
    print(", ".join(f"{verb} {count}" for verb, count in sorted(verbs.items())))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
