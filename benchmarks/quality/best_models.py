"""Are ensemble and distilled model more accurate than winner and plain baseline?

    SENTUNE_DATA=DIR python -m benchmarks.quality.best_models mr trec          both sets: hours on two cores
    SENTUNE_DATA=DIR python -m benchmarks.quality.best_models mr --vectors none
    python -m benchmarks.quality.best_models --table                            the tables of all results so far
    python -m benchmarks.quality.best_models nyt --quick                        one small fold: shows that it works

Seven datasets are cut into ten folds. Each fold is a study of its own by `sentune run`, so its trials, members and
weights are chosen without its test sentences. But the first trials of each study are the portfolio, which was chosen by
accuracies on folds 0 and 1 (benchmarks.portfolio.record). So the other folds have a row of their own. `sentune
ensemble`, `retrain --trial best` and `distill` train on train and validation together, as does the plain baseline.
`retrain` also trains the winner on train alone. Each result is one line of RESULTS. The same command continues with
what is missing.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.baselines.sentune_studies import machine, run_sentune
from benchmarks.inputs.labelled_sets import FOLDS, SETS, read_set, write_fold
from benchmarks.results import REFERENCE, Result, mean_and_error, measure_missing, read_results, table_head, table_row
from core.data.corpus import TEST
from core.data.load import load_corpus
from core.metrics import METRICS
from core.plain_baseline import evaluate_plain, fit_plain_baseline

RESULTS = REFERENCE / "best_models.jsonl"
MODELS = ("plain", "winner", "ensemble", "distilled")
ON_TRAIN = "winner_on_train"
GROUPS: dict[str, Callable[[Result], bool]] = {
    "MR": lambda row: row["set"] == "mr" and row["vectors"] != "none",
    "MR without vectors": lambda row: row["vectors"] == "none",
    "the six other sets": lambda row: row["set"] != "mr",
    "of these, MPQA and tweets": lambda row: row["set"] in ("mpqa", "tweets"),
    "of these, the four others": lambda row: row["set"] not in ("mr", "mpqa", "tweets"),
    "all with vectors, folds 2 to 9": lambda row: row["vectors"] != "none" and row["fold"] > 1,
    "all with vectors": lambda row: row["vectors"] != "none",
    "all": lambda row: True,
}
DIFFERENCES = (
    ("ensemble", "winner"),
    ("ensemble", "plain"),
    ("winner", "plain"),
    ("distilled", "winner"),
    ("winner", ON_TRAIN),
    ("ensemble", "estimate"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", choices=[*SETS, []], help="Datasets.")
    parser.add_argument("--folds", type=int, default=FOLDS, help="Number of folds to do, from the first (default: 10).")
    parser.add_argument("--vectors", default="glove-50d", help="Word vectors (default: glove-50d).")
    parser.add_argument("--space", default="quick", help="Search space (default: quick).")
    parser.add_argument("--trials", type=int, default=16, help="Trials of each study (default: 16).")
    parser.add_argument("--folder", type=Path, default=Path("results/best-models"), help="Folder of the studies.")
    parser.add_argument("--table", action="store_true", help="Only print the tables.")
    parser.add_argument("--quick", action="store_true", help="One fold, 3 trials of 2 epochs, no record.")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.folds, arguments.trials = 1, 3
    how = {"vectors": arguments.vectors, "space": arguments.space, "trials": arguments.trials}
    jobs = [{"set": name, **how, "fold": fold} for name in arguments.sets for fold in range(arguments.folds)]
    if arguments.quick:
        for job in jobs:
            print(json.dumps(measure(job, arguments)), flush=True)
        return
    if not arguments.table:
        measure_missing(RESULTS, jobs, partial(measure, arguments=arguments))
    results = read_results(RESULTS)
    print("\n".join([*table(results), "", *differences(results)]))


def measure(job: Mapping[str, Any], arguments: argparse.Namespace) -> Result:
    """Do one fold of a dataset; return its line of RESULTS."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    file = arguments.folder / f"{job['set']}-{job['fold']}.csv"
    write_fold(file, read_set(job["set"]), job["fold"])
    return {**job, **run_fold(file, arguments), "machine": machine()}


