"""Run one step of benchmarks.search.growth in a fresh process.

It prints JSON: seconds, and MiB beyond the imports.
"""

import argparse
import csv
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data_cache_steps import peak_mib
from benchmarks.inputs.recorded_study import EPOCHS, record_study, visible_results
from core import TrialConfig, load_corpus, train
from core.data import datasets
from core.data.corpus import ReadOptions
from core.io import cache
from core.training.result import EpochResult
from tuning.analysis.best import table_of
from tuning.analysis.filters import RowFilter
from tuning.journal.file import JOURNAL
from tuning.journal.records import study_attributes
from tuning.journal.writer import open_study
from tuning.report.command import page
from tuning.scheduling.asha import Asha
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.suggester import Suggester
from tuning.space.load import load_space

REPEATS = 5
"""Number of repetitions of short steps, whose median counts."""
NEW = EpochResult(epoch=1, train_loss=1.0, val_loss=1.0, val_accuracy=0.7, score=0.7, seconds=1.0)
Found = dict[str, float]


def study(trials: int, folder: Path) -> Found:
    """Write a study of the `default` space with 1,000 validation sentences."""
    record_study(folder / "study", trials=trials, space="default", sentences=1000)
    return {"journal_mb": (folder / "study" / JOURNAL).stat().st_size / 1e6}


def suggestion(trials: int, folder: Path) -> Found:
    """Suggest the next configuration by tpe, after a first suggestion; processor time."""
    with opened(folder) as journal:
        space = load_space("default")
        plan = StudyConfig(space=space, n_trials=trials + 1, epochs=EPOCHS, parallelism=4, seed=7, stopping=Asha())
        suggester = Suggester(plan)
        for trial in journal.trials():
            suggester.add(trial)
        log = visible_results(journal.trials())
        suggester.suggest(log)
        before = peak_mib()
        seconds = median(lambda: suggester.suggest(log), time.process_time)
        return {"seconds": seconds, "mib": peak_mib() - before}


def write(trials: int, folder: Path) -> Found:
    """Write the start and the first epoch of a trial into the journal."""
    space = load_space("default")
    with opened(folder) as journal:
        last = journal.records(trials - 1)[0]
        before = peak_mib()

        def begin() -> None:
            number = journal.add_trial(last.params, space.distributions(last.params), last.config, "sampler")
            journal.record_epoch(number, NEW)

        return {"seconds": median(begin), "mib": peak_mib() - before}


def opening(trials: int, folder: Path) -> Found:
    """Read the whole journal, as the driver of a resumed study does."""

    def work() -> None:
        with opened(folder) as journal:
            journal.records()

    return once(work)


def best(trials: int, folder: Path) -> Found:
    """Make the table that `best` prints."""
    return once(lambda: table_of(folder / "study", RowFilter(), "table"))


def report(trials: int, folder: Path) -> Found:
    """Make the page that `report` writes."""
    made = bytearray()

    def work() -> None:
        made.extend(page(folder / "study", cache_dir=folder, command="sentune report", every_seconds=None))

    return once(work) | {"page_mb": len(made) / 1e6}


def sentences(count: int, folder: Path) -> Found:
    """Write a file of sentences: the rated snippets repeated, from the second time with shuffled words."""
    read = datasets.resolve_dataset("snippets", ReadOptions(), cache.default_dir()).read()
    draw = np.random.default_rng(0)
    with (folder / "sentences.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for at in range(count):
            words = read.texts[at % len(read.texts)].split(" ")
            if at >= len(read.texts):
                draw.shuffle(words)
            writer.writerow([" ".join(words), read.classes[read.labels[at % len(read.texts)]]])
    return {"file_mb": (folder / "sentences.csv").stat().st_size / 1e6}


def prepare(count: int, folder: Path) -> Found:
    """Prepare the corpus with an empty cache."""
    return once(lambda: corpus_in(folder))


def epoch(count: int, folder: Path) -> Found:
    """Train and validate a small model for one epoch on one thread; opening the corpus does not count."""
    corpus = corpus_in(folder)
    config = TrialConfig(hidden_dim=16, batch_size=64, epochs=1, seed=1)
    return once(lambda: train(config, corpus))


def corpus_in(folder: Path) -> Any:
    return load_corpus(str(folder / "sentences.csv"), vectors="none", embedding_dim=16, cache_dir=folder / "cache")


def opened(folder: Path) -> Any:
    """Open the study's journal for writing."""
    return open_study(folder / "study", study_attributes(folder / "study")["spec"])


def once(work: Callable[[], Any]) -> Found:
    before, began = peak_mib(), time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - began, "mib": peak_mib() - before}


def median(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the median seconds, by wall time or by time.process_time, which a busy machine does not affect."""

    def seconds() -> Iterator[float]:
        for _ in range(REPEATS):
            began = clock()
            work()
            yield clock() - began

    return statistics.median(seconds())


STEPS: dict[str, Callable[[int, Path], Found]] = {
    step.__name__: step for step in (study, suggestion, write, opening, best, report, sentences, prepare, epoch)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("size", type=int)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(json.dumps(STEPS[arguments.step](arguments.size, arguments.folder)))


if __name__ == "__main__":
    main()
