"""Which part of the driver limits a search on 1,000 GPUs?

    python -m benchmarks.search.large_cluster            1,000 workers, an epoch of 10 s, 8 GPUs per node: two minutes
    python -m benchmarks.search.large_cluster --quick    50 workers: shows that it works
    python -m benchmarks.search.large_cluster --workers 4000 --epoch-seconds 60

The table compares the rate that the workers require of each part with the part's capacity on this machine. The script
measures these capacities:

- suggestions, with as many finished as running trials;
- epochs written into the journal, with the outputs of 1,000 validation sentences and the wait for the disk;
- the scheduler's handling of the report of such an epoch, with journal and stopping rule;
- the driver's processor time for a job through Ray, with as many open trials as virtual workers, and two workers that
  train nothing. It is the first job of a trial. Its suggestion is random, because no result is visible yet, so that of
  tpe is added.

Ray's own loop is slower with a thousand live actors, which is not measured.

The number of epochs and of jobs per trial, and the workers' waits for the order of the virtual clock, are simulated:
recorded trials (benchmarks.simulation.replay), ten per worker.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from ray.tune.utils import flatten_dict

from benchmarks.inputs.recorded_study import EPOCHS, record_study
from benchmarks.results import new_parser, table_head
from benchmarks.search import overhead
from benchmarks.search.growth_steps import NEW, REPEATS, median, next_suggestion
from benchmarks.search.network_traffic import corpus_bytes
from benchmarks.simulation.curves import CURVES, Table, many, read_table
from benchmarks.simulation.replay import CLOCK, UNORDERED, Policy, replay
from core import load_corpus
from tuning.backend.adapters import RayScheduler
from tuning.journal.records import study_attributes
from tuning.journal.writer import StudyJournal, open_study
from tuning.scheduling.asha import Asha
from tuning.scheduling.budget import StopSignal
from tuning.scheduling.schedule import Job, Schedule
from tuning.scheduling.study_config import StudyConfig, default_lag
from tuning.space.load import load_space

LINK = 1.25e9
"""Bytes per second that the driver's node sends: 10 Gbit/s."""
TRIALS_A_WORKER = 10


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Seconds of one processor of this machine; those of `report` and `record` include the wait for its disk."""

    suggestion: float
    """Per suggestion of tpe, with the same number of finished and running trials."""
    report: float
    """Per report of an epoch, in the scheduler, with journal."""
    record: float
    """Per epoch written into the journal, which `report` includes."""
    job: float
    """Of the driver's process per first job of a trial, with a random suggestion and overhead.JOB_EPOCHS reports."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """The demand on one part of the driver."""

    part: str
    wanted: float
    """Required operations per second."""
    seconds: float
    """Seconds per operation."""
    raise_: str
    """Remedy if the capacity is too low."""

    @property
    def share(self) -> float:
        """Fraction of the part's time; above 1 the capacity is too low."""
        return self.wanted * self.seconds


