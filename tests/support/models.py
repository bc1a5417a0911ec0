"""A tiny saved model."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from core.config import TrialConfig
from core.inference.saved_model import CHECKSUMS, MODEL_FILES, save_model
from core.nn.classifier import SentenceClassifier

WORDS = ("<pad>", "<unk>", "good", "bad", "\ud800 half a pair", "naïve")
CLASSES = ("negative", "positive")


def weights_of(config: TrialConfig, n_words: int = len(WORDS)) -> dict[str, torch.Tensor]:
    network = SentenceClassifier(config, n_words, 3, len(CLASSES))
    network.initialize(torch.Generator().manual_seed(0))
    return network.state_dict()


def saved(folder: Path, **changes: Any) -> Path:
    config = TrialConfig(hidden_dim=4)
    parts: dict[str, Any] = {
        "config": config,
        "weights": weights_of(config),
        "words": WORDS,
        "classes": CLASSES,
        "embedding_dim": 3,
        "tokenizer": "test-1",
        "metrics": {"val_accuracy": 0.5},
        "card": "# a card\n",
    }
    path = folder / "model"
    save_model(path, **(parts | changes))
    return path


def resum(path: Path) -> None:
    """Make the sums fit again, as another version that wrote these files would have."""
    lines = [f"{hashlib.sha256((path / name).read_bytes()).hexdigest()}  {name}\n" for name in MODEL_FILES]
    (path / CHECKSUMS).write_text("".join(lines))
