"""Tiny saved models: of one LSTM, of the plain baseline, and mixtures of both."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.config import TrialConfig
from core.data.tokenizer import tokenizer_version
from core.data.vocabulary import Vocabulary
from core.inference.members import LstmMember, Member, PlainMember
from core.inference.predictor import Predictor
from core.inference.saved_model import CHECKSUMS, ModelParts, save_model
from core.nn.classifier import SentenceClassifier
from core.plain_baseline import PlainBaseline

WORDS = ("<pad>", "<unk>", "good", "bad", "\ud800 half a pair", "naïve")
CLASSES = ("negative", "positive")
WIDTH = 3
METRICS = {"val_accuracy": 0.5}


def weights_of(config: TrialConfig, seed: int = 0, n_words: int = len(WORDS), n_classes: int = 2) -> dict[str, Any]:
    network = SentenceClassifier(config, n_words, WIDTH, n_classes)
    network.initialize(torch.Generator().manual_seed(seed))
    return network.state_dict()


def lstm(
    name: str = "model", weight: float = 1.0, config: TrialConfig | None = None, seed: int = 0, **shape: int
) -> LstmMember:
    config = config or TrialConfig(hidden_dim=4)
    return LstmMember(name=name, weight=weight, config=config, weights=weights_of(config, seed, **shape))


def plain(
    weight: float = 1.0,
    ngrams: Sequence[tuple[int, int]] = ((2, 0), (2, 3), (3, 0)),
    intercepts: Sequence[float] = (0.5, -0.25),
) -> PlainMember:
    """By default with the features `good`, `good bad` and `bad`."""
    rng = np.random.default_rng(0)
    baseline = PlainBaseline(
        ngrams=np.array(ngrams, np.int32).reshape(-1, 2),
        idf=rng.uniform(1, 4, len(ngrams)).astype(np.float32),
        coefficients=rng.normal(0, 2, (len(intercepts), len(ngrams))).astype(np.float32),
        intercepts=np.array(intercepts, np.float32),
    )
    return PlainMember(weight=weight, baseline=baseline)


def mixture() -> list[Member]:
    deep = TrialConfig(hidden_dim=5, n_layers=2, pooling="attention")
    return [lstm("trial-0", 0.2), lstm("trial-12", 0.2, deep, seed=1), plain(0.6)]


def predictor(
    *members: Member, temperature: float = 1.0, words: Sequence[str] = WORDS, classes: tuple[str, ...] = CLASSES
) -> Predictor:
    parts = ModelParts(
        members=members or [lstm()], temperature=temperature, vocabulary=Vocabulary(words), classes=classes,
        embedding_dim=WIDTH, tokenizer=tokenizer_version("english"),
    )  # fmt: skip
    return Predictor(parts)


def saved(
    folder: Path, *members: Member, words: tuple[str, ...] = WORDS, metrics: Mapping[str, Any] = METRICS, **changes: Any
) -> Path:
    """Save a model, of one LSTM by default, in `folder / "model"`."""
    parts: dict[str, Any] = {
        "members": members or [lstm()],
        "vocabulary": Vocabulary(words),
        "classes": CLASSES,
        "embedding_dim": WIDTH,
        "tokenizer": tokenizer_version("english"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model"
    save_model(path, ModelParts(**(parts | changes)), metrics=metrics, card="# a card\n")
    return path


def resum(path: Path) -> None:
    """Make the sums fit again, as another version that wrote these files would have."""
    names = [line.partition("  ")[2] for line in (path / CHECKSUMS).read_text().splitlines()]
    lines = [f"{hashlib.sha256((path / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (path / CHECKSUMS).write_text("".join(lines))
