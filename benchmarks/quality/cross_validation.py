"""How accurate is sentune's best trial over folds, compared with TF-IDF?

    SENTUNE_DATA=DIR python -m benchmarks.quality.cross_validation       MR and the rated snippets, 10 folds: 2 minutes
    python -m benchmarks.quality.cross_validation --study results/NAME   a study's data, with its `confirm --folds` row
    python -m benchmarks.quality.cross_validation --study results/NAME --refit   also trained on train and validation
    python -m benchmarks.quality.cross_validation --quick                3 folds of the snippets: shows that it works

The other classifier is scikit-learn's TfidfVectorizer (one and two words, sublinear) and LogisticRegression, otherwise
with defaults; the plain baseline of a study has C = 10 instead of 1. The folds are those of `sentune confirm` with the
same seed (`folds:K` of load_corpus). The other classifier is trained on the training sentences, as a trial is, and
again with the validation sentences, which it does not need otherwise. With --refit, the study's trial is also trained
on both, as by `sentune retrain --on train+val`. To find the number of epochs, each fold is first trained again, which
must reproduce the stored best epoch and its validation loss.

A study is compared with the other classifier in pairs: over the folds (Student's t) and over all sentences (exact
McNemar test). The interval over folds is slightly too narrow, because folds share training sentences.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from benchmarks.inputs.labelled_sets import mr_or
from benchmarks.results import table_head
from core import TrialConfig, load_corpus, train
from core.data import datasets, splits
from core.data.corpus import TEST, TRAIN, VAL, Dataset, ReadOptions
from core.io import cache
from core.stats import paired_t, wilson
from core.training.evaluate import evaluate
from core.training.refit import refit
from tuning.confirm.runs import PREFIX
from tuning.journal.predictions import unpack_labels
from tuning.journal.records import Spec, rank_trials, read_study

Correct = NDArray[np.bool_]
"""(n,) whether each of n sentences was classified correctly."""
PLAIN = {"TF-IDF + logistic regression, on train": (TRAIN,), "the same, on train and validation": (TRAIN, VAL)}


@dataclass(frozen=True, kw_only=True)
class OverFolds:
    """The results of one classifier on the test split of every fold."""

    name: str
    correct: Sequence[Correct]
    """For each fold, which of its test sentences are correct, in the corpus's order."""

    @property
    def accuracies(self) -> list[float]:
        """Test accuracy of each fold, in [0, 1]."""
        return [float(fold.mean()) for fold in self.correct]


def main() -> None:
    arguments = parse()
    if arguments.study:
        attributes, records = read_study(arguments.study)
        data, rows = attributes["spec"]["data"], [of_study(attributes, arguments.folds, rank_trials(records)[0].number)]
        rows = [*plain(read(data), arguments.folds, data["seed"]), *rows]
        if arguments.refit:  # last, because it takes minutes: unreadable data fail before
            rows.append(refit_study(arguments.study, arguments.folds))
        show(data["dataset"], data["seed"], rows)
        return
    for dataset in filter(None, ("snippets", "" if arguments.quick else mr_or(""))):
        show(dataset, 42, plain(read({"dataset": dataset}), arguments.folds, 42))


def read(data: Mapping[str, Any]) -> Dataset:
    """Read the sentences of the corpus with these arguments of load_corpus."""
    options = ReadOptions(**{name: data.get(name) for name in ReadOptions.__slots__})
    return datasets.resolve_dataset(data["dataset"], options, cache.default_dir()).read()


def plain(data: Dataset, count: int, seed: int) -> list[OverFolds]:
    """Evaluate TF-IDF with logistic regression, trained on train and on train and validation."""
    texts = np.array(data.texts, dtype=object)
    correct: dict[str, list[Correct]] = {name: [] for name in PLAIN}
    for fold in range(count):
        codes = splits.fold_split(data.texts, data.labels, data.classes, count, fold, seed)
        for name, learned in PLAIN.items():
            known, test = np.isin(codes, learned), codes == TEST
            model = make_pipeline(
                TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000)
            )
            model.fit(texts[known], data.labels[known])
            correct[name].append(model.predict(texts[test]) == data.labels[test])
    return [OverFolds(name=name, correct=found) for name, found in correct.items()]


def of_study(attributes: Mapping[str, Any], count: int, trial: int) -> OverFolds:
    """Return a trial's results, as `sentune confirm --folds` stored them in its study."""
    runs = fold_runs(attributes, count, trial)
    correct = [unpack_labels(run["correct"], f"fold {fold}").astype(bool) for fold, run in enumerate(runs)]
    return OverFolds(name=f"sentune, trial {runs[0]['trial']}", correct=correct)


