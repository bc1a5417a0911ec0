"""Does a search that begins with the portfolio find good settings sooner?

    python -m benchmarks.portfolio.search            ten seeds, two processes: minutes
    python -m benchmarks.portfolio.search --quick    two seeds: shows that it works, not what holds
    python -m benchmarks.portfolio.search --rules    compares values of --grace and --reduction: 15 minutes

Searches of the space `default` are replayed on each set of the recording (benchmarks.portfolio.record,
benchmarks.simulation.replay). The portfolio of a set is chosen from the curves of the sets with other sentences. A
replayed search takes configurations of `default` alone, so the portfolio is chosen among them too. A suggestion is
replaced by the nearest recorded configuration that is still unused.

Searches with the default sampler and rule: 16 trials with portfolio; 16 and 48 trials with random start. Random search
trains every trial of the table in full. For each set, the table has the median over seeds of

- best: the best validation accuracy of the search, and of all configurations of the table;
- test: the test accuracy of the epoch with that accuracy;
- close: the epochs until the best so far was within 0.3 points of the table's best.

With --pooled, the mean of validation and test accuracy takes the place of the validation accuracy. The mean has half
the noise, so the best of many trials owes less of its value to luck. There is no test accuracy then.

With --rules, each row is a rule of successive halving, and its figures are means over the sets.
"""

import argparse
import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import mean, median

from benchmarks.portfolio.build import choose
from benchmarks.portfolio.curves import BASELINE, Recording, read_curves
from benchmarks.portfolio.record import OUT
from benchmarks.results import new_parser, table_head, table_row, verdict
from benchmarks.simulation.curves import Table
from benchmarks.simulation.replay import CLOSE, Policy, Replayed, band, or_never, replay
from core.training.result import best_epoch
from tuning.scheduling.asha import Asha
from tuning.space.portfolio import MAX_SETTINGS, PORTFOLIO, FirstTrials

