"""Which part of the driver limits a search on 1,000 GPUs?

    python -m benchmarks.search.large_cluster            1,000 workers, an epoch of 10 s, 8 GPUs per node: two minutes
    python -m benchmarks.search.large_cluster --quick    50 workers: shows that it works
    python -m benchmarks.search.large_cluster --workers 4000 --epoch-seconds 60

The table compares what the workers require of each part with that part's capacity on this machine. The capacities are
measured: suggestions with as many finished as running trials, epochs written into the journal, the scheduler's handling
of an epoch's report (with journal and stopping rule), and whole trials through Ray on two workers that train nothing.
That Ray's own loop is slower with a thousand live trials is not included.

The order window is simulated on recorded trials (benchmarks/simulation/order_window.py), ten trials per worker. A
worker waits if the oldest trial blocks new ones, or if all started trials wait at a rung.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from benchmarks.inputs.recorded_study import EPOCHS, record_study
from benchmarks.search import overhead
from benchmarks.search.growth_steps import NEW, REPEATS, median
from benchmarks.search.memory import bytes_of
from benchmarks.simulation.order_window import many, searched, window_table
from benchmarks.simulation.replay import read_table
from core import load_corpus
from tuning.backend.adapters import OrderedStopping
from tuning.journal.records import study_attributes
from tuning.journal.writer import StudyJournal, open_study
from tuning.scheduling.callbacks import CallbackList
from tuning.scheduling.stop_signal import StopSignal
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.successive_halving import RungTable, SuccessiveHalving
from tuning.scheduling.suggester import Suggester
from tuning.space.load import load_space

LINK = 1.25e9
"""Bytes a second that the driver's node sends: 10 Gbit/s."""
TRIALS_A_WORKER = 10
CURVES = Path(__file__).parents[2] / "results/reference/curves.json.gz"


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Seconds that this machine takes, of one processor."""

    suggestion: float
    """By tpe, with as many trials finished as running."""
    report: float
    """An epoch's, in our scheduler."""
    record: float
    """Of them the journal: an epoch written."""
    trial: float
    """Through Ray, with its few first suggestions and its overhead.EPOCHS reports."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """One part's share of a second."""

    part: str
    wanted: float
    """Times a second."""
    seconds: float
    """That each takes."""
    raise_: str
    """What helps when it is not enough."""

    @property
    def share(self) -> float:
        """Of the part's time; above 1 it is not enough."""
        return self.wanted * self.seconds


def main() -> None:
    arguments = parse()
    workers = arguments.workers
    table = read_table(CURVES, "default")
    table = many(table, TRIALS_A_WORKER * workers)
    lengths = searched(table, workers, 4 * workers).epochs_by_trial
    found = rates(workers, trials=12 if arguments.quick else 100)
    epochs = sum(lengths) / len(lengths)
    print(f"{workers:,} workers, an epoch of {arguments.epoch_seconds:g} s, {epochs:.1f} epochs a trial\n")
    print("\n".join(load_table(loads(found, workers, arguments.epoch_seconds, epochs), arguments.epoch_seconds)))
    print("\n" + "\n".join(window_table(table, workers)))
    nodes = -(-workers // arguments.gpus_per_node)
    size = bytes_of(load_corpus("snippets", vectors="glove-50d"))
    print(f"\n| corpus | to {nodes:,} nodes | at {8 * LINK / 1e9:g} Gbit/s out of the driver's node |")
    print("| --- " * 3 + "|")
    for name, each in (("rated snippets", size), ("a hundred times as large", 100 * size)):
        print(f"| {name}, {each / 1e6:,.1f} MB | {nodes * each / 1e9:,.2f} GB | {nodes * each / LINK:,.1f} s, once |")


def rates(pending: int, trials: int) -> Rates:
    """Measure; `pending` trials are running and as many are finished; `trials` go through Ray."""
    space = load_space("default")
    stopping = SuccessiveHalving(grace=1)
    the_plan = StudyConfig(
        space=space, n_trials=4 * pending, epochs=2 * EPOCHS, window=pending, seed=7, stopping=stopping
    )
    with tempfile.TemporaryDirectory(prefix="sentune-scale-") as folder:
        study = Path(folder) / "study"
        record_study(study, trials=2 * pending, space="default", sentences=1000, running=pending)
        with open_study(study, study_attributes(study)["spec"]) as ledger:
            suggester = Suggester(the_plan)
            suggester.suggest(ledger.trials())
            suggestion = median(lambda: suggester.suggest(ledger.trials()), time.process_time)
            report, record = reports(ledger, the_plan)
    return Rates(suggestion=suggestion, report=report, record=record, trial=overhead.run("sentune", trials)["a_trial"])


def reports(ledger: StudyJournal, the_plan: StudyConfig) -> tuple[float, float]:
    """Seconds of a first epoch's report, which is a rung, in the scheduler; and of one written into the journal."""
    space = the_plan.space
    last = ledger.records()[-1]
    standings = RungTable(the_plan.stopping, the_plan.epochs, ledger.records())
    scheduler = OrderedStopping(ledger, the_plan, CallbackList([]), StopSignal(), standings)
    new = [
        ledger.add_trial(last.params, space.distributions(last.params), last.config, "sampler")
        for _ in range(2 * REPEATS)
    ]
    numbers = iter(new)

    def handled() -> None:
        result = {f"epoch_result/{name}": value for name, value in dataclasses.asdict(NEW).items()}
        scheduler.on_trial_result(None, SimpleNamespace(config={"number": next(numbers)}), result)

    return median(handled), median(lambda: ledger.record_epoch(next(numbers), NEW))


def loads(found: Rates, workers: int, epoch_seconds: float, epochs: float) -> list[Load]:
    """What so many workers ask of the parts of the driver, where a trial has so many epochs on average."""
    reports = workers / epoch_seconds
    trials = reports / epochs
    longer = "longer epochs, more of them before the first rung (--grace)"
    return [
        Load(part="suggestions (tpe)", wanted=trials, seconds=found.suggestion, raise_="--sampler random or qmc"),
        Load(part="journal, an epoch", wanted=reports, seconds=found.record, raise_="a faster disk for --results"),
        Load(part="our handling of a report, journal included", wanted=reports, seconds=found.report, raise_=longer),
        Load(part="trials through Ray, all but large suggestions", wanted=trials, seconds=found.trial, raise_=longer),
        Load(part="the driver's process in all", wanted=trials, seconds=found.trial + found.suggestion, raise_=longer),
    ]


def load_table(parts: Sequence[Load], epoch_seconds: float) -> Iterator[str]:
    """Markdown: demand against capacity, and the shortest epoch that the part bears."""
    yield "| part | wanted a second | can a second | busy | bears epochs of | what to raise |"
    yield "| --- " * 6 + "|"
    for part in parts:
        yield (
            f"| {part.part} | {part.wanted:,.1f} | {1 / part.seconds:,.1f} | {part.share:.0%} | "
            f"{part.share * epoch_seconds:.2g} s | {part.raise_} |"
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="50 workers")
    parser.add_argument("--workers", type=int, help="1,000 unless --quick")
    parser.add_argument("--epoch-seconds", type=float, default=10.0)
    parser.add_argument("--gpus-per-node", type=int, default=8)
    arguments = parser.parse_args()
    arguments.workers = arguments.workers or (50 if arguments.quick else 1000)
    return arguments


if __name__ == "__main__":
    main()