def fold_runs(attributes: Mapping[str, Any], count: int, trial: int) -> list[Mapping[str, Any]]:
    """Return what `sentune confirm --folds` stored in a study of a trial, one entry per fold.

    Raises:
        SystemExit: A fold is missing.
    """
    runs = {
        value["fold"]: value
        for name, value in attributes.items()
        if name.startswith(f"{PREFIX}:{trial}:") and value.get("folds") == count and "correct" in value
    }
    if missing := set(range(count)) - runs.keys():
        raise SystemExit(f"the study lacks {len(missing)} of {count} folds: run sentune confirm --folds {count} first")
    return [runs[fold] for fold in range(count)]


def refit_study(study: Path, count: int) -> OverFolds:
    """Evaluate the best trial after training on train and validation."""
    attributes, records = read_study(study)
    trial = rank_trials(records)[0].number
    runs = fold_runs(attributes, count, trial)
    config = TrialConfig.from_dict(records[trial].config)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(refit_fold, config, attributes["spec"], run) for run in runs]
        correct = [job.result() for job in jobs]
    return OverFolds(name="the same, on train and validation", correct=correct)


def refit_fold(config: TrialConfig, spec: Spec, run: Mapping[str, Any]) -> Correct:
    """Train on train and validation of a fold; return which test sentences are correct.

    Raises:
        RuntimeError: The fold's training differs from the one that `confirm` stored.
    """
    config, threads = config.replace(seed=run["seed"]), spec["threads"]
    fold = {"split": f"folds:{run['folds']}", "fold": run["fold"], "validation": "split"}
    corpus = load_corpus(**{**spec["data"], **fold})
    known = train(config, corpus, threads=threads)
    if (known.best_epoch, known.best_val_loss) != (run["best_epoch"], run["val_loss"]):
        raise RuntimeError(f"fold {run['fold']} was not reproduced: its best epoch or validation loss differs")
    weights = refit(config, corpus, known.epochs, threads=threads).weights
    return evaluate(config, weights, corpus, TEST, threads=threads).predictions == corpus.labels[corpus.indices(TEST)]


def show(dataset: str, seed: int, rows: Sequence[OverFolds]) -> None:
    """Print a row for each classifier, with its difference to the first."""
    first, n = rows[0], sum(map(len, rows[0].correct))
    name = "mr" if dataset.startswith("mr:") else Path(dataset).name
    print(f"\n{name}: {n:,} sentences, {len(first.correct)} folds of seed {seed}, test accuracy\n")
    accuracy = ("mean", "standard deviation", "95% interval")
    print(*table_head(("classifier", *accuracy, "against the first", "McNemar's p", "by fold")), sep="\n")
    for row in rows:
        within = wilson(sum(int(fold.sum()) for fold in row.correct), n)
        against = " | " if row is first else difference(row, first)
        print(
            f"| {row.name} | {statistics.fmean(row.accuracies):.4f} | {statistics.stdev(row.accuracies):.4f} | "
            f"{within.low:.4f} to {within.high:.4f} | {against} | {' '.join(f'{a:.3f}' for a in row.accuracies)} |",
            flush=True,
        )


def difference(row: OverFolds, first: OverFolds) -> str:
    """Return two cells: the difference over the folds in points, and McNemar's p over the sentences.

    Raises:
        SystemExit: The two were not evaluated on the same sentences.
    """
    if [len(fold) for fold in row.correct] != [len(fold) for fold in first.correct]:
        raise SystemExit(f"{row.name} was evaluated on other sentences; run confirm again, the data have changed")
    found = paired_t([a - b for a, b in zip(row.accuracies, first.accuracies, strict=True)])
    half = (found.interval.high - found.interval.low) / 2
    one, other = np.concatenate(row.correct), np.concatenate(first.correct)
    ahead, behind = int((one & ~other).sum()), int((other & ~one).sum())
    p = binomtest(ahead, ahead + behind).pvalue if ahead + behind else 1.0  # McNemar's exact test
    return f"{100 * found.mean:+.2f} +- {100 * half:.2f} points | {p:.2g}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Use 3 folds of the snippets.")
    parser.add_argument("--folds", type=int, help="Number of folds (default: 10, with --quick 3).")
    parser.add_argument("--study", type=Path, help="Folder of a study confirmed with the same --folds.")
    parser.add_argument(
        "--refit", action="store_true", help="Also train the study's best trial on train and validation."
    )
    arguments = parser.parse_args()
    arguments.folds = arguments.folds or (3 if arguments.quick else 10)
    return arguments


if __name__ == "__main__":
    main()
