"""Does training in bf16 cost accuracy, compared with fp32?

    python -m benchmarks.training.precision            5 seeds x 5 epochs of each: about 8 minutes on two cores
    python -m benchmarks.training.precision --quick    1 seed, 1 epoch of the smallest: shows that it works

Three settings are trained on the rated snippets with GloVe vectors. A seed determines initialisation, order and
dropout, equally in both precisions. The difference is therefore taken seed by seed: the best validation accuracy in
bf16 minus that in fp32, with its standard error over the seeds. The seconds are meaningful only on an idle machine.
benchmarks.training.accuracy compares both precisions on the tutorial notebook's setting.
"""

import statistics
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

from benchmarks.results import mean_and_error, new_parser, table_head
from core import TrialConfig, load_corpus, train

SETTINGS: dict[str, dict[str, Any]] = {
    "1 x 64, two directions, maximum, adam": {
        "hidden_dim": 64,
        "n_layers": 1,
        "optimizer": "adam",
        "learning_rate": 2e-3,
    },
    "2 x 128, two directions, maximum, adamw": {
        "hidden_dim": 128,
        "n_layers": 2,
        "bidirectional": True,
        "pooling": "max",
        "lstm_dropout": 0.3,
        "embedding_dropout": 0.2,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 1e-3,
    },
    "1 x 256, two directions, attention, rmsprop, frozen": {
        "hidden_dim": 256,
        "n_layers": 1,
        "bidirectional": True,
        "pooling": "attention",
        "freeze_embedding": True,
        "optimizer": "rmsprop",
        "learning_rate": 1e-3,
    },
}
PRECISIONS = ("fp32", "bf16")


def train_once(job: tuple[str, str, int, int]) -> tuple[float, float]:
    """Train (setting, precision, seed, epochs); return best validation accuracy and median seconds per epoch."""
    name, precision, seed, epochs = job
    torch.set_num_threads(1)
    config = TrialConfig(precision=precision, seed=seed, epochs=epochs, batch_size=50, **SETTINGS[name])
    result = train(config, load_corpus("snippets", vectors="glove-50d"))
    return result.best_val_accuracy, statistics.median(epoch.seconds for epoch in result.epochs)


def main() -> None:
    parser = new_parser(__doc__, "Train the smallest setting with one seed for one epoch.")
    parser.add_argument("--processes", type=int, default=2, help="Number of processes of one thread (default: 2).")
    arguments = parser.parse_args()
    seeds, epochs = (range(1, 2), 1) if arguments.quick else (range(1, 6), 5)
    names = list(SETTINGS)[:1] if arguments.quick else list(SETTINGS)
    load_corpus("snippets", vectors="glove-50d")  # prepared once, for all processes
    differences: list[float] = []
    by_seed = ("fp32, by seed", "bf16, by seed")
    print(*table_head(("setting", *by_seed, "bf16 minus fp32, points", "seconds per epoch", "speed-up")), sep="\n")
    with ProcessPoolExecutor(arguments.processes) as pool:
        for name in names:
            jobs = [(name, precision, seed, epochs) for seed in seeds for precision in PRECISIONS]
            found = list(pool.map(train_once, jobs))
            print(row(name, found[::2], found[1::2]), flush=True)
            differences += in_points(found[::2], found[1::2])
    print(f"\nbf16 minus fp32 over all pairs: {mean_and_error(differences)} points, {len(differences)} pairs")


def row(name: str, plain: list[tuple[float, float]], fast: list[tuple[float, float]]) -> str:
    """Return one setting's row of the table."""
    accuracies = [" ".join(f"{accuracy:.4f}" for accuracy, _ in each) for each in (plain, fast)]
    seconds = [statistics.median(each for _, each in runs) for runs in (plain, fast)]
    return (
        f"| {name} | {accuracies[0]} | {accuracies[1]} | {mean_and_error(in_points(plain, fast))} | "
        f"{seconds[0]:.2f}, {seconds[1]:.2f} | {seconds[0] / seconds[1]:.2f} |"
    )


def in_points(plain: list[tuple[float, float]], fast: list[tuple[float, float]]) -> list[float]:
    """Return the difference in accuracy of each pair of runs, in points."""
    return [100 * (ours - theirs) for (ours, _), (theirs, _) in zip(fast, plain, strict=True)]


if __name__ == "__main__":
    main()
