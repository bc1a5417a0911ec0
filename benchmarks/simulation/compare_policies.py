"""Which sampler and rule find a good setting in the fewest epochs?

    python -m benchmarks.simulation.compare_policies           the default against its baselines, 50 repeats: minutes
    python -m benchmarks.simulation.compare_policies --grid    also the alternatives that decided the defaults (sampler,
                                                               start-up, grace, reduction, lag)
    python -m benchmarks.simulation.compare_policies --quick   3 repeats: shows that it works, not what holds
    python -m benchmarks.simulation.compare_policies --workers 64    with 64 simulated workers

Searches of all trials of a table are replayed on recorded learning curves (benchmarks.simulation.replay). A row has the
median of 50 searches of a policy, with the 10% and the 90% quantile:

- the epochs and the simulated seconds until the best accuracy so far was within 0.3 points of the table's best;
- the best accuracy so far after fractions of the epochs and of the seconds that random search without a rule needs.

The last lines check the claims. benchmarks.simulation.order_price measures the price of order.
"""

import argparse
import dataclasses
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from benchmarks.results import new_parser, verdict
from benchmarks.simulation.curves import CURVES, Table, read_table
from benchmarks.simulation.replay import CLOSE, STOPPING, UNORDERED, Policy, Replayed, band, or_never, replay
from tuning.scheduling.asha import Asha
from tuning.scheduling.study_config import default_lag

DEFAULT = "tpe, asha (the default)"
SHARES = (1 / 8, 1 / 4, 1 / 3, 1 / 2)
"""Fractions of the epochs and seconds that random search needs."""

ONE_EPOCH = Asha(grace=1, reduction=12)
"""One rung: trials of a table have 12 epochs, and a twelfth of the trials continues."""


def main_ways(trials: int, workers: int) -> dict[str, Policy]:
    """Return the default policy and its baselines by name."""
    asha = Policy(parallelism=workers, lag=default_lag(workers), trials=trials)
    tpe = dataclasses.replace(asha, sampler="tpe")
    return {
        "random": dataclasses.replace(asha, rule=None),
        "random, asha": asha,
        "random, one epoch, then the best": dataclasses.replace(asha, rule=ONE_EPOCH, order=UNORDERED),
        "random, Ray's asha": dataclasses.replace(asha, order=STOPPING),
        "tpe": dataclasses.replace(tpe, rule=None),
        "tpe, Ray's asha": dataclasses.replace(tpe, order=STOPPING),
        "tpe, asha without order": dataclasses.replace(tpe, order=UNORDERED),
        DEFAULT: tpe,
    }


def other_ways(default: Policy, epochs: int) -> dict[str, Policy]:
    """Return policies by name, each with one change to the default that matters for trials of `epochs` epochs."""
    rules = [Asha(grace=grace, reduction=reduction) for grace in (1, 2, 3) for reduction in (2, 3, 4)]
    changed = {
        "qmc": {"sampler": "qmc"},
        **{f"start-up {n}": {"startup": n} for n in (3, 10, 16)},
        **{f"lag {lag:g}": {"lag": lag} for lag in (0.0, 1.0, 2.0, 3.0, 4.0) if lag != default.lag},
        **{
            f"grace {rule.grace}, reduction {rule.reduction}": {"rule": rule}
            for rule in rules
            if default.rule is None or rule.rungs(epochs) != default.rule.rungs(epochs)
        },
    }
    return {f"default, {name}": dataclasses.replace(default, **change) for name, change in changed.items()}


def compare(table: Table, arguments: argparse.Namespace, pool: ProcessPoolExecutor) -> tuple[float, float]:
    """Print a row for each policy; return the median epochs of random search and of the default."""
    ways = main_ways(len(table.curves), arguments.workers)
    close = table.best - CLOSE
    grid = other_ways(ways[DEFAULT], table.epochs) if arguments.grid else {}
    needed: dict[str, float] = {}
    found: dict[str, list[Replayed]] = {}
    print(f"{'policy':36} {'epochs until close':>21} {'seconds until close':>24}   best so far after epochs")
    for name, policy in {**ways, **grid}.items():
        runs = list(pool.map(partial(replay, table, policy), range(arguments.repeats)))
        needed[name] = band([run.epochs_until(close) for run in runs])[1]
        if name in ways:
            found[name] = runs
        if name == "random":
            all_epochs = len(table.curves) * table.epochs
            marks = [int(share * min(needed[name], all_epochs)) for share in SHARES]
        bests = [f"{mark}: {spread([r.best[min(mark, len(r.best)) - 1] for r in runs], '.4f')}" for mark in marks]
        epochs = spread([run.epochs_until(close) for run in runs], ".0f")
        seconds = spread([run.seconds_until(close) for run in runs], ".0f")
        print(f"{name:36} {epochs:>21} {seconds:>24}   {'  '.join(bests)}", flush=True)
    by_seconds(found, close)
    return needed["random"], needed[DEFAULT]


def by_seconds(found: Mapping[str, Sequence[Replayed]], close: float) -> None:
    """Print the best accuracy so far after fractions of the seconds that random search needs; 0 before an epoch."""
    needed = band([min(run.seconds_until(close), run.wall) for run in found["random"]])[1]
    print(f"\n{'policy':36} best so far after seconds")
    for name, runs in found.items():
        bests = [
            f"{mark:.0f}: {spread([[0.0, *run.best][bisect_right(run.seconds, mark)] for run in runs], '.4f')}"
            for mark in (share * needed for share in SHARES)
        ]
        print(f"{name:36} {'  '.join(bests)}", flush=True)


def spread(values: Sequence[float], form: str) -> str:
    """Format the median with the 10% and the 90% quantile: `120 (80..300)`."""
    low, middle, high = (or_never(value, form) for value in band(values))
    return f"{middle} ({low}..{high})"


def main() -> None:
    arguments = parse()
    claims = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for name in ("notebook", "default"):
            table = read_table(CURVES, name)
            print(f"\nspace {name}: {len(table.curves)} curves of {table.epochs} epochs, best {table.best:.4f}")
            claims.append((name, *compare(table, arguments, pool)))
    print()
    for name, random, default in claims:
        end = verdict(default <= random / 3, conclusive=not arguments.quick)
        print(f"{name}: within 0.3 points after {default:.0f} epochs, random after {random:.0f}: a third {end}")


def parse() -> argparse.Namespace:
    parser = new_parser(__doc__, "Run 3 repeats.")
    parser.add_argument("--repeats", type=int, help="Number of repeats (default: 50, with --quick 3).")
    parser.add_argument("--grid", action="store_true", help="Also compare the default with one change each.")
    parser.add_argument("--workers", type=int, default=2, help="Number of simulated workers (default: 2).")
    parser.add_argument("--processes", type=int, default=2, help="Number of real processes (default: 2).")
    arguments = parser.parse_args()
    arguments.repeats = arguments.repeats or (3 if arguments.quick else 50)
    return arguments


if __name__ == "__main__":
    main()
