"""What a second core does for a trial that trains alone, and whether it changes a bit.

    python -m benchmarks.spare            3 pairs of epochs of each of four trials, some 10 minutes on two idle cores
    python -m benchmarks.spare --quick    1 pair of the smallest: shows that it works, not what holds

One training, whose epochs have one thread and two in turn, so that a machine whose speed drifts slows both; the first
pair is left out, because each shape is tried there. Then the weights after two epochs, with one thread and with two.
Then LSTM layers of shapes drawn from what the presets allow: how many give the same states and gradients both ways.
The data are MR where SENTUNE_MR names its archive, else the snippets, and GloVe vectors or random ones.
"""

import argparse
import os
import random
import statistics
from collections import Counter
from typing import Any

import torch
from torch import nn

from benchmarks.studies import machine
from core import TrialConfig, load_corpus, train
from core.corpus import Corpus
from core.runtime import autocast
from core.spare import same

TRIALS: dict[str, tuple[str, dict[str, Any]]] = {
    "GloVe 50d, 1 x 64, last state": ("glove-50d", {"hidden_dim": 64, "n_layers": 1}),
    "GloVe 50d, 1 x 192, both directions, maximum": (
        "glove-50d",
        {"hidden_dim": 192, "n_layers": 1, "bidirectional": True, "pooling": "max"},
    ),
    "random 300d, 2 x 128, last state (the notebook's)": ("none", {}),
    "random 300d frozen, 1 x 256, last state": ("none", {"hidden_dim": 256, "n_layers": 1, "freeze_embedding": True}),
}
SHAPES = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one pair of epochs of the smallest trial, some shapes")
    parser.add_argument("--mr", default=os.environ.get("SENTUNE_MR"), help="the archive of MR, or its folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = f"mr:{arguments.mr}" if arguments.mr else "snippets"
    print(f"{machine()}; {dataset.partition(':')[0]}\n")
    print("| trial | precision | one thread, s an epoch | two | times as fast (least, most) | weights |")
    print("|---|---|---|---|---|---|")
    for name, (vectors, settings) in list(TRIALS.items())[: 1 if arguments.quick else None]:
        corpus = load_corpus(dataset, vectors=vectors)
        for precision in ("fp32", "bf16"):
            config = TrialConfig.notebook(precision=precision, **settings)
            print(f"| {name} | {precision} | {compared(config, corpus, 1 if arguments.quick else 3)} |", flush=True)
    found = Counter(drawn_shape(random.Random(number)) for number in range(20 if arguments.quick else SHAPES))
    print(f"\nLayers drawn from the presets: {found[True]} with the same bits both ways, {found[False]} with others")


def compared(config: TrialConfig, corpus: Corpus, pairs: int) -> str:
    """The cells of a row: epochs with one thread and with two, in turn."""
    done: list[float] = []
    train(
        TrialConfig.from_dict({**config.to_dict(), "epochs": 2 * (1 + pairs)}),
        corpus,
        report=lambda epoch: done.append(epoch.seconds),
        spare=lambda: 1 + len(done) % 2,
    )
    one, two = done[2::2], done[3::2]
    ratios = [a / b for a, b in zip(one, two, strict=True)]
    short = TrialConfig.from_dict({**config.to_dict(), "epochs": 2})
    alike = train(short, corpus).weights_sha256 == train(short, corpus, spare=lambda: 2).weights_sha256
    return (
        f"{statistics.median(one):.2f} | {statistics.median(two):.2f} | {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f}, {max(ratios):.2f}) | {'the same' if alike else 'DIFFER'}"
    )


def drawn_shape(draw: random.Random) -> bool:
    """Whether a layer of a random shape gives the same bits with two threads."""
    hidden = round(64 * 8 ** draw.random())
    lstm = nn.LSTM(draw.choice((50, 300, hidden, 2 * hidden)), hidden)
    x = torch.randn(draw.randint(2, 60), draw.choice((7, 16, 32, 50, 64)), lstm.input_size)
    with autocast(draw.choice(("fp32", "bf16")), "cpu"):
        return same(lstm, x.requires_grad_(draw.random() < 0.5), 1, 2)


if __name__ == "__main__":
    main()
