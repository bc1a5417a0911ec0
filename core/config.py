"""TrialConfig: everything that decides how one classifier is trained, checked when it is made."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from core.errors import ConfigError

POOLINGS = ("last", "max", "mean", "mean+max", "attention")
OPTIMIZERS = ("adadelta", "adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "cosine", "plateau")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One trial's settings. Width and number of classes are the corpus's, not the trial's.

    Raises:
        ConfigError: naming every field that breaks its rule.
    """

    n_layers: int = 1
    """LSTM layers."""
    hidden_dim: int = 128
    """State width of one direction."""
    bidirectional: bool = True
    """Two directions, concatenated."""
    pooling: str = "max"
    """How a sentence's states become one vector: last, max, mean, mean+max or attention."""
    embedding_dropout: float = 0.0
    """Probability that a whole word of a sentence is dropped (its vector set to zero)."""
    lstm_dropout: float = 0.0
    """Dropout between LSTM layers; without effect when there is one layer."""
    fc_dropout: float = 0.5
    """Dropout on the pooled sentence vector."""
    fc_dropout_twice: bool = False
    """Apply it two times in a row, as the notebook does (0.5 twice drops 75%)."""
    freeze_embedding: bool = False
    """Keep the word vectors as they are."""
    embedding_lr_scale: float = 1.0
    """Learning rate of trained word vectors, as a multiple of `learning_rate`."""
    embedding_max_norm: float | None = None
    """Longest a *random* word vector may get, as in `torch.nn.Embedding`; pretrained ones are never clipped."""
    optimizer: str = "adam"
    """adadelta (rho 0.95), adam, adamw or rmsprop."""
    learning_rate: float = 2e-3
    """Step size at the start of the schedule."""
    lr_schedule: str = "constant"
    """constant, cosine (to zero over all epochs) or plateau (halved when validation loss stalls)."""
    weight_decay: float = 0.0
    """L2 penalty (decoupled for adamw)."""
    batch_size: int = 50
    """Sentences a step."""
    clip_norm: float | None = 1.0
    """Largest gradient norm over all parameters; None for no limit."""
    ema_decay: float | None = None
    """Evaluate an exponential moving average of the weights with this decay; None for the weights themselves."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes."""
    inexact_lazy_adam: bool = False
    """Update only the word vectors that occur in a batch under adam or adamw. Fast, but not Adam: off by default."""
    epochs: int = 10
    """Passes over the training split."""
    patience: int | None = None
    """Stop after this many epochs without a better validation accuracy; None for never."""
    precision: str = "fp32"
    """fp32, or bf16 autocast."""
    seed: int = 42
    """Of initialisation, shuffling and dropout."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be {rule}, got {getattr(self, name)!r}"
            for name, (rule, holds) in self._rules().items()
            if not holds
        ]
        if problems:
            raise ConfigError("; ".join(problems))

    def _rules(self) -> dict[str, tuple[str, bool]]:
        return {
            "n_layers": ("a whole number from 1 to 8", _whole(self.n_layers, 1, 8)),
            "hidden_dim": ("a whole number from 1 to 8192", _whole(self.hidden_dim, 1, 8192)),
            "bidirectional": ("true or false", _flag(self.bidirectional)),
            "pooling": (_one_of(POOLINGS), self.pooling in POOLINGS),
            "embedding_dropout": ("at least 0 and below 1", _share(self.embedding_dropout)),
            "lstm_dropout": ("at least 0 and below 1", _share(self.lstm_dropout)),
            "fc_dropout": ("at least 0 and below 1", _share(self.fc_dropout)),
            "fc_dropout_twice": ("true or false", _flag(self.fc_dropout_twice)),
            "freeze_embedding": ("true or false", _flag(self.freeze_embedding)),
            "embedding_lr_scale": ("above 0 and finite", _positive(self.embedding_lr_scale)),
            "embedding_max_norm": (
                "none, or above 0 and finite",
                self.embedding_max_norm is None or _positive(self.embedding_max_norm),
            ),
            "optimizer": (_one_of(OPTIMIZERS), self.optimizer in OPTIMIZERS),
            "learning_rate": ("above 0 and finite", _positive(self.learning_rate)),
            "lr_schedule": (_one_of(SCHEDULES), self.lr_schedule in SCHEDULES),
            "weight_decay": ("at least 0 and finite", self.weight_decay == 0 or _positive(self.weight_decay)),
            "batch_size": ("a whole number of at least 1", _whole(self.batch_size, 1, math.inf)),
            "clip_norm": ("none, or above 0 and finite", self.clip_norm is None or _positive(self.clip_norm)),
            "ema_decay": (
                "none, or above 0 and below 1",
                self.ema_decay is None or (_positive(self.ema_decay) and self.ema_decay < 1),
            ),
            "label_smoothing": ("at least 0 and below 1", _share(self.label_smoothing)),
            "inexact_lazy_adam": ("true or false", _flag(self.inexact_lazy_adam)),
            "epochs": ("a whole number of at least 1", _whole(self.epochs, 1, math.inf)),
            "patience": (
                "none, or a whole number of at least 1",
                self.patience is None or _whole(self.patience, 1, math.inf),
            ),
            "precision": (_one_of(PRECISIONS), self.precision in PRECISIONS),
            "seed": ("a whole number from 0 to 2**32 - 1", _whole(self.seed, 0, 2**32 - 1)),
        }

    @classmethod
    def notebook(cls, **changes: Any) -> Self:
        """The run that the tutorial notebook shows, with `changes` on top."""
        settings: dict[str, Any] = {
            "n_layers": 2,
            "hidden_dim": 128,
            "bidirectional": False,
            "pooling": "last",
            "lstm_dropout": 0.2,
            "fc_dropout": 0.5,
            "fc_dropout_twice": True,
            "embedding_max_norm": 5.0,
            "optimizer": "adadelta",
            "learning_rate": 0.25,
            "batch_size": 50,
            "clip_norm": None,
            "epochs": 10,
        }
        return cls(**(settings | changes))

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: naming every unknown field, or every field that breaks its rule.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise ConfigError(f"unknown settings {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """Every field, as JSON can hold it."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> Self:
        """The same settings with some changed, checked anew."""
        return dataclasses.replace(self, **changes)


def _whole(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _positive(value: Any) -> bool:
    return _number(value) and 0 < value < math.inf


def _share(value: Any) -> bool:
    return _number(value) and 0 <= value < 1


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _one_of(choices: tuple[str, ...]) -> str:
    return f"one of {', '.join(choices)}"
