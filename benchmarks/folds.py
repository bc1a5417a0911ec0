"""A plain baseline for the accuracy over folds: word counts and logistic regression, on the folds of `sentune confirm`.

    python -m benchmarks.folds --mr PATH                 MR and the rated snippets, 10 folds: under two minutes
    python -m benchmarks.folds --study results/NAME      that study's data, with its `confirm --folds` row beside it
    python -m benchmarks.folds --study results/NAME --refit   and a row for train and validation together
    python -m benchmarks.folds --quick                   3 folds of the snippets: shows that it works, not what holds

The baseline is scikit-learn's TfidfVectorizer (one and two words, sublinear) and LogisticRegression, both as they
come. The folds are those of load_corpus's `folds:K` for the same seed. It learns once from the training sentences
alone, as a trial of ours does, and once from the validation sentences too, which it has no other use for. With
--refit so does the study's trial, as `sentune retrain --on train+val` does it: each fold is trained once more to
learn how long, which has to come out as it did, and then on both. A study's row is compared with the baseline in
pairs: over the folds (Student's t; folds share training sentences, so its interval is somewhat narrow) and over all
sentences (exact McNemar).
"""

import argparse
import os
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from core import TrialConfig, load_corpus, train
from core.data import datasets, splits
from core.data.corpus import TEST, TRAIN, VAL, Dataset, ReadOptions
from core.io import cache
from core.stats import Correct, mcnemar, paired_t, wilson
from core.training.evaluate import evaluate
from core.training.refit import refit
from tuning.confirm.runs import PREFIX
from tuning.journal.predictions import unpack_labels
from tuning.journal.records import Spec, read_study, study_attributes

PLAIN = {"TF-IDF + logistic regression, on train": (TRAIN,), "the same, on train and validation": (TRAIN, VAL)}


@dataclass(frozen=True, kw_only=True)
class OverFolds:
    """One classifier on the test split of every fold."""

    name: str
    correct: Sequence[Correct]
    """By fold: which of its test sentences it got right, in the corpus's order."""

    @property
    def accuracies(self) -> list[float]:
        """By fold, in [0, 1]."""
        return [float(fold.mean()) for fold in self.correct]


def main() -> None:
    arguments = parse()
    if arguments.study:
        attributes = study_attributes(arguments.study)
        data, rows = attributes["spec"]["data"], [of_study(attributes, arguments.folds)]
        rows = [*plain(read(data), arguments.folds, data["seed"]), *rows]
        if arguments.refit:  # last: it takes minutes, which data that cannot be read must not cost
            rows.append(refitted(arguments.study, arguments.folds))
        show(data["dataset"], data["seed"], rows)
        return
    mr = [f"mr:{arguments.mr}"] if arguments.mr and not arguments.quick else []
    for dataset in ("snippets", *mr):
        show(dataset, 42, plain(read({"dataset": dataset}), arguments.folds, 42))


def read(data: Mapping[str, Any]) -> Dataset:
    """The sentences that a corpus of these arguments of load_corpus is made of."""
    options = ReadOptions(**{name: data.get(name) for name in ReadOptions.__slots__})
    return datasets.resolve_dataset(data["dataset"], options, cache.default_dir()).read()


def plain(data: Dataset, count: int, seed: int) -> list[OverFolds]:
    """The baseline, in both ways."""
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


def of_study(attributes: Mapping[str, Any], count: int) -> OverFolds:
    """The winner's row, from what `sentune confirm --folds` wrote into its study."""
    runs = fold_runs(attributes, count)
    correct = [unpack_labels(run["correct"], f"fold {fold}").astype(bool) for fold, run in enumerate(runs)]
    return OverFolds(name=f"sentune, trial {runs[0]['trial']}", correct=correct)