SPACE = "default"
TRIALS, MANY = 16, 48
WITH, SHORT, LONG, RANDOM = "portfolio", "random start", "random start, 48", "random search"
CELLS = {
    WITH: f"{TRIALS} with portfolio: best, test, close",
    SHORT: f"{TRIALS} random start: best, test, close",
    LONG: f"{MANY} random start: best, test, close",
}
RULE_COLUMNS = (
    "first rung",
    "reduction",
    f"epochs of {TRIALS} trials",
    "best",
    "test",
    f"at or above {MANY}",
    "close in a quarter",
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One replayed search."""

    best: float
    test: float
    close: float
    """Number of epochs until close to the table's best; infinite if never."""
    epochs: float
    """Number of epochs of the search."""


FIRST_RUNGS: Mapping[str, Callable[[int], int | None]] = {
    "1": lambda epochs: 1,
    "epochs / 8": lambda epochs: None,
    "epochs / 4": lambda epochs: math.ceil(epochs / 4),
}
"""Values of --grace that --rules compares, for trials of a number of epochs."""
REDUCTIONS = (4, 3, 2)
read_once = cache(read_curves)
"""Reads a recording once per process."""
Search = Callable[[str, Asha], dict[str, Outcome]]
"""Searches on the set of a name with a rule."""


def main() -> None:
    arguments = parse()
    recording = read_curves(arguments.curves)
    print(f"Medians of {arguments.seeds} seeds; accuracies in %.\n")
    with ProcessPoolExecutor(arguments.processes) as pool:
        search = partial(search_set, pool, arguments)
        if arguments.rules:
            compare_rules(recording, search)
        else:
            compare_starts(recording, search, arguments.pooled)
    if arguments.quick:
        print(f"\n{verdict(False, conclusive=False)}")


def search_set(pool: Executor, arguments: argparse.Namespace, name: str, rule: Asha) -> dict[str, Outcome]:
    """Return the medians of the searches on a set."""
    run = partial(outcomes, arguments.curves, name, arguments.pooled, arguments.entries, rule)
    found = list(pool.map(run, range(arguments.seeds)))
    return {policy: middle([each[policy] for each in found]) for policy in found[0]}


def compare_starts(recording: Recording, search: Search, pooled: bool) -> None:
    """Print a row for each set, and on which sets the claims hold."""
    cells = [cell.replace(", test", "") if pooled else cell for cell in CELLS.values()]
    print(*table_head(["set", "best of table", *cells, "random search: close"]), sep="\n")
    found = {}
    for name in recording.sets:
        found[name] = search(name, Asha())
        print(row(name, recording.table(name, SPACE, pooled=pooled)[0].best, found[name], pooled), flush=True)
    title = f"{TRIALS} trials with portfolio end at or above {MANY} with random start"
    print(f"\n{title}: {count_sets(found, reaches_many)}")
    print(f"close to the best in a quarter of random search's epochs: {count_sets(found, is_soon_close)}")


def compare_rules(recording: Recording, search: Search) -> None:
    """Print a row for each first rung and reduction."""
    print(*table_head(RULE_COLUMNS), sep="\n")
    for (first, grace), reduction in itertools.product(FIRST_RUNGS.items(), REDUCTIONS):
        found = {
            name: search(name, Asha(grace=grace(each.epochs), reduction=reduction))
            for name, each in recording.sets.items()
        }
        print(table_row([first, str(reduction), *rule_cells(found)]), flush=True)


def reaches_many(searched: Mapping[str, Outcome]) -> bool:
    """Return whether few trials with portfolio end at or above many with random start."""
    return searched[WITH].best >= searched[LONG].best


def is_soon_close(searched: Mapping[str, Outcome]) -> bool:
    """Return whether the search with portfolio is close to the best in a quarter of random search's epochs."""
    return searched[WITH].close <= searched[RANDOM].close / 4


def count_sets(found: Mapping[str, Mapping[str, Outcome]], holds: Callable[[Mapping[str, Outcome]], bool]) -> str:
    """Return for how many sets a claim holds, and the sets where it does not."""
    missing = [name for name, searched in found.items() if not holds(searched)]
    return f"{len(found) - len(missing)} of {len(found)} sets" + (f", not on {', '.join(missing)}" if missing else "")


def rule_cells(found: Mapping[str, Mapping[str, Outcome]]) -> list[str]:
    """Return the cells of a rule: means over the sets, and the number of sets on which each claim holds."""
    ends = [searched[WITH] for searched in found.values()]
    means = [mean(each.best for each in ends), mean(each.test for each in ends)]
    holds = [sum(map(claim, found.values())) for claim in (reaches_many, is_soon_close)]
    return [
        f"{mean(each.epochs for each in ends):.0f}",
        *(f"{100 * each:.2f}" for each in means),
        *(f"{count} of {len(found)}" for count in holds),
    ]


def row(name: str, best: float, medians: Mapping[str, Outcome], pooled: bool) -> str:
    """Return the row of a set."""
    cells = []
    for found in (medians[policy] for policy in CELLS):
        test = "" if pooled else f" {100 * found.test:.2f},"
        cells.append(f"{100 * found.best:.2f},{test} {or_never(found.close, '.0f')}")
    return table_row((name, f"{100 * best:.2f}", *cells, or_never(medians[RANDOM].close, ".0f")))


def middle(found: Sequence[Outcome]) -> Outcome:
    """Return the medians; the number of epochs may be infinite."""
    return Outcome(
        best=median(each.best for each in found),
        test=median(each.test for each in found),
        close=band([each.close for each in found])[1],
        epochs=median(each.epochs for each in found),
    )


def outcomes(curves: Path, name: str, pooled: bool, entries: int, rule: Asha, seed: int) -> dict[str, Outcome]:
    """Replay each search on one set with one seed."""
    recording = read_once(curves)
    table, numbers = recording.table(name, SPACE, pooled=pooled)
    start = Policy(sampler="tpe", trials=TRIALS, rule=rule)
    policies = {
        WITH: dataclasses.replace(start, first_trials=other_sets_portfolio(recording, name, entries)),
        SHORT: start,
        LONG: dataclasses.replace(start, trials=MANY),
        RANDOM: Policy(rule=None, trials=len(table.curves)),
    }
    found = {}
    for policy_name, policy in policies.items():
        searched = replay(table, policy, seed)
        found[policy_name] = Outcome(
            best=searched.best[-1],
            test=test_of_best(table, searched, [recording.sets[name].test[number] for number in numbers]),
            close=searched.epochs_until(table.best - CLOSE),
            epochs=len(searched.best),
        )
    return found


def other_sets_portfolio(recording: Recording, name: str, entries: int) -> FirstTrials:
    """Return the portfolio of `default` that is chosen without a set."""
    others = recording.without(name)
    chosen = choose(others, [number for number in others.numbers(SPACE) if number != BASELINE], entries)
    return FirstTrials(source=PORTFOLIO, settings=tuple(recording.settings[number] for number in chosen))


def test_of_best(table: Table, searched: Replayed, test: Sequence[Sequence[float]]) -> float:
    """Return the test accuracy of the best epoch of a search; `test` has one of each curve and epoch."""
    reached = []
    for place, count in zip(searched.curves, searched.epochs_by_trial, strict=True):
        if count:
            best = best_epoch(table.curves[place].epochs[:count])
            reached.append((best.score, -best.val_loss, test[place][best.epoch - 1]))
    return max(reached)[2]


def parse() -> argparse.Namespace:
    parser = new_parser(__doc__, "Two seeds.")
    parser.add_argument("--seeds", type=int, help="Number of seeds (default: 10, with --quick 2).")
    parser.add_argument("--pooled", action="store_true", help="Search by the mean of validation and test accuracy.")
    parser.add_argument(
        "--entries", type=int, default=MAX_SETTINGS, help=f"Settings of the portfolio (default: {MAX_SETTINGS})."
    )
    parser.add_argument("--rules", action="store_true", help="Compare values of --grace and --reduction.")
    parser.add_argument("--curves", type=Path, default=OUT, help="File of benchmarks.portfolio.record.")
    parser.add_argument("--processes", type=int, default=2, help="Number of processes (default: 2).")
    arguments = parser.parse_args()
    arguments.seeds = arguments.seeds or (2 if arguments.quick else 10)
    return arguments


if __name__ == "__main__":
    main()
