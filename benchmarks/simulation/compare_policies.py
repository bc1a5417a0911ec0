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

from benchmarks.order_window import seconds_of, wall
from benchmarks.simulation import Policy, Replayed, Simulation, Table, band, read_table
from tuning.scheduling.successive_halving import SuccessiveHalving
from benchmarks.simulation.order_window import seconds_of, wall
from benchmarks.simulation.replay import Policy, Replayed, Simulation, Table, band, read_table

CLOSE = 0.003
"""Within 0.3 points of the best."""
DEFAULT = "tpe, halving (the default)"
SHARES = (1 / 8, 1 / 4, 1 / 3, 1 / 2)
"""Of the epochs that random search needs."""


def main_ways(trials: int, workers: int) -> dict[str, Policy]:
    """The default and what it is measured against: name -> policy."""
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
    """The default with one thing changed."""
    changed = {
        "no constant liar": {"constant_liar": False},
        "qmc": {"sampler": "qmc"},
        "first ones not compared": {"together": 1},
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
    """Print a row for each way; returns the median epochs of random search and of the default."""
    ways = main_ways(len(table.curves), arguments.workers)
    close = table.best - CLOSE
    grid = other_ways(ways[DEFAULT]) if arguments.grid else {}
    needed: dict[str, float] = {}
    found: dict[str, list[Replayed]] = {}
    least = 0
    print(f"{'way':36} {'epochs until close':>21} {'seconds until close':>24}   best so far after epochs")
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
    """Print the best so far after shares of the simulated time that random search needs; a search that was close
    before, and ended, keeps what it had."""
    needs = band([min(run.seconds_until(close), run.seconds[-1]) for run in found["random"]])[1]
    marks = [share * needs for share in SHARES]
    print(f"\n{'way':36} best so far after simulated seconds")
    for name, runs in found.items():
        bests = [f"{mark:.0f}: {spread([run.best_at(mark) for run in runs], '.4f')}" for mark in marks]
        print(f"{name:36} {'  '.join(bests)}", flush=True)


def spread(values: Sequence[float], form: str) -> str:
    """The median, with the 10% and the 90% value: `120 (80..300)`."""
    low, middle, high = ("never" if math.isinf(value) else format(value, form) for value in band(values))
    return f"{middle} ({low}..{high})"


def price(table: Table, repeats: int, pool: ProcessPoolExecutor) -> None:
    """Print wall time of ordered search over that of free search, by workers and window."""
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
    """Seconds of a search, and of one that trains the same epochs of the same trials and waits for nothing."""
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
            "too few repeats to tell" if arguments.quick else "holds" if default <= random / 3 else "DOES NOT HOLD"
        )
        print(f"{name}: within 0.3 points after {default:.0f} epochs, random after {random:.0f}: a third {verdict}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 repeats")
    parser.add_argument("--repeats", type=int, help="50 unless --quick")
    parser.add_argument("--grid", action="store_true", help="also the default with one thing changed")
    parser.add_argument("--workers", type=int, default=2, help="simulated ones")
    parser.add_argument("--processes", type=int, default=2)
    default = Path(__file__).parents[2] / "results/reference/curves.json.gz"
    parser.add_argument("--curves", type=Path, default=default, help="from record_curves.py")
    arguments = parser.parse_args()
    arguments.repeats = arguments.repeats or (5 if arguments.quick else 50)
    return arguments


if __name__ == "__main__":
    main()
