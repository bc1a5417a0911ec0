"""Run one step of benchmarks.search.growth in a fresh process.

The step prints JSON: seconds of processor time, which a busy machine does not affect, and MiB besides the imports.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.data_cache_steps import peak_mib
from benchmarks.inputs.many_sentences import write_many
from benchmarks.inputs.recorded_study import EPOCHS, record_study, store_probabilities, visible_results
from benchmarks.search.overhead import reported_outputs
from core import TrialConfig, load_corpus, train
from core.metrics import METRICS
from core.plain_baseline import validate_plain
from core.training.result import EpochResult
from tuning.analysis.best import table_of
from tuning.analysis.filters import RowFilter
from tuning.journal.folder import JOURNAL
from tuning.journal.records import study_attributes, to_record
from tuning.journal.writer import StudyJournal, open_study
from tuning.report.command import page
from tuning.scheduling.asha import Asha
from tuning.scheduling.study_config import StudyConfig
from tuning.scheduling.suggester import Suggester
from tuning.space.load import load_space

REPEATS = 5
"""Number of repetitions of short steps, whose median counts."""
NEW = EpochResult(epoch=1, train_loss=1.0, val_loss=1.0, val_accuracy=0.7, score=0.7, seconds=1.0)
Found = dict[str, float]


def study(trials: int, folder: Path) -> Found:
    """Write a study of the `default` space with 1,000 validation sentences, and with stored probabilities."""
    record_study(folder / "study", trials=trials, space="default", sentences=1000)
    store_probabilities(folder / "study")
    return {"journal_mb": (folder / "study" / JOURNAL).stat().st_size / 1e6}


def suggestion(trials: int, folder: Path) -> Found:
    """Suggest the next configuration by tpe, after a first suggestion; processor time."""
    with open_journal(folder) as journal:
        space = load_space("default")
        plan = StudyConfig(space=space, n_trials=trials + 1, epochs=EPOCHS, parallelism=4, seed=7, stopping=Asha())
        return next_suggestion(plan, journal)


def next_suggestion(plan: StudyConfig, journal: StudyJournal) -> Found:
    """Suggest by the plan's sampler, which knows the journal's trials, after a first suggestion."""
    suggester = Suggester(plan)
    for trial in journal.trials():
        suggester.add(trial)
    log = visible_results(journal.trials())
    suggester.suggest(log)
    before = peak_mib()
    seconds = median(lambda: suggester.suggest(log))
    return {"seconds": seconds, "mib": peak_mib() - before}


def write(trials: int, folder: Path) -> Found:
    """Write the start and the first epoch of a trial into the journal."""
    space, outputs = load_space("default"), reported_outputs()
    with open_journal(folder) as journal:
        last = to_record(journal.trial(trials - 1))
        before = peak_mib()

        def begin() -> None:
            number = journal.add_trial(last.params, space.distributions(last.params), last.config, "sampler")
            journal.record_epoch(number, NEW, **outputs)

        return {"seconds": median(begin), "mib": peak_mib() - before}


def opening(trials: int, folder: Path) -> Found:
    """Read the whole journal, as the driver of a resumed study does."""

    def work() -> None:
        with open_journal(folder) as journal:
            journal.records()

    return once(work)


def best(trials: int, folder: Path) -> Found:
    """Make the table that `best` prints."""
    return once(lambda: table_of(folder / "study", RowFilter(top=10), "table"))


def report(trials: int, folder: Path) -> Found:
    """Make the page that `report` writes."""
    made = bytearray()

    def work() -> None:
        made.extend(page(folder / "study", cache_dir=folder, command="sentune report", every_seconds=None)[0])

    return once(work) | {"page_mb": len(made) / 1e6}


def outputs(count: int, folder: Path) -> Found:
    """Write a study of 16 trials with this many validation sentences, and with stored probabilities."""
    record_study(folder / "study", trials=16, space="quick", sentences=count)
    store_probabilities(folder / "study")
    return {"journal_mb": (folder / "study" / JOURNAL).stat().st_size / 1e6}


def sentences(count: int, folder: Path) -> Found:
    """Write a file of distinct sentences."""
    write_many(folder / "sentences.csv", count)
    return {"file_mb": (folder / "sentences.csv").stat().st_size / 1e6}


def prepare(count: int, folder: Path) -> Found:
    """Prepare the corpus with an empty cache; a second time, which is the step `reopen`, open it from the cache."""
    return once(lambda: corpus_in(folder))


def epoch(count: int, folder: Path) -> Found:
    """Train a small model for one epoch on one thread, validate it and write its checkpoint."""
    corpus = corpus_in(folder)
    config = TrialConfig(hidden_dim=16, batch_size=64, epochs=1, seed=1)
    return once(lambda: train(config, corpus, checkpoint_dir=folder / "checkpoints"))


def plain(count: int, folder: Path) -> Found:
    """Fit the plain baseline and evaluate it on the validation split."""
    corpus = corpus_in(folder)
    return once(lambda: validate_plain(corpus, METRICS["accuracy"]))


def corpus_in(folder: Path) -> Any:
    return load_corpus(str(folder / "sentences.csv"), vectors="glove-50d", cache_dir=folder / "cache")


def open_journal(folder: Path) -> Any:
    """Open the study's journal for writing."""
    return open_study(folder / "study", study_attributes(folder / "study")["spec"])


def once(work: Callable[[], Any]) -> Found:
    before, began = peak_mib(), time.process_time()
    work()
    return {"seconds": time.process_time() - began, "mib": peak_mib() - before}


def median(work: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> float:
    """Return the median seconds."""

    def seconds() -> Iterator[float]:
        for _ in range(REPEATS):
            began = clock()
            work()
            yield clock() - began

    return statistics.median(seconds())


STEPS: dict[str, Callable[[int, Path], Found]] = {
    step.__name__: step
    for step in (study, suggestion, write, opening, best, report, outputs, sentences, prepare, epoch, plain)
} | {"reopen": prepare}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("size", type=int)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(json.dumps(STEPS[arguments.step](arguments.size, arguments.folder)))


if __name__ == "__main__":
    main()
