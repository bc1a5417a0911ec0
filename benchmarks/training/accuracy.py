"""Is sentune as accurate as the tutorial notebook's loop on the same setting?

    python -m benchmarks.training.accuracy            5 seeds x 10 epochs of each: some half an hour
    python -m benchmarks.training.accuracy --quick    1 seed, 1 epoch: shows that it works

The columns are the notebook's loop without its faults, and sentune in fp32 and in bf16. The data are MR, split 80/10/10
with seed 42, with random 300-wide trained word vectors. If the folder SENTUNE_DATA lacks its archive, it is downloaded,
but --quick takes the snippets instead. A seed determines initialisation, order and dropout. The tables show the
validation accuracy of the best and of the last epoch, and the difference of two columns' means with its standard error.
"""

import statistics

import torch

from benchmarks.baselines.notebook_loop import NotebookLoop, Shape
from benchmarks.inputs.labelled_sets import mr_or
from benchmarks.results import new_parser, table_head, table_row
from core import load_corpus
from core.config import TrialConfig
from core.data.corpus import VAL, Corpus
from core.training.loop import train

COLUMNS = ("loop", "sentune-fp32", "sentune-bf16")


def main() -> None:
    quick = new_parser(__doc__, "Train one seed for one epoch.").parse_args().quick
    seeds, epochs = (1, 1) if quick else (5, 10)
    torch.set_num_threads(1)
    corpus = load_corpus(mr_or("snippets" if quick else "mr"), vectors="none")
    found = {column: [curve(column, corpus, seed, epochs) for seed in range(1, seeds + 1)] for column in COLUMNS}
    show(found, len(corpus.indices(VAL)))


def curve(column: str, corpus: Corpus, seed: int, epochs: int) -> list[float]:
    """Train one column with one seed; return the validation accuracy after each epoch."""
    if column == "loop":
        loop = NotebookLoop(Shape(), corpus, corrected=True, seed=seed)
        accuracies = [loop.epoch()[1] for _ in range(epochs)]
    else:
        config = TrialConfig.notebook(seed=seed, epochs=epochs, precision=column.removeprefix("sentune-"))
        accuracies = [epoch.val_accuracy for epoch in train(config, corpus).epochs]
    print(f"{column} seed {seed}: {' '.join(f'{accuracy:.4f}' for accuracy in accuracies)}", flush=True)
    return accuracies


def show(found: dict[str, list[list[float]]], n_sentences: int) -> None:
    """Print the tables, and each column's difference to the loop."""
    for what, pick in (("best of the epochs", max), ("last epoch", lambda accuracies: accuracies[-1])):
        print(f"\nvalidation accuracy, {what}, {n_sentences} sentences")
        seeds = (f"seed {n + 1}" for n in range(len(next(iter(found.values())))))
        print(*table_head(("column", *seeds, "mean")), sep="\n")
        picked = {column: [pick(curve) for curve in curves] for column, curves in found.items()}
        for column, values in picked.items():
            print(table_row((column, *(f"{value:.4f}" for value in (*values, statistics.mean(values))))))
        for column, values in picked.items():
            if column != "loop":
                print(f"{column} against loop: {difference(values, picked['loop'], n_sentences)}")


def difference(ours: list[float], theirs: list[float], n_sentences: int) -> str:
    """Return the difference of the means, with its standard error and that of one accuracy."""
    mean = statistics.mean(ours) - statistics.mean(theirs)
    rate = statistics.mean([*ours, *theirs])
    of_a_fold = (rate * (1 - rate) / n_sentences) ** 0.5
    if len(ours) < 2:
        return f"{mean:+.4f} (one accuracy has a standard error of {of_a_fold:.4f})"
    over_seeds = (statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs)) ** 0.5
    return f"{mean:+.4f}, standard error over seeds {over_seeds:.4f}; one accuracy's own is {of_a_fold:.4f}"


if __name__ == "__main__":
    main()
