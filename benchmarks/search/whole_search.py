"""How much faster is a whole search than with plain Ray Tune or plain Optuna?

    python -m benchmarks.search.whole_search              24 trials x 10 epochs, about 20 minutes on two idle cores
    python -m benchmarks.search.whole_search --seeds 3    sentune with three seeds; the claims use the median
    python -m benchmarks.search.whole_search --quick      tiny: shows that it works, not what holds

The baselines run the tutorial notebook's loop in fp32. All methods search the `notebook` space on MR with random
300-wide vectors and two cores. If the folder SENTUNE_DATA lacks the archive of MR, the data are the snippets.
`sentune run` runs to its end, with one or several seeds (of the split too), with `--precision auto`.

Of each baseline, only a part is run: a few epochs of a few trials of the first study, from fast ones to slow ones. The
speed of this part gives the time of the whole. sentune trains both the part and all trials, which gives the factor
between them. Start-up and gaps between trials are left out of the computed times, in favour of the baselines. The
number of epochs under their stopping rules is replayed on recorded learning curves (results/reference/curves.json.gz,
2,000 snippets). The table also has the fewest epochs that these rules allow.

The loop's faults spoil its accuracies, so they are not measured. With several seeds, the baselines run between the
studies, so a machine whose speed drifts affects both.
"""

import dataclasses
import itertools
import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.baselines.sentune_studies import Study, machine, run_study, seconds_an_epoch, spread_sample
from benchmarks.inputs.corpora import part_of_snippets
from benchmarks.inputs.labelled_sets import mr_or
from benchmarks.results import new_parser, table_head, verdict
from benchmarks.search.ray_and_optuna import WAYS, Job, Searched, run
from benchmarks.simulation.curves import CURVES, read_table
from benchmarks.simulation.stopped_epochs import asha_epochs, fewest_asha, fewest_median, median_epochs
from core import load_corpus
from tuning.scheduling.asha import Asha