def fold_runs(attributes: Mapping[str, Any], count: int) -> list[Mapping[str, Any]]:
    """What `sentune confirm --folds` wrote into a study, by fold.

    Raises:
        SystemExit: not every fold is there.
    """
    runs = {
        value["fold"]: value
        for name, value in attributes.items()
        if name.startswith(f"{PREFIX}:") and value.get("folds") == count and "correct" in value
    }
    if missing := set(range(count)) - runs.keys():
        raise SystemExit(f"the study lacks {len(missing)} of {count} folds: run sentune confirm --folds {count} first")
    return [runs[fold] for fold in range(count)]


def refitted(study: Path, count: int) -> OverFolds:
    """The winner's row when it learns from validation as well."""
    attributes, records = read_study(study)
    runs = fold_runs(attributes, count)
    config = TrialConfig.from_dict(records[runs[0]["trial"]].config)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(refit_fold, config, attributes["spec"], run) for run in runs]
        correct = [job.result() for job in jobs]
    return OverFolds(name="the same, on train and validation", correct=correct)


def refit_fold(config: TrialConfig, spec: Spec, run: Mapping[str, Any]) -> Correct:
    """Which of a fold's test sentences are right.

    Raises:
        RuntimeError: the fold's training did not come out as `confirm` wrote it down.
    """
    config, threads = config.replace(seed=run["seed"]), spec["threads"]
    corpus = load_corpus(**{**spec["data"], "split": f"folds:{run['folds']}", "fold": run["fold"]})
    known = train(config, corpus, threads=threads)
    if known.weights_sha256 != run["weights_sha256"]:
        raise RuntimeError(f"fold {run['fold']} did not come out as confirm wrote it down")
    weights = refit(config, corpus, known.epochs, report=lambda number, loss: None, threads=threads).weights
    return evaluate(config, weights, corpus, TEST, threads=threads).predictions == corpus.labels[corpus.indices(TEST)]


def show(dataset: str, seed: int, rows: Sequence[OverFolds]) -> None:
    """Print a row each, and each row's difference to the first."""
    first, n = rows[0], sum(map(len, rows[0].correct))
    name = "mr" if dataset.startswith("mr:") else Path(dataset).name
    print(f"\n{name}: {n:,} sentences, {len(first.correct)} folds of seed {seed}, test accuracy\n")
    print("| classifier | mean | standard deviation | 95% interval | against the first | McNemar's p | by fold |")
    print("| --- " * 7 + "|")
    for row in rows:
        within = wilson(sum(int(fold.sum()) for fold in row.correct), n)
        against = " | " if row is first else difference(row, first)
        print(
            f"| {row.name} | {statistics.fmean(row.accuracies):.4f} | {statistics.stdev(row.accuracies):.4f} | "
            f"{within.low:.4f} to {within.high:.4f} | {against} | {' '.join(f'{a:.3f}' for a in row.accuracies)} |",
            flush=True,
        )


def difference(row: OverFolds, first: OverFolds) -> str:
    """Two cells: in points over the folds, and what the sentences say.

    Raises:
        SystemExit: the two were not judged on the same sentences.
    """
    if [len(fold) for fold in row.correct] != [len(fold) for fold in first.correct]:
        raise SystemExit(f"{row.name} was judged on other sentences: the data have changed")
    found = paired_t([a - b for a, b in zip(row.accuracies, first.accuracies, strict=True)])
    half = (found.interval.high - found.interval.low) / 2
    p = float(mcnemar(np.concatenate(row.correct), np.concatenate(first.correct)))
    return f"{100 * found.mean:+.2f} +- {100 * half:.2f} points | {p:.2g}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 folds of the snippets")
    parser.add_argument("--folds", type=int, help="10 unless --quick")
    parser.add_argument("--mr", default=os.environ.get("SENTUNE_MR"), help="the archive of MR, or its folder")
    parser.add_argument("--study", type=Path, help="a study's folder, confirmed over as many folds")
    parser.add_argument("--refit", action="store_true", help="of --study: a row on train and validation too")
    arguments = parser.parse_args()
    arguments.folds = arguments.folds or (3 if arguments.quick else 10)
    return arguments


if __name__ == "__main__":
    main()
