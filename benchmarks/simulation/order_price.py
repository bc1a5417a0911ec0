"""What does the order of the virtual clock cost in time and quality?

    python -m benchmarks.simulation.order_price            2, 8, 64 and 1,000 workers, 40 seeds: a quarter of an hour
    python -m benchmarks.simulation.order_price --lags     the same for lags of 0 to 8, to choose the default: an hour
    python -m benchmarks.simulation.order_price --quick    2 and 8 workers, 5 seeds: shows that it works, not what holds

Searches of 10 epochs are replayed on recorded learning curves (benchmarks.simulation.replay): 48 trials with 2 and 8
workers, ten trials per worker with 64 and 1,000. For many workers, curves are drawn repeatedly, each with a shift (0.5
points standard deviation). Costs are known to 30% (--error), an epoch's seconds have a noise of 15%, and a job takes
0.2 s besides its epochs.

Each row compares the virtual clock with the same rule without order, where each decision uses all results that exist:

- wall time: of the virtual clock, relative to no order; the median over seeds, and the 10% and the 90% quantile;
- best: median of the best accuracies after as many epochs as the shorter search trained. The search without order also
  has the 10% and the 90% quantile, and the median of the virtual clock must be between them;
- busy: fraction of the workers' time in which they had a job;
- close: median seconds until the best so far was within 0.3 points of the best curve of a random search's trials.

The last lines check the claims. results/reference/order.md also has the rule before the virtual clock, an order window
of four times the workers with successive halving. It was measured once with the code of commit b1988fd, on the same
tables, with the same seeds and noise.
"""

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from statistics import median

from benchmarks.results import new_parser, table_head, verdict
from benchmarks.simulation.curves import CURVES, Table, many, read_table
from benchmarks.simulation.replay import CLOCK, CLOSE, UNORDERED, Policy, Replayed, band, or_never, replay, trial_order
from tuning.scheduling.study_config import default_lag

