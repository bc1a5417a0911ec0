"""Samplers, stopping rules and the price of order, replayed on recorded learning curves.

    python benchmarks/simulate.py            50 repeats of each way, on both spaces: half an hour on two cores
    python benchmarks/simulate.py --quick    5 repeats: shows that it works, not what holds

The curves are those of results/reference/curves.json.gz, see benchmarks/record_curves.py and benchmarks/simulation.py.
Each way is told the median of 50 searches, with the 10% and the 90% one beside it: epochs spent until the best so far
was within 0.3 points of the table's best, the accuracy after a third of all epochs that random search without stopping
needs for that, and the simulated seconds of the whole search. The last table is what order costs: wall time against
free asynchronous search with equal trials and stops. The last lines are the claims.
"""

import argparse
import dataclasses
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from simulation import Policy, Replayed, Simulation, Table, band, read_table

from tuning.stopping import Halving

CLOSE = 0.003
"""Within 0.3 points of the best."""
WORKERS = 2


def ways(trials: int) -> dict[str, Policy]:
    """What is compared: name -> policy."""
    default = Policy(sampler="tpe", stopping=Halving(), workers=WORKERS, trials=trials)
    found = {
        "random": Policy(workers=WORKERS, trials=trials),
        "random, halving": Policy(stopping=Halving(), workers=WORKERS, trials=trials),
        "random, Ray's asha": Policy(stopping=Halving(), ordered=False, workers=WORKERS, trials=trials),
        "one epoch, then the top eighth": Policy(workers=WORKERS, trials=trials, top_k=max(1, trials // 8)),
        "tpe": dataclasses.replace(default, stopping=None),
        "tpe, halving (the default)": default,
        "tpe, Ray's asha": dataclasses.replace(default, ordered=False),
        "tpe, halving, no constant liar": dataclasses.replace(default, constant_liar=False),
        "tpe, halving, 10 at random first": dataclasses.replace(default, startup=10),
        "qmc, halving": dataclasses.replace(default, sampler="qmc"),
    }
    for grace in (1, 2, 3):
        for reduction in (2, 3, 4):
            if (grace, reduction) != (2, 3):
                rule = Halving(grace=grace, reduction=reduction)
                found[f"tpe, halving, grace {grace}, reduction {reduction}"] = dataclasses.replace(
                    default, stopping=rule
                )
    for window in (2, 4, 16):
        found[f"tpe, halving, window {window}"] = dataclasses.replace(default, window=window)
    return found


def replay(table: Table, policy: Policy, seed: int) -> Replayed:
    return Simulation(table, policy, seed).run()


def compare(table: Table, repeats: int, pool: ProcessPoolExecutor) -> tuple[float, float]:
    """Print a row for each way; returns the median epochs of random search and of the default."""
    policies = ways(len(table.curves))
    runs = {name: list(pool.map(partial(replay, table, policy), range(repeats))) for name, policy in policies.items()}
    needs = {name: band([run.epochs_until(table.best - CLOSE) for run in found]) for name, found in runs.items()}
    third = int(needs["random"][1] / 3)
    print(f"{'way':40} {'epochs until close':>22}   {f'best after {third} epochs':>24}   {'seconds in all':>14}")
    for name, found in runs.items():
        after = band([run.best[min(third, len(run.best)) - 1] for run in found])
        whole = band([run.seconds[-1] for run in found])[1]
        print(f"{name:40} {spread(needs[name], '.0f'):>22}   {spread(after, '.4f'):>24}   {whole:14.0f}", flush=True)
    return needs["random"][1], needs["tpe, halving (the default)"][1]


def spread(values: Sequence[float], form: str) -> str:
    """`120 (80..300)`."""
    low, middle, high = ("never" if math.isinf(value) else format(value, form) for value in values)
    return f"{middle} ({low}..{high})"


def price(table: Table, repeats: int, pool: ProcessPoolExecutor) -> None:
    """Print wall time of ordered search over that of free search, by workers and window."""
    print(f"\n{'workers':>7}   {'window = workers':>16}   {'2 x':>6}   {'4 x':>6}   {'8 x':>6}")
    for workers in (2, 8, 32):
        base = Policy(stopping=Halving(), workers=workers, trials=len(table.curves))
        cells = []
        for factor in (1, 2, 4, 8):
            ordered = dataclasses.replace(base, window=factor * workers)
            runs = pool.map(partial(ordered_and_free, table, ordered), range(repeats))
            cells.append(band([slow / fast for slow, fast in runs])[1])
        print(f"{workers:7}   {cells[0]:16.3f}   " + "   ".join(f"{cell:6.3f}" for cell in cells[1:]), flush=True)


def ordered_and_free(table: Table, policy: Policy, seed: int) -> tuple[float, float]:
    """Seconds of a search, and of one that trains the same epochs of the same trials and waits for nothing."""
    ordered = Simulation(table, policy, seed).run()
    free = [0.0] * policy.workers
    for curve, epochs in zip(ordered.curves, ordered.epochs_by_trial, strict=True):
        at = free.index(min(free))
        free[at] += epochs * table.curves[curve].epochs[0].seconds
    return ordered.seconds[-1], max(free)


def main() -> None:
    arguments = parse()
    repeats = arguments.repeats or (5 if arguments.quick else 50)
    claims = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for name in ("notebook", "default"):
            table = read_table(arguments.curves, name)
            print(f"\nspace {name}: {len(table.curves)} curves of {table.epochs} epochs, best {table.best:.4f}")
            claims.append((name, *compare(table, repeats, pool)))
            price(table, repeats, pool)
    print()
    for name, random, default in claims:
        verdict = (
            "too few repeats to tell" if arguments.quick else "holds" if default <= random / 3 else "DOES NOT HOLD"
        )
        print(f"{name}: within 0.3 points after {default:.0f} epochs, random after {random:.0f}: a third {verdict}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 repeats")
    parser.add_argument("--repeats", type=int, help="50 unless --quick")
    parser.add_argument("--processes", type=int, default=2)
    default = Path(__file__).parents[1] / "results/reference/curves.json.gz"
    parser.add_argument("--curves", type=Path, default=default, help="from record_curves.py")
    return parser.parse_args()


if __name__ == "__main__":
    main()
