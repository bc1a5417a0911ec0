"""How many trials must the sampler see, and how long does a suggestion take?

    python -m benchmarks.simulation.shown_trials            500 trials, 4 seeds; a suggestion at 10,000: a quarter of an
                                                            hour
    python -m benchmarks.simulation.shown_trials --quick    100 trials, one seed; a suggestion at 1,000

In a study with more trials, tpe sees MAX_SHOWN of them (tuning.scheduling.suggester). The first table is the processor
time of one suggestion (median of 9) with 8 running trials and with a tenth of all trials running.

For the second table, searches by tpe with 8 workers are replayed on 750 curves. These are drawn from the recorded ones
of the space `default`, each with a shift (0.3 points standard deviation). For each MAX_SHOWN, the table has the mean
accuracy, after all epochs, of the curves that the last half of the trials chose. It also has the best accuracy, and the
epochs until it is within 0.1 points of the table's best (medians). The last line checks the claim.
"""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from statistics import fmean, median
from unittest.mock import patch

from optuna.trial import TrialState, create_trial

from benchmarks.results import new_parser, table_head, verdict
from benchmarks.simulation.curves import CURVES, Table, many, read_table
from benchmarks.simulation.replay import Policy, replay
from tuning.scheduling import suggester
from tuning.scheduling.asha import Asha
from tuning.scheduling.study_config import StudyConfig
from tuning.scheduling.virtual_clock import VisibleResult

LIMITS = (50, 100, 200, 400, 10**9)
SPREAD, CLOSE = 0.003, 0.001
MILLISECONDS = 40.0
"""Claimed maximum of a suggestion's time."""


@cache
def table_of(trials: int) -> Table:
    """Return half as many curves again as trials."""
    return many(read_table(CURVES, "default"), trials * 3 // 2, spread=SPREAD)


def quality(trials: int, job: tuple[int, int]) -> tuple[float, float, float]:
    """Return the mean accuracy of the last half, the best, and the epochs until close, for (MAX_SHOWN, seed)."""
    limit, seed = job
    table = table_of(trials)
    with patch.object(suggester, "MAX_SHOWN", limit):
        found = replay(table, Policy(sampler="tpe", parallelism=8, trials=trials), seed)
    late = [table.curves[curve].scores[-1] for curve in found.curves[trials // 2 :]]
    return fmean(late), found.best[-1], found.epochs_until(table.best - CLOSE)


def quality_rows(trials: int, seeds: int, pool: ProcessPoolExecutor) -> Iterator[str]:
    """Yield Markdown: the quality of the search for each MAX_SHOWN."""
    late = f"mean of the last {trials // 2:,} trials"
    yield from table_head(("MAX_SHOWN", late, "best", "epochs until close"))
    jobs = list(itertools.product(LIMITS, range(seeds)))
    results = list(pool.map(partial(quality, trials), jobs))
    for limit in LIMITS:
        accuracies, best, epochs = zip(
            *(result for job, result in zip(jobs, results, strict=True) if job[0] == limit), strict=True
        )
        middle = f"{fmean(accuracies):.4f} ({min(accuracies):.4f} to {max(accuracies):.4f})"
        shown = "all" if limit == LIMITS[-1] else limit
        yield f"| {shown} | {middle} | {median(best):.4f} | {median(epochs):,.0f} |"


def milliseconds(trials: int, running: int, limit: int) -> float:
    """Return the processor time of a suggestion in a study of `trials` trials."""
    table = many(read_table(CURVES, "default"), trials, spread=SPREAD)
    config = StudyConfig(
        space=table.space, n_trials=trials + 99, epochs=table.epochs, parallelism=running, seed=1, stopping=Asha()
    )
    asked = suggester.Suggester(config)
    for curve in table.curves:
        distributions = table.space.distributions(curve.params)
        attributes = {"config": dict(curve.config), "origin": "sampler"}
        asked.add(
            create_trial(
                state=TrialState.RUNNING, params=dict(curve.params), distributions=distributions, user_attrs=attributes
            )
        )
    log = [VisibleResult(at, 1, curve.scores[0]) for at, curve in enumerate(table.curves[: trials - running])]
    taken = []
    with patch.object(suggester, "MAX_SHOWN", limit):
        asked.suggest(log)
        for _ in range(9):
            began = time.process_time()
            asked.suggest(log)
            taken.append(time.process_time() - began)
    return 1000 * median(taken)


def main() -> None:
    quick = new_parser(__doc__, "Run 100 trials with one seed.").parse_args().quick
    trials, seeds, known = (100, 1, 1000) if quick else (500, 4, 10_000)
    now = suggester.MAX_SHOWN
    suggestion = f"a suggestion at {known:,} trials, 8 running, ms"
    print(*table_head(("MAX_SHOWN", suggestion, "a tenth running, ms")), sep="\n")
    found = {}
    for limit in sorted({50, 100, 150, 200, 400, now}):
        found[limit] = [milliseconds(known, running, limit) for running in (8, known // 10)]
        print(f"| {limit} | {found[limit][0]:.0f} | {found[limit][1]:.0f} |", flush=True)
    with ProcessPoolExecutor(2) as pool:
        print("\n" + "\n".join(quality_rows(trials, seeds, pool)))
    longest = max(found[now])
    end = verdict(longest <= MILLISECONDS, conclusive=not quick)
    print(f"\nMAX_SHOWN {now}: {longest:.0f} ms, at most {MILLISECONDS:g} claimed: {end}")


if __name__ == "__main__":
    main()
