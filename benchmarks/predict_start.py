"""How much longer does one prediction take with five members than with one?

    python -m benchmarks.predict_start              9 rounds, some two minutes
    python -m benchmarks.predict_start --quick      3 rounds: shows that it works, not what holds

A round runs `sentune predict` for one sentence with each of three models: a single LSTM, four LSTMs with the plain
baseline, and five LSTMs. The time includes start-up. The members have the default settings, and the 50,000 words
that a model of the rated movie snippets knows with the default word vectors. They are not trained, which changes no
time. The last line checks the claim.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.results import new_parser, verdict
from core import TrialConfig, load_corpus
from core.data.corpus import TRAIN, Corpus
from core.data.vocabulary import Vocabulary
from core.inference.members import LstmMember, Member, PlainMember
from core.inference.saved_model import ModelParts, save_model
from core.nn.classifier import SentenceClassifier
from core.plain_baseline import fit_plain_baseline

MAX_RATIO = 1.5
SENTENCE = "a gorgeous, witty, seductive movie"


def main() -> None:
    quick = new_parser(__doc__, "Run 3 rounds instead of 9.").parse_args().quick
    corpus = load_corpus("snippets", vectors="glove-50d")
    baseline = fit_plain_baseline(corpus, corpus.indices(TRAIN))
    mixtures: dict[str, list[Member]] = {
        "one LSTM": [lstm(corpus, "model", 1.0)],
        "four LSTMs, plain baseline": [*lstms(corpus, 4), PlainMember(weight=0.2, baseline=baseline)],
        "five LSTMs": lstms(corpus, 5),
    }
    seconds: dict[str, list[float]] = {name: [] for name in mixtures}
    with tempfile.TemporaryDirectory(prefix="sentune-predict-") as folder:
        for name, members in mixtures.items():
            save(Path(folder) / name, members, corpus)
        for name in [*mixtures, *(3 if quick else 9) * list(mixtures)]:
            seconds[name].append(predict(Path(folder) / name))
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}  # the first run fills caches
    print(f"{'model':28} {'median s':>8} {'least s':>8} {'ratio':>6}")
    for name, median in medians.items():
        print(f"{name:28} {median:8.2f} {min(seconds[name][1:]):8.2f} {median / medians['one LSTM']:6.2f}")
    ratio = max(medians.values()) / medians["one LSTM"]
    end = verdict(ratio <= MAX_RATIO, conclusive=not quick)
    print(f"five members over one: {ratio:.2f}, at most {MAX_RATIO} claimed: {end}")


def lstms(corpus: Corpus, count: int) -> list[Member]:
    """Return LSTMs with a share of 0.2 each."""
    return [lstm(corpus, f"trial-{number}", 0.2) for number in range(count)]


def lstm(corpus: Corpus, name: str, weight: float) -> LstmMember:
    """Return an untrained LSTM."""
    config = TrialConfig()
    network = SentenceClassifier(config, len(corpus.words), corpus.embedding_dim, len(corpus.classes))
    network.initialize(torch.Generator().manual_seed(0))
    return LstmMember(name=name, weight=weight, config=config, weights=network.state_dict())


def save(path: Path, members: Sequence[Member], corpus: Corpus) -> None:
    """Write a model folder."""
    parts = ModelParts(
        members=members,
        temperature=1.2,
        vocabulary=Vocabulary(corpus.words),
        classes=corpus.classes,
        embedding_dim=corpus.embedding_dim,
        tokenizer=corpus.source["tokenizer"],
    )
    save_model(path, parts, metrics={}, card="")


def predict(model: Path) -> float:
    """Label a sentence from the shell; return the seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "tuning", "predict", str(model), SENTENCE], capture_output=True, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