def run_fold(file: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the test accuracy of each model of a fold, and the corrected figure of the ensemble."""
    name = f"{file.stem}-{arguments.space}-{arguments.trials}-{arguments.vectors}".replace("/", "-")
    study, on = arguments.folder / name, ("--on", "train+val")
    epochs = ("--epochs", "2") if arguments.quick else ()
    options = ("--vectors", arguments.vectors, "--space", arguments.space, "--trials", str(arguments.trials), *epochs)
    place = ("--name", name, "--results", str(arguments.folder))
    run_sentune("run", str(file), "--split-column", "split", *options, *place)
    best = (str(study), "--trial", "best")
    run_sentune("ensemble", str(study), *on, "--out", str(study / "ensemble"))
    run_sentune("retrain", *best, *on, "--out", str(study / "winner"))
    run_sentune("distill", str(study / "ensemble"), *best, *on, "--out", str(study / "distilled"))
    run_sentune("retrain", *best, "--out", str(study / ON_TRAIN))
    metrics = {each: json.loads((study / each / "metrics.json").read_text()) for each in (*MODELS[1:], ON_TRAIN)}
    return {
        "plain": plain_accuracy(file, arguments.vectors),
        **{each: found["test_accuracy"] for each, found in metrics.items()},
        "sentences": metrics["winner"]["test_sentences"],
        "estimate": metrics["ensemble"]["estimate"]["value"],
        "members": {each["name"]: each["weight"] for each in metrics["ensemble"]["members"]},
        "calibration": [metrics["ensemble"]["calibration"][state]["error"] for state in ("before", "after")],
    }


def plain_accuracy(file: Path, vectors: str) -> float:
    """Fit the plain baseline on train and validation; return its test accuracy."""
    corpus = load_corpus(str(file), split_column="split", vectors=vectors)
    baseline = fit_plain_baseline(corpus, np.flatnonzero(corpus.split != TEST).astype(np.int64))
    return float(evaluate_plain(baseline, corpus, TEST, METRICS["accuracy"]).correct.mean())


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the rows of a Markdown table: the means over the folds of a dataset."""
    models = ("plain baseline", "single winner", "ensemble", "distilled", "ensemble - better of the first two")
    yield from table_head(
        ("set", "vectors", "search", "folds", *models, "winner: train+val - train", "calibration error")
    )
    keys = ("set", "vectors", "space", "trials")
    for kind in dict.fromkeys(tuple(each[key] for key in keys) for each in results):
        rows = [each for each in results if tuple(each[key] for key in keys) == kind]
        means = {model: fmean(row[model] for row in rows) for model in MODELS}
        better = max(("plain", "winner"), key=means.__getitem__)
        shown = (f"{100 * means[model]:.2f}" for model in MODELS)
        gains = mean_difference(rows, "ensemble", better), mean_difference(rows, "winner", ON_TRAIN)
        calibration = (fmean(row["calibration"][i] for row in rows) for i in range(2))
        errors = ", ".join(f"{error:.3f}" for error in calibration)
        yield table_row((*kind[:2], f"{kind[2]}, {kind[3]} trials", str(len(rows)), *shown, *gains, errors))


def differences(results: Sequence[Result]) -> Iterator[str]:
    """Yield the rows of a Markdown table: mean differences over the folds of several datasets, in points."""
    yield from table_head(("sets", "folds", *(f"{better} - {worse}" for better, worse in DIFFERENCES)))
    for name, chosen in GROUPS.items():
        if rows := [row for row in results if chosen(row)]:
            yield table_row((name, str(len(rows)), *(mean_difference(rows, *pair) for pair in DIFFERENCES)))


def mean_difference(rows: Sequence[Result], better: str, worse: str) -> str:
    """Return the mean difference in points between two models, with its standard error over the folds."""
    return mean_and_error([100 * (row[better] - row[worse]) for row in rows])


if __name__ == "__main__":
    main()