TARGETS = {"the better of a1 and a2": 15, "b": 5}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method in the table."""

    seconds: float
    epochs: float
    epoch_seconds: float
    how: str
    val: float | None = None
    test: float | None = None

    def text(self, name: str) -> str:
        accuracies = " | ".join("" if each is None else f"{each:.2%}" for each in (self.val, self.test))
        figures = f"{self.seconds:,.0f} | {self.epochs:.0f} | {self.epoch_seconds:.2f}"
        return f"| {name} | {figures} | {accuracies} | {self.how} |"


def main() -> None:
    parser = new_parser(__doc__, "Run a tiny search on the snippets.")
    parser.add_argument("--seeds", type=int, default=1, help="Number of seeds of `sentune run`, from 42 (default: 1).")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sentune-whole-") as name:
        folder = Path(name)
        job = new_job(folder, quick=arguments.quick)
        load_corpus(job.dataset, vectors=job.vectors)  # prepared once, for every method
        print(f"{machine()}; {title_of(job)}\n")
        accuracies = ("validation, retrained trial", "its test")
        columns = ("method", "wall time, s", "epochs", "s per epoch of a trial", *accuracies, "")
        print(*table_head(columns), sep="\n")
        ours = run_seed(job, job.seed, folder)
        studies, measuring = [ours], baselines(job, ours, 2 if arguments.quick else 4)
        rows = {}
        for seed in range(job.seed + 1, job.seed + arguments.seeds):  # in turn, because a machine's speed drifts
            rows.update(itertools.islice(measuring, math.ceil(len(WAYS) / (arguments.seeds - 1))))
            studies.append(run_seed(job, seed, folder))
        rows.update(measuring)
        seconds = statistics.median(study.seconds for study in studies)
    show_claims(seconds, rows, bounds(job, rows), conclusive=not arguments.quick)


def new_job(folder: Path, *, quick: bool) -> Job:
    """Return the job of the first method; writes the data of --quick into the folder."""
    whole = Job(
        way="a1",
        dataset=mr_or("snippets"),
        vectors="none",
        settings=[],
        trials=24,
        epochs=10,
        limit=2,
        points=[],
        seed=42,
    )
    if not quick:
        return whole
    part_of_snippets(folder / "part.csv", 400)
    tiny = {
        "dataset": str(folder / "part.csv"),
        "vectors": "glove-50d",
        "settings": ["hidden_dim=int(8,16)", "n_layers=1"],
    }
    return dataclasses.replace(whole, **tiny, trials=6, epochs=3, limit=1)


def title_of(job: Job) -> str:
    data = Path(job.dataset.partition(":")[0]).name
    size = f"{job.trials} trials x {job.epochs} epochs"
    return f"{data}, vectors {job.vectors}, {size}, the notebook's loop as it is"


def words(job: Job) -> list[str]:
    """Return the options of `sentune run` for the same search."""
    changes = [word for setting in job.settings for word in ("--set", setting)]
    sizes = ["--trials", str(job.trials), "--epochs", str(job.epochs), "--workers", "2", "--seed", str(job.seed)]
    return [job.dataset, "--vectors", job.vectors, "--space", "notebook", *changes, *sizes]


def run_seed(job: Job, seed: int, folder: Path) -> Study:
    """Run sentune with a seed and print its row."""
    study = run_study(folder, f"study-{seed}", words(dataclasses.replace(job, seed=seed)))
    print(row_of(study).text(f"(d) `sentune run`, seed {seed}"), flush=True)
    return study


def row_of(study: Study) -> Row:
    return Row(
        seconds=study.seconds,
        epochs=sum(len(trial.epochs) for trial in study.trials),
        epoch_seconds=seconds_an_epoch(study.trials),
        val=study.val_accuracy,
        test=study.test_accuracy,
        how=f"measured; retrained: {study.verdict}",
    )


def baselines(job: Job, ours: Study, size: int) -> Iterator[tuple[str, Row]]:
    """Run a part of `size` trials of one baseline after another, and print its row."""
    sample = spread_sample(ours.trials, size)
    part = dataclasses.replace(job, points=[dict(trial.params) for trial in sample], trials=len(sample))
    scale = seconds_an_epoch(ours.trials) / seconds_an_epoch(sample)
    trained = replay_epochs(job)
    for name, way in WAYS.items():
        found = run(dataclasses.replace(part, way=name))
        row = row_of_part(found, scale, trained[name], way.at_once)
        print(row.text(f"({name}) {way.title}"), flush=True)
        yield name, row


def row_of_part(found: Searched, scale: float, epochs: float, at_once: int) -> Row:
    """Compute the row of a method of which a part ran.

    Args:
        found: Result of the part.
        scale: Seconds per epoch of all trials over those of the part's trials, as measured with sentune.
        epochs: Number of epochs of the whole search.
        at_once: Number of parallel trials.
    """
    each = found.epoch_seconds * scale
    how = f"computed from {found.epochs} epochs of {len(found.trials)} trials, run in {found.seconds:.0f} s"
    return Row(seconds=epochs * each / at_once, epochs=epochs, epoch_seconds=each, how=how)


def replay_epochs(job: Job) -> Mapping[str, float]:
    """Return the epochs of a whole search by each method; b and c are replayed on the recorded curves."""
    table, every = read_table(CURVES, "notebook"), job.trials * job.epochs
    asha = asha_epochs(table, job.trials, job.epochs, Asha())
    return {"a1": every, "a2": every, "b": asha, "c": median_epochs(table, job.trials, job.epochs)}


def bounds(job: Job, rows: Mapping[str, Row]) -> dict[str, float]:
    """Print and return the seconds of b and c with the fewest epochs that their rules allow."""
    fewest = {"b": fewest_asha(job.trials, job.epochs, Asha()), "c": fewest_median(job.trials, job.epochs)}
    seconds = {name: rows[name].seconds * epochs / rows[name].epochs for name, epochs in fewest.items()}
    print("\nEpochs of (b) and (c): the median of 50 replays on recorded curves. The fewest that their rules allow:")
    for name, epochs in fewest.items():
        print(f"({name}) {epochs} epochs, {seconds[name]:,.0f} s")
    return seconds


def show_claims(ours: float, rows: Mapping[str, Row], fewest: Mapping[str, float], *, conclusive: bool) -> None:
    """Print how many times as fast (d) is, compared with the targets."""
    theirs = {"the better of a1 and a2": min(rows["a1"].seconds, rows["a2"].seconds), "b": rows["b"].seconds}
    theirs |= {"c": rows["c"].seconds} | {f"{name} with the fewest epochs": each for name, each in fewest.items()}
    print()
    for name, seconds in theirs.items():
        line = f"(d) against {name}: {seconds / ours:.2f} times faster"
        if name in TARGETS:
            end = verdict(seconds / ours >= TARGETS[name], conclusive=conclusive)
            line += f", at least {TARGETS[name]} claimed: {end}"
        print(line)


if __name__ == "__main__":
    main()
