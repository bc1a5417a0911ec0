"""Does dropout of the recurrent weights (weight_dropout) make models better?

    python -m benchmarks.quality.weight_dropout snippets mr:PATH    about 10 minutes of processor time for each set
    python -m benchmarks.quality.weight_dropout --quick             2 folds, 1 epoch: shows that it works

One setting, similar to winners of searches on these data, is trained with each `weight_dropout` on 8 of 10 folds. Each
fold has its own seed. Fold and seed determine data, initialisation and order, so differences from no weight dropout
are taken fold by fold (Student's t). Folds share training sentences, so the intervals are slightly too narrow. The
validation accuracy is that of the best epoch, which it also selects. Nothing is selected on a test fold.
"""

import argparse
import time
from dataclasses import dataclass
from statistics import fmean

from benchmarks.results import table_head, table_row
from core import TrialConfig, load_corpus, train
from core.data.corpus import TEST, Corpus
from core.stats import paired_t
from core.training.evaluate import evaluate

SETTING = TrialConfig(hidden_dim=128, pooling="max", embedding_dropout=0.3, fc_dropout=0.5, learning_rate=2e-3)
PROBABILITIES = (0.0, 0.25, 0.5)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training, and the accuracies of its best epoch."""

    validation: float
    test: float
    best_epoch: int
    seconds: float
    """Processor time of one epoch, its evaluation included."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", default=["snippets"], help="Data as for `sentune run`.")
    parser.add_argument("--folds", type=int, default=8, help="Number of the 10 folds to test on (default: 8).")
    parser.add_argument("--epochs", type=int, default=6, help="Number of epochs (default: 6).")
    parser.add_argument("--quick", action="store_true", help="Two folds and one epoch.")
    arguments = parser.parse_args()
    folds, epochs = (2, 1) if arguments.quick else (arguments.folds, arguments.epochs)
    against = "against 0, points"
    columns = ("data", "weight_dropout", "validation", against, "test", against, "epoch", "seconds")
    print(*table_head(columns), sep="\n")
    for dataset in arguments.datasets:
        by_fold = [train_with_each(dataset, fold, epochs) for fold in range(folds)]
        runs = dict(zip(PROBABILITIES, zip(*by_fold, strict=True), strict=True))
        for probability, found in runs.items():
            print(row(dataset.rpartition("/")[2], probability, found, runs[0.0]), flush=True)


def train_with_each(dataset: str, fold: int, epochs: int) -> list[Run]:
    """Train with each of PROBABILITIES on one fold, which also gives the seed."""
    corpus = load_corpus(dataset, vectors="glove-50d", split="folds:10", fold=fold)
    return [train_once(corpus, SETTING.replace(weight_dropout=p, seed=fold, epochs=epochs)) for p in PROBABILITIES]


def train_once(corpus: Corpus, config: TrialConfig) -> Run:
    """Train once and evaluate the best epoch."""
    started = time.process_time()
    result = train(config, corpus)
    seconds = (time.process_time() - started) / config.epochs
    return Run(
        validation=result.best_val_accuracy,
        test=evaluate(config, result.weights, corpus, TEST).accuracy,
        best_epoch=result.best_epoch,
        seconds=seconds,
    )


def row(name: str, probability: float, found: tuple[Run, ...], plain: tuple[Run, ...]) -> str:
    """Return one line of the table."""
    cells = [name, f"{probability}"]
    for split in ("validation", "test"):
        ours, theirs = ([getattr(run, split) for run in runs] for runs in (found, plain))
        cells += [f"{fmean(ours):.4f}", "" if found is plain else difference(ours, theirs)]
    cells += [f"{fmean(run.best_epoch for run in found):.1f}", f"{fmean(run.seconds for run in found):.2f}"]
    return table_row(cells)


def difference(ours: list[float], theirs: list[float]) -> str:
    """Return the mean difference in points with half of its interval."""
    found = paired_t([100 * (one - other) for one, other in zip(ours, theirs, strict=True)])
    return f"{found.mean:+.2f} +- {found.interval.high - found.mean:.2f}"


if __name__ == "__main__":
    main()
