"""Which sampler and stopping rule find a good setting in the fewest epochs?

    python -m benchmarks.simulation.compare_policies           the default against its baselines, 50 repeats: minutes
    python -m benchmarks.simulation.compare_policies --grid    also the alternatives that decided the defaults (sampler,
                                                               constant liar, start-up, grace, reduction, window):
                                                               a quarter of an hour on two cores
    python -m benchmarks.simulation.compare_policies --quick   5 repeats: shows that it works, not what holds
    python -m benchmarks.simulation.compare_policies --workers 64    with 64 simulated workers

Searches are replayed on recorded learning curves (results/reference/curves.json.gz; see record_curves.py and
replay.py). For each policy the table shows the median of 50 searches, with the 10% and the 90% quantile. The columns
are the epochs and the simulated seconds until the best accuracy so far was within 0.3 points of the table's best, and
the best accuracy so far after fractions of the epochs and seconds that random search without stopping needs for that.
The last table is the price of order: wall time relative to free asynchronous search with the same trials and stops. The
last lines check the claims.
"""

import argparse
import dataclasses
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.simulation.order_window import seconds_of, wall
from benchmarks.simulation.replay import Policy, Replayed, Simulation, Table, band, read_table
from tuning.scheduling.successive_halving import SuccessiveHalving

CLOSE = 0.003
"""Maximum distance to the best accuracy that counts as close: 0.3 points."""
DEFAULT = "tpe, halving (the default)"
SHARES = (1 / 8, 1 / 4, 1 / 3, 1 / 2)
"""Fractions of the epochs that random search needs."""


