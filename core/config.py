"""TrialConfig: everything that decides how one classifier is trained, checked when it is made."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from core.errors import ConfigError, check_rules

POOLINGS = ("last", "max", "mean", "mean+max", "attention")
OPTIMIZERS = ("adadelta", "adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "cosine", "plateau")
PRECISIONS = ("fp32", "bf16")

Rule = tuple[object, str, bool]
"""A value, the rule that it must obey, and whether it does: see `check_rules`."""


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
        check_rules(
            {
                "n_layers": _whole(self.n_layers, 1, 8),
                "hidden_dim": _whole(self.hidden_dim, 1, 8192),
                "bidirectional": _flag(self.bidirectional),
                "pooling": _choice(self.pooling, POOLINGS),
                "embedding_dropout": _probability(self.embedding_dropout),
                "lstm_dropout": _probability(self.lstm_dropout),
                "fc_dropout": _probability(self.fc_dropout),
                "fc_dropout_twice": _flag(self.fc_dropout_twice),
                "freeze_embedding": _flag(self.freeze_embedding),
                "embedding_lr_scale": _positive(self.embedding_lr_scale),
                "embedding_max_norm": _optional(_positive(self.embedding_max_norm)),
                "optimizer": _choice(self.optimizer, OPTIMIZERS),
                "learning_rate": _positive(self.learning_rate),
                "lr_schedule": _choice(self.lr_schedule, SCHEDULES),
                "weight_decay": _number(self.weight_decay, "at least 0 and finite", lambda x: 0 <= x < math.inf),
                "batch_size": _whole(self.batch_size, 1),
                "clip_norm": _optional(_positive(self.clip_norm)),
                "ema_decay": _optional(_number(self.ema_decay, "above 0 and below 1", lambda x: 0 < x < 1)),
                "label_smoothing": _probability(self.label_smoothing),
                "inexact_lazy_adam": _flag(self.inexact_lazy_adam),
                "epochs": _whole(self.epochs, 1),
                "patience": _optional(_whole(self.patience, 1)),
                "precision": _choice(self.precision, PRECISIONS),
                "seed": (self.seed, "a whole number from 0 to 2**32 - 1", _whole(self.seed, 0, 2**32 - 1)[2]),
            }
        )

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


def _whole(value: Any, low: int, high: float = math.inf) -> Rule:
    holds = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return value, f"a whole number {f'of at least {low}' if high == math.inf else f'from {low} to {high}'}", holds


def _number(value: Any, rule: str, holds: Callable[[float], bool]) -> Rule:
    return value, rule, isinstance(value, int | float) and not isinstance(value, bool) and holds(value)


def _positive(value: Any) -> Rule:
    return _number(value, "above 0 and finite", lambda x: 0 < x < math.inf)


def _probability(value: Any) -> Rule:
    return _number(value, "at least 0 and below 1", lambda x: 0 <= x < 1)


def _flag(value: Any) -> Rule:
    return value, "true or false", isinstance(value, bool)


def _choice(value: Any, choices: tuple[str, ...]) -> Rule:
    return value, f"one of {', '.join(choices)}", value in choices


def _optional(rule: Rule) -> Rule:
    value, text, holds = rule
    return value, f"none, or {text}", value is None or holds