EPOCHS = 10
SPACES = ("notebook", "default")
LAGS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
SPREAD = 0.005
"""Standard deviation of the accuracy that is added to a curve that is drawn repeatedly."""
ERROR = Policy().error
MAX_RATIO = {2: 1.05, 8: 1.05, 64: 1.10, 1000: 1.10}
"""Number of workers -> claimed maximum of the relative wall time."""
SEEDS = {2: 40, 8: 40, 64: 40, 1000: 8}
"""Number of workers -> number of seeds."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row."""

    space: str
    workers: int
    sampler: str = "random"
    error: float = ERROR

    @property
    def trials(self) -> int:
        """Number of trials of a search."""
        return 48 if self.workers <= 8 else 10 * self.workers

    @property
    def title(self) -> str:
        """Name of the row."""
        return f"{self.workers:,} workers, {self.trials:,} trials, `{self.space}`, {self.sampler}"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Figures of one search."""

    wall: float
    epochs: int
    best: float
    """Best accuracy after `at` epochs, see `compare_lags`."""
    utilization: float
    close: float
    """Seconds until close to the best; infinite if never."""


@cache
def table_of(case: Case) -> Table:
    """Return the curves of a row: the recorded ones, or twice as many as trials."""
    table = dataclasses.replace(read_table(CURVES, case.space), epochs=EPOCHS)
    return table if case.trials <= len(table.curves) else many(table, 2 * case.trials, spread=SPREAD)


def compare_lags(case: Case, lags: Sequence[float], seed: int) -> list[tuple[Summary, Summary]]:
    """Return a search for each lag and the search without order, each pair compared at equal epochs."""
    table = table_of(case)
    policy = Policy(parallelism=case.workers, trials=case.trials, sampler=case.sampler, error=case.error)
    best = max(table.curves[at].scores[EPOCHS - 1] for at in trial_order(table, seed)[: case.trials])
    free = replay(table, dataclasses.replace(policy, order=UNORDERED), seed)
    pairs = []
    for lag in lags:
        clock = replay(table, dataclasses.replace(policy, order=CLOCK, lag=lag), seed)
        at = min(len(clock.best), len(free.best))
        pairs.append((summary(clock, at, best), summary(free, at, best)))
    return pairs


def summary(found: Replayed, at: int, best: float) -> Summary:
    """Return the figures of a search, with its best accuracy after `at` epochs."""
    return Summary(
        wall=found.wall,
        epochs=len(found.best),
        best=found.best[at - 1],
        utilization=found.utilization,
        close=found.seconds_until(best - CLOSE),
    )


def rows(case: Case, lags: Sequence[float], seeds: int, pool: ProcessPoolExecutor) -> Iterator[tuple[str, str]]:
    """Yield a row of the table for each lag, and its claims."""
    runs = list(pool.map(partial(compare_lags, case, lags), range(seeds)))
    for at, lag in enumerate(lags):
        clock, free = zip(*(run[at] for run in runs), strict=True)
        low, ratio, high = band([c.wall / f.wall for c, f in zip(clock, free, strict=True)])
        worst, usual, top = band([f.best for f in free])
        ours = median(c.best for c in clock)
        busy = " / ".join(f"{median(s.utilization for s in each):.0%}" for each in (clock, free))
        epochs = " / ".join(f"{median(s.epochs for s in each):,.0f}" for each in (clock, free))
        close = " / ".join(or_never(median(s.close for s in each), ".1f") for each in (clock, free))
        holds = ratio <= MAX_RATIO[case.workers], worst <= ours <= top
        row = (
            f"| {case.title} | {lag:g} | {seeds} | {ratio:.3f} ({low:.2f} to {high:.2f}) | {ours:.4f} / {usual:.4f} "
            f"({worst:.4f} to {top:.4f}) | {busy} | {epochs} | {close} |"
        )
        claim = (
            f"{case.title}, lag {lag:g}: wall time {ratio:.3f}, at most {MAX_RATIO[case.workers]:.2f} claimed: "
            f"{verdict(holds[0])}; quality within the band: {verdict(holds[1])}"
        )
        yield row, claim


def main() -> None:
    arguments = parse()
    workers = arguments.workers or ((2, 8) if arguments.quick else tuple(MAX_RATIO))
    both = list(itertools.product(SPACES, workers))
    cases = [Case(space=space, workers=each, error=arguments.error) for space, each in both]
    cases += [dataclasses.replace(case, sampler="tpe") for case in cases if case.workers <= 8]
    claims = []
    columns = ("search", "lag", "seeds", "wall time", "best: clock / no order", "busy", "epochs", "close, s")
    print(*table_head(columns), sep="\n")
    with ProcessPoolExecutor(arguments.processes) as pool:
        for case in cases:
            seeds = arguments.seeds or (5 if arguments.quick else SEEDS[case.workers])
            lags = LAGS if arguments.lags else (default_lag(case.workers),)
            for row, claim in rows(case, lags, seeds, pool):
                print(row, flush=True)
                claims.append(claim)
    print()
    print("too few seeds to decide" if arguments.quick else "\n".join(claims))


def parse() -> argparse.Namespace:
    parser = new_parser(__doc__, "Run 5 seeds with 2 and 8 workers.")
    parser.add_argument("--lags", action="store_true", help="Compare lags of 0 to 8.")
    parser.add_argument("--error", type=float, default=ERROR, help=f"Error of the costs (default: {ERROR:g}).")
    parser.add_argument("--workers", type=int, nargs="+", choices=MAX_RATIO, help="Only these numbers of workers.")
    parser.add_argument("--seeds", type=int, help="Number of seeds (default: 40, and 8 with 1,000 workers).")
    parser.add_argument("--processes", type=int, default=2, help="Number of real processes (default: 2).")
    return parser.parse_args()


if __name__ == "__main__":
    main()