def main_ways(trials: int, workers: int) -> dict[str, Policy]:
    """Return the default policy and its baselines by name."""
    random = Policy(workers=workers, trials=trials)
    halving = dataclasses.replace(random, stopping=SuccessiveHalving())
    return {
        "random": random,
        "random, halving": halving,
        "random, Ray's asha": dataclasses.replace(halving, ordered=False),
        "one epoch, then the top eighth": dataclasses.replace(random, top_k=max(1, trials // 8)),
        "tpe": dataclasses.replace(random, sampler="tpe"),
        "tpe, Ray's asha": dataclasses.replace(halving, sampler="tpe", ordered=False),
        DEFAULT: dataclasses.replace(halving, sampler="tpe"),
    }


def other_ways(default: Policy) -> dict[str, Policy]:
    """Return policies by name, each with one change to the default."""
    changed = {
        "no constant liar": {"constant_liar": False},
        "qmc": {"sampler": "qmc"},
        "first ones not compared": {"cohort": 1},
        **{f"start-up {n}": {"startup": n} for n in (3, 10, 16)},
        **{f"window {n}": {"window": n} for n in (2, 4, 16, 32)},
        **{
            f"grace {grace}, reduction {reduction}": {"stopping": SuccessiveHalving(grace=grace, reduction=reduction)}
            for grace in (1, 2, 3)
            for reduction in (2, 3, 4)
            if (grace, reduction) != (SuccessiveHalving().grace, SuccessiveHalving().reduction)
        },
    }
    return {f"default, {name}": dataclasses.replace(default, **change) for name, change in changed.items()}


def replay(table: Table, policy: Policy, until: float, least: int, seed: int) -> Replayed:
    return Simulation(table, policy, seed, until, least).run()


def compare(table: Table, arguments: argparse.Namespace, pool: ProcessPoolExecutor) -> tuple[float, float]:
    """Print a row for each policy; return the median epochs of random search and of the default."""
    ways = main_ways(len(table.curves), arguments.workers)
    close = table.best - CLOSE
    grid = other_ways(ways[DEFAULT]) if arguments.grid else {}
    needed: dict[str, float] = {}
    found: dict[str, list[Replayed]] = {}
    least = 0
    print(f"{'policy':36} {'epochs until close':>21} {'seconds until close':>24}   best so far after epochs")
    for name, policy in {**ways, **grid}.items():
        job = partial(replay, table, policy, close, least)
        runs = list(pool.map(job, range(arguments.repeats)))
        needed[name] = band([run.epochs_until(close) for run in runs])[1]
        if name == "random":
            all_epochs = len(table.curves) * table.epochs
            marks = [int(share * min(needed[name], all_epochs)) for share in SHARES]
            least = marks[-1]
        bests = [f"{mark}: {spread([r.best[min(mark, len(r.best)) - 1] for r in runs], '.4f')}" for mark in marks]
        epochs = spread([run.epochs_until(close) for run in runs], ".0f")
        seconds = spread([run.seconds_until(close) for run in runs], ".0f")
        print(f"{name:36} {epochs:>21} {seconds:>24}   {'  '.join(bests)}", flush=True)
        found |= {name: runs} if name in ways else {}
    by_seconds(found, close)
    return needed["random"], needed[DEFAULT]


def by_seconds(found: Mapping[str, Sequence[Replayed]], close: float) -> None:
    """Print the best so far after fractions of the simulated time that random search needs.

    A search that was close earlier, and ended, keeps its last value.
    """
    needs = band([min(run.seconds_until(close), run.seconds[-1]) for run in found["random"]])[1]
    marks = [share * needs for share in SHARES]
    print(f"\n{'policy':36} best so far after simulated seconds")
    for name, runs in found.items():
        bests = [f"{mark:.0f}: {spread([run.best_at(mark) for run in runs], '.4f')}" for mark in marks]
        print(f"{name:36} {'  '.join(bests)}", flush=True)


def spread(values: Sequence[float], form: str) -> str:
    """Format the median with the 10% and the 90% quantile: `120 (80..300)`."""
    low, middle, high = ("never" if math.isinf(value) else format(value, form) for value in band(values))
    return f"{middle} ({low}..{high})"


def price(table: Table, repeats: int, pool: ProcessPoolExecutor) -> None:
    """Print the wall time of ordered search relative to free search, by workers and window."""
    print(f"\n{'workers':>7}   {'window = workers':>16}   {'2 x':>6}   {'4 x':>6}   {'8 x':>6}")
    for workers in (2, 8, 32):
        base = Policy(stopping=SuccessiveHalving(), workers=workers, trials=len(table.curves))
        cells = []
        for factor in (1, 2, 4, 8):
            ordered = dataclasses.replace(base, window=factor * workers)
            runs = pool.map(partial(ordered_and_free, table, ordered), range(repeats))
            cells.append(band([slow / fast for slow, fast in runs])[1])
        print(f"{workers:7}   {cells[0]:16.3f}   " + "   ".join(f"{cell:6.3f}" for cell in cells[1:]), flush=True)


def ordered_and_free(table: Table, policy: Policy, seed: int) -> tuple[float, float]:
    """Return the seconds of a search, and of the same epochs of the same trials without waiting."""
    found = Simulation(table, policy, seed).run()
    return found.seconds[-1], wall(seconds_of(table, found), policy.workers)


def main() -> None:
    arguments = parse()
    claims = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for name in ("notebook", "default"):
            table = read_table(arguments.curves, name)
            print(f"\nspace {name}: {len(table.curves)} curves of {table.epochs} epochs, best {table.best:.4f}")
            claims.append((name, *compare(table, arguments, pool)))
            price(table, arguments.repeats, pool)
    print()
    for name, random, default in claims:
        verdict = (
            "too few repeats to decide" if arguments.quick else "holds" if default <= random / 3 else "DOES NOT HOLD"
        )
        print(f"{name}: within 0.3 points after {default:.0f} epochs, random after {random:.0f}: a third {verdict}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Run 5 repeats.")
    parser.add_argument("--repeats", type=int, help="Number of repeats (default: 50, with --quick 5).")
    parser.add_argument("--grid", action="store_true", help="Also compare the default with one change each.")
    parser.add_argument("--workers", type=int, default=2, help="Number of simulated workers (default: 2).")
    parser.add_argument("--processes", type=int, default=2, help="Number of real processes (default: 2).")
    default = Path(__file__).parents[2] / "results/reference/curves.json.gz"
    parser.add_argument("--curves", type=Path, default=default, help="File of benchmarks.simulation.record_curves.")
    arguments = parser.parse_args()
    arguments.repeats = arguments.repeats or (5 if arguments.quick else 50)
    return arguments


if __name__ == "__main__":
    main()
