"""Is a model more accurate if it is trained on train and validation together?

    SENTUNE_DATA=DIR python -m benchmarks.quality.both_splits     seven sets: half an hour on two cores
    python -m benchmarks.quality.both_splits --table              the table of all results so far
    python -m benchmarks.quality.both_splits --quick              one small set, one fold, no record

Each set is cut into ten folds. Fold N is the test split of the Nth setting of the portfolio, which is trained with the
epochs that `--epochs auto` chooses and with N as its seed. Both models have as many steps as train alone needed up to
its best validation epoch. Each pair is one line of RESULTS. The same command continues with what is missing.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.inputs.labelled_sets import SETS, read_set, write_fold
from benchmarks.results import REFERENCE, measure_missing, read_results, table_head
from core.config import TrialConfig
from core.data.corpus import TEST
from core.data.load import load_corpus
from core.nn.environment import cpu_model, gains_from_bf16
from core.stats import paired_t
from core.training.evaluate import evaluate
from core.training.loop import train
from core.training.refit import refit
from tuning.scheduling.training_length import training_length
from tuning.space.portfolio import portfolio

RESULTS = REFERENCE / "both_splits.jsonl"
FOLDS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="Datasets (default: all seven).")
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"Folds of each set, at most 10 (default: {FOLDS}).")
    parser.add_argument("--processes", type=int, default=2, help="Number of processes of one thread (default: 2).")
    parser.add_argument("--table", action="store_true", help="Only print the table.")
    parser.add_argument("--quick", action="store_true", help="One set, one fold, 2 epochs, no record.")
    arguments = parser.parse_args()
    if arguments.quick:
        print(json.dumps(train_both({"set": "amazon", "fold": 0}, epochs=2)))
        return
    if not arguments.table:
        jobs = [{"set": name, "fold": fold} for fold in range(arguments.folds) for name in arguments.sets]
        measure_missing(RESULTS, jobs, train_both, processes=arguments.processes)
    print("\n".join(table(read_results(RESULTS))))


def train_both(job: Mapping[str, Any], epochs: int | None = None) -> dict[str, Any]:
    """Train a setting on train, then on both splits; return both test accuracies."""
    name, fold = job["set"], job["fold"]
    with tempfile.TemporaryDirectory(prefix="sentune-both-") as folder:
        file = Path(folder, f"{name}.csv")
        write_fold(file, read_set(name), fold)
        corpus = load_corpus(str(file), split_column="split", vectors="glove-50d")
    length = training_length(epochs, None, corpus.pass_sentences(), recorded=None)
    precision = "bf16" if gains_from_bf16("cpu") else "fp32"
    config = TrialConfig(**portfolio()[fold], epochs=length.epochs, seed=fold, precision=precision)
    alone = train(config, corpus)
    both = refit(config, corpus, alone.epochs)
    accuracies = (evaluate(config, each.weights, corpus, TEST).accuracy for each in (alone, both))
    return {
        **job,
        **dict(zip(("train", "both"), accuracies, strict=True)),
        "validation": alone.best_val_accuracy,
        "best_epoch": alone.best_epoch,
        "epochs": config.epochs,
        "sentences": len(corpus.indices(TEST)),
        "machine": f"{cpu_model()}, {precision}",
    }


def table(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the rows of a Markdown table: mean test accuracies of each set, and their difference over all pairs."""
    yield from table_head(("set", "folds", "train", "train+val", "difference: mean, 95% interval"))
    names = [name for name in SETS if any(each["set"] == name for each in results)]
    for name in (*names, "all"):
        rows = [each for each in results if name in (each["set"], "all")]
        alone, both = ([100 * row[key] for row in rows] for key in ("train", "both"))
        gain = paired_t([b - a for a, b in zip(alone, both, strict=True)])
        difference = f"{gain.mean:+.2f}, {gain.interval.low:+.2f} to {gain.interval.high:+.2f}"
        yield f"| {name} | {len(rows)} | {fmean(alone):.2f} | {fmean(both):.2f} | {difference} |"


if __name__ == "__main__":
    main()
