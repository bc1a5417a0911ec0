"""Are ensemble and distilled model more accurate than winner and plain baseline?

    SENTUNE_DATA=DIR python -m benchmarks.quality.best_models mr trec          both sets: hours on two cores
    SENTUNE_DATA=DIR python -m benchmarks.quality.best_models mr --vectors none
    python -m benchmarks.quality.best_models --table                            the table of all results so far
    python -m benchmarks.quality.best_models nyt --quick                        one small fold: shows that it works

Seven datasets are cut into ten folds. Each fold is a study of its own by `sentune run`, so members, weights and
settings do not depend on its test sentences. `sentune ensemble`, `retrain --trial best` and `distill` then train on
train and validation together, as does the plain baseline. `retrain` also trains the winner on train alone. Each result
is one line of RESULTS. The same command continues with what is missing.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from benchmarks.baselines.sentune_studies import machine, said_by
from benchmarks.inputs.labelled_sets import FOLDS, SETS, read_set, write_fold
from benchmarks.results import add_result, has_result, read_results
from core.data.corpus import TEST
from core.data.load import load_corpus
from core.metrics import METRICS
from core.training.plain_baseline import evaluate_plain, fit_plain_baseline

RESULTS = Path(__file__).parents[2] / "results/reference/best_models.jsonl"
MODELS = ("plain", "winner", "ensemble", "distilled")
ON_TRAIN = "winner_on_train"
"""Newer results have it too."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", choices=[*SETS, []], help="Datasets.")
    parser.add_argument("--folds", type=int, default=FOLDS, help="Number of folds to do, from the first (default: 10).")
    parser.add_argument("--vectors", default="glove-50d", help="Word vectors (default: glove-50d).")
    parser.add_argument("--space", default="quick", help="Search space (default: quick).")
    parser.add_argument("--trials", type=int, default=16, help="Trials of each study (default: 16).")
    parser.add_argument("--folder", type=Path, default=Path("results/best-models"), help="Folder of the studies.")
    parser.add_argument("--table", action="store_true", help="Only print the table.")
    parser.add_argument("--quick", action="store_true", help="One fold, 3 trials of 2 epochs, no record.")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.folds, arguments.trials = 1, 3
    for name in arguments.sets:
        run_set(name, arguments)
    if not arguments.quick:
        print("\n".join(table(read_results(RESULTS))))


def run_set(name: str, arguments: argparse.Namespace) -> None:
    """Do the folds of a dataset that have no result yet."""
    how = {"set": name, "vectors": arguments.vectors, "space": arguments.space, "trials": arguments.trials}
    data = read_set(name)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for fold in range(arguments.folds):
        if not arguments.quick and has_result(RESULTS, {**how, "fold": fold}):
            continue
        file = arguments.folder / f"{name}-{fold}.csv"
        write_fold(file, data, fold)
        found = {**how, "fold": fold, **run_fold(file, arguments), "machine": machine()}
        print(json.dumps(found), flush=True)
        if not arguments.quick:
            add_result(RESULTS, found)


def run_fold(file: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the test accuracy of each model of a fold, and the corrected figure of the ensemble."""
    name = f"{file.stem}-{arguments.space}-{arguments.trials}-{arguments.vectors}".replace("/", "-")
    study, on = arguments.folder / name, ("--on", "train+val")
    epochs = ("--epochs", "2") if arguments.quick else ()
    said_by("run", str(file), "--split-column", "split", "--vectors", arguments.vectors, "--space", arguments.space,
            "--trials", str(arguments.trials), *epochs, "--name", name, "--results", str(arguments.folder))  # fmt: skip
    said_by("ensemble", str(study), *on, "--out", str(study / "ensemble"))
    said_by("retrain", str(study), "--trial", "best", *on, "--out", str(study / "winner"))
    said_by("distill", str(study / "ensemble"), str(study), "--trial", "best", *on, "--out", str(study / "distilled"))
    said_by("retrain", str(study), "--trial", "best", "--out", str(study / ON_TRAIN))
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


def table(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the rows of a Markdown table: the mean test accuracy of each model over the folds of a dataset."""
    models = ("plain baseline", "single winner", "ensemble", "distilled", "ensemble - better of the first two")
    columns = ("set", "vectors", "search", "folds", *models, "winner: train+val - train")
    yield f"| {' | '.join(columns)} |"
    yield "|" + " --- |" * len(columns)
    keys = ("set", "vectors", "space", "trials")
    for kind in dict.fromkeys(tuple(each[key] for key in keys) for each in results):
        rows = [each for each in results if tuple(each[key] for key in keys) == kind]
        means = {model: fmean(row[model] for row in rows) for model in MODELS}
        better = max(("plain", "winner"), key=means.__getitem__)
        shown = (f"{100 * means[model]:.2f}" for model in MODELS)
        gains = mean_gain(rows, "ensemble", better), mean_gain(rows, "winner", ON_TRAIN)
        cells = (*kind[:2], f"{kind[2]}, {kind[3]} trials", str(len(rows)), *shown, *gains)
        yield f"| {' | '.join(cells)} |"


def mean_gain(rows: Sequence[Mapping[str, Any]], better: str, worse: str) -> str:
    """Return the mean difference in points between two models over the folds that have both, with its deviation."""
    gains = [100 * (row[better] - row[worse]) for row in rows if worse in row]
    if not gains:
        return ""
    return f"{fmean(gains):+.2f}" + (f" (sd {stdev(gains):.2f})" if len(gains) > 1 else "")


if __name__ == "__main__":
    main()