def main() -> None:
    arguments = parse()
    workers = arguments.workers
    table = many(read_table(CURVES, "default"), TRIALS_A_WORKER * workers)
    lengths, waits = orders(table, workers)
    found = rates(workers)
    epochs = sum(lengths) / len(lengths)
    jobs = 1 + sum(length > rung for length in lengths for rung in Asha().rungs(table.epochs)) / len(lengths)
    about = f"{epochs:.1f} epochs in {jobs:.1f} jobs per trial"
    print(f"{workers:,} workers, an epoch of {arguments.epoch_seconds:g} s, {about}\n")
    parts = loads(found, workers, arguments.epoch_seconds, epochs, jobs)
    print("\n".join(load_table(parts, arguments.epoch_seconds)))
    print("\n" + "\n".join(waits))
    nodes = -(-workers // arguments.gpus_per_node)
    size = corpus_bytes(load_corpus("snippets", vectors="glove-50d"))
    rate = f"at {8 * LINK / 1e9:g} Gbit/s from the driver's node"
    print("", *table_head(("corpus", f"to {nodes:,} nodes", rate)), sep="\n")
    for name, each in (("rated snippets", size), ("a hundred times as large", 100 * size)):
        print(f"| {name}, {each / 1e6:,.1f} MB | {nodes * each / 1e9:,.2f} GB | {nodes * each / LINK:,.1f} s, once |")


def orders(table: Table, workers: int) -> tuple[list[int], list[str]]:
    """Return the number of epochs of each trial, and Markdown: what the order costs in simulated time."""
    policy = Policy(parallelism=workers, lag=default_lag(workers), trials=len(table.curves))
    found = {order: replay(table, dataclasses.replace(policy, order=order), 0) for order in (CLOCK, UNORDERED)}
    lines = table_head(("order", "epochs per trial", "workers' time with a job", "wall time, relative to no order"))
    for order, each in found.items():
        epochs = sum(each.epochs_by_trial) / len(each.epochs_by_trial)
        lines.append(f"| {order} | {epochs:.1f} | {each.utilization:.0%} | {each.wall / found[UNORDERED].wall:.2f} |")
    return found[CLOCK].epochs_by_trial, lines


def rates(pending: int) -> Rates:
    """Measure with `pending` running and `pending` finished trials, and through Ray with `pending` open ones."""
    suggestion, report, record = driver_seconds(pending)
    return Rates(suggestion=suggestion, report=report, record=record, job=overhead.run("open", pending)["a_trial"])


def driver_seconds(pending: int) -> tuple[float, float, float]:
    """Return the seconds of a suggestion, of a report and of writing an epoch, with as many trials as `rates`."""
    space = load_space("default")
    the_plan = StudyConfig(
        space=space, n_trials=4 * pending, epochs=2 * EPOCHS, parallelism=pending, seed=7, stopping=Asha()
    )
    with tempfile.TemporaryDirectory(prefix="sentune-scale-") as folder:
        study = Path(folder) / "study"
        record_study(study, trials=2 * pending, space="default", sentences=1000, running=pending)
        with open_study(study, study_attributes(study)["spec"]) as journal:
            suggestion = next_suggestion(the_plan, journal)["seconds"]
            journal.reopen()  # with more epochs and trials, the schedule continues trials that are closed
            return suggestion, *reports(journal, the_plan)


def reports(journal: StudyJournal, the_plan: StudyConfig) -> tuple[float, float]:
    """Return the seconds of a report at the first rung, and of writing an epoch into the journal."""
    schedule = Schedule(journal, the_plan, lambda config: 1.0, [], StopSignal())
    scheduler = RayScheduler(schedule)
    jobs = iter([job for _ in range(2 * REPEATS) if isinstance(job := schedule.next_job(), Job)])
    outputs = overhead.reported_outputs()

    def handle() -> None:
        job = next(jobs)
        epoch = dataclasses.replace(NEW, epoch=job.first)
        result = flatten_dict({"epoch_result": dataclasses.asdict(epoch), **outputs})
        scheduler.on_trial_result(None, SimpleNamespace(config={"number": job.trial}), result)

    def write() -> None:
        job = next(jobs)
        journal.record_epoch(job.trial, dataclasses.replace(NEW, epoch=job.first), **outputs)

    return median(handle, time.perf_counter), median(write, time.perf_counter)


def loads(found: Rates, workers: int, epoch_seconds: float, epochs: float, jobs: float) -> list[Load]:
    """Return the demand of `workers` workers on each part; a trial has `epochs` epochs in `jobs` jobs on average."""
    reports = workers / epoch_seconds
    trials = reports / epochs
    longer = "use longer epochs, or more before the first rung (--grace)"
    return [
        Load(part="suggestions (tpe)", wanted=trials, seconds=found.suggestion, raise_="use --sampler random or qmc"),
        Load(
            part="epoch in the journal", wanted=reports, seconds=found.record, raise_="use a faster disk for --results"
        ),
        Load(part="report in the scheduler, with journal", wanted=reports, seconds=found.report, raise_=longer),
        Load(part="jobs through Ray, with their reports", wanted=trials * jobs, seconds=found.job, raise_=longer),
        Load(
            part="the driver: jobs and suggestions",
            wanted=trials,
            seconds=jobs * found.job + found.suggestion,
            raise_=longer,
        ),
    ]


def load_table(parts: Sequence[Load], epoch_seconds: float) -> Iterator[str]:
    """Yield Markdown: demand, capacity, and the shortest epoch that the part can sustain."""
    speeds = ("required per second", "capacity per second")
    yield from table_head(("part", *speeds, "busy", "shortest sustainable epoch", "what to change"))
    for part in parts:
        yield (
            f"| {part.part} | {part.wanted:,.1f} | {1 / part.seconds:,.1f} | {part.share:.0%} | "
            f"{part.share * epoch_seconds:.2g} s | {part.raise_} |"
        )


def parse() -> argparse.Namespace:
    parser = new_parser(__doc__, "Simulate 50 workers.")
    parser.add_argument("--workers", type=int, help="Number of workers (default: 1,000, with --quick 50).")
    parser.add_argument("--epoch-seconds", type=float, default=10.0, help="Seconds per epoch (default: 10).")
    parser.add_argument("--gpus-per-node", type=int, default=8, help="Number of GPUs per node (default: 8).")
    arguments = parser.parse_args()
    arguments.workers = arguments.workers or (50 if arguments.quick else 1000)
    return arguments


if __name__ == "__main__":
    main()
