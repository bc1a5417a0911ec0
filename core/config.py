"""TrialConfig: every setting of one training, validated at construction, and what other modules know of a setting."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from core.errors import ConfigError, check_rules, is_number, is_whole, whole

POOLINGS = ("last", "max", "mean", "mean+max", "attention")
OPTIMIZERS = ("adadelta", "adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "cosine", "plateau")
PRECISIONS = ("fp32", "bf16")
CLASS_WEIGHTS = ("balanced",)
MAX_EPOCHS = 99_999
"""Names of checkpoints have five digits."""
MAX_EPOCH_SENTENCES = 999_999_999
MAX_BATCH_SIZE = 1_000_000
MAX_EMBEDDING_DIM = 8192
"""Largest width of a word vector."""
MAX_THREADS = 1_024
"""Upper bound of the threads of one model or trial."""
MAX_SETTING = 1e18
"""Largest learning rate, factor or bound: in fp32, the product of two is finite."""
METRIC_NAMES = ("accuracy", "macro_f1", "balanced_accuracy", "mcc", "log_loss", "roc_auc")
"""Names of core.metrics.METRICS, which needs numpy."""

Rule = tuple[object, str, bool]
"""A value, the rule that it must obey, and whether it does: see `check_rules`."""
_RuleOf = Callable[[Any], Rule]


def _number(rule: str, holds: Callable[[float], bool]) -> _RuleOf:
    return lambda value: (value, rule, is_number(value) and holds(value))


def _whole(low: int, high: int) -> _RuleOf:
    return lambda value: whole(value, low, high)


def _choice(choices: tuple[str, ...]) -> _RuleOf:
    return lambda value: (value, f"one of {', '.join(choices)}", value in choices)


def _flag(value: Any) -> Rule:
    return value, "true or false", isinstance(value, bool)


def _optional(rule_of: _RuleOf) -> _RuleOf:
    def optional(value: Any) -> Rule:
        _, rule, holds = rule_of(value)
        return value, f"none, or {rule}", value is None or holds

    return optional


_POSITIVE = _number(f"above 0 and at most {MAX_SETTING:g}", lambda x: 0 < x <= MAX_SETTING)
_PROBABILITY = _number("at least 0 and below 1", lambda x: 0 <= x < 1)


def _setting(default: Any, rule: _RuleOf, *, short: str = "", rank: int = 0, cost_order: tuple[Any, ...] = ()) -> Any:
    """Declare a field with its rule and with facts for other modules, see SHORT_NAMES and COST_ORDER.

    Args:
        default: Value of the field.
        rule: Rule of its values.
        short: Name for one-line displays; empty for none.
        rank: Place among all short names; 1 usually matters most.
        cost_order: Choices by falling cost in time and memory; empty for numbers, of which the largest costs most.
    """
    facts = {"rule": rule, "short": short, "rank": rank, "cost_order": cost_order}
    return dataclasses.field(default=default, metadata=facts)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """Settings of one trial; the word vectors' width and the number of classes belong to the corpus.

    Raises:
        ConfigError: A field breaks its rule; the message names all of them.
    """

    n_layers: int = _setting(1, _whole(1, 8), short="layers", rank=4)
    """Number of LSTM layers."""
    hidden_dim: int = _setting(128, _whole(1, 8192), short="hidden", rank=3)
    """Width of the state of one direction."""
    bidirectional: bool = _setting(True, _flag, short="bi", rank=9, cost_order=(True, False))
    """Whether the LSTM reads in both directions; their states are concatenated."""
    pooling: str = _setting(
        "max", _choice(POOLINGS), short="pool", rank=7, cost_order=("attention", "mean+max", "max", "mean", "last")
    )
    """How a sentence's states become one vector: last, max, mean, mean+max or attention."""
    embedding_dropout: float = _setting(0.0, _PROBABILITY, short="emb.drop", rank=10)
    """Probability that a whole word of a sentence is dropped (its vector set to zero)."""
    lstm_dropout: float = _setting(0.0, _PROBABILITY, short="lstm.drop", rank=11)
    """Dropout between LSTM layers; without effect when there is one layer."""
    weight_dropout: float = _setting(0.0, _PROBABILITY, short="w.drop", rank=18)
    """Probability that a hidden-to-hidden weight of the LSTM is zero in a training batch (DropConnect)."""
    fc_dropout: float = _setting(0.5, _PROBABILITY, short="drop", rank=5)
    """Dropout on the pooled sentence vector."""
    fc_dropout_twice: bool = _setting(False, _flag)
    """Apply `fc_dropout` twice in a row, as the tutorial notebook does (0.5 twice drops 75%)."""
    freeze_embedding: bool = _setting(False, _flag, short="freeze", rank=6, cost_order=(False, True))
    """Whether the word vectors are not trained."""
    embedding_lr_scale: float = _setting(1.0, _POSITIVE, short="emb.lr", rank=12)
    """Learning rate of trained word vectors, as a multiple of `learning_rate`."""
    embedding_max_norm: float | None = _setting(None, _optional(_POSITIVE))
    """Maximum norm of a *random* word vector, as in `torch.nn.Embedding`; pretrained ones are never clipped."""
    optimizer: str = _setting(
        "adam", _choice(OPTIMIZERS), short="opt", rank=2, cost_order=("adamw", "adam", "adadelta", "rmsprop")
    )
    """adadelta (rho 0.95), adam, adamw or rmsprop."""
    learning_rate: float = _setting(2e-3, _POSITIVE, short="lr", rank=1)
    """Step size at the start of the schedule."""
    lr_schedule: str = _setting("constant", _choice(SCHEDULES), short="schedule", rank=16)
    """constant, cosine (to zero over all epochs) or plateau (halved when validation loss stalls)."""
    weight_decay: float = _setting(
        0.0, _number(f"at least 0 and at most {MAX_SETTING:g}", lambda x: 0 <= x <= MAX_SETTING), short="decay", rank=13
    )
    """L2 penalty (decoupled for adamw)."""
    batch_size: int = _setting(50, _whole(1, MAX_BATCH_SIZE), short="batch", rank=8)
    """Number of sentences in one step."""
    clip_norm: float | None = _setting(1.0, _optional(_POSITIVE))
    """Maximum gradient norm over all parameters; None for no limit."""
    ema_decay: float | None = _setting(
        None, _optional(_number("above 0 and below 1", lambda x: 0 < x < 1)), short="ema", rank=15
    )
    """Evaluate an exponential moving average of the weights with this decay; None for the weights themselves."""
    label_smoothing: float = _setting(0.0, _PROBABILITY, short="smooth", rank=14)
    """Share of the target spread over all classes."""
    class_weight: str | None = _setting(None, _optional(_choice(CLASS_WEIGHTS)), short="weight", rank=17)
    """Weight of each sentence in the training loss: none, or balanced, where all classes have the same total weight."""
    inexact_lazy_adam: bool = _setting(False, _flag)
    """Update only the word vectors that occur in a batch under adam or adamw. Fast, but not Adam: off by default."""
    epochs: int = _setting(10, _whole(1, MAX_EPOCHS))
    """Number of epochs."""
    epoch_sentences: int | None = _setting(None, _optional(_whole(1, MAX_EPOCH_SENTENCES)))
    """Number of training sentences in an epoch; the next one continues in the same shuffle. None: a whole pass."""
    patience: int | None = _setting(None, _optional(_whole(1, MAX_EPOCHS)))
    """End the training after this many epochs without a better value of `metric`; None for never."""
    metric: str = _setting("accuracy", _choice(METRIC_NAMES))
    """Metric of the best epoch on validation: accuracy, macro_f1, balanced_accuracy, mcc, log_loss or roc_auc."""
    precision: str = _setting("fp32", _choice(PRECISIONS))
    """fp32, or bf16 autocast, which is for the CPU."""
    seed: int = _setting(42, lambda x: (x, "a whole number from 0 to 2**32 - 1", is_whole(x, 0, 2**32 - 1)))
    """Seed of initialisation, shuffling and dropout."""

    def __post_init__(self) -> None:
        fields = dataclasses.fields(self)
        check_rules({field.name: field.metadata["rule"](getattr(self, field.name)) for field in fields})

    @classmethod
    def notebook(cls, **changes: Any) -> Self:
        """Return the tutorial notebook's settings, with `changes` made."""
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

    @property
    def directions(self) -> int:
        """Number of directions of each LSTM layer."""
        return 2 if self.bidirectional else 1

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Return the settings that `to_dict` returned.

        Raises:
            ConfigError: Fields are unknown, or else break their rules; the message names all of them.
        """
        known = cls.__dataclass_fields__.keys()
        if unknown := sorted(settings.keys() - known):
            raise ConfigError(f"unknown settings {', '.join(unknown)}; choose from {', '.join(sorted(known))}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """Return every field, for JSON."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> Self:
        """Return the same settings with `changes` made, checked again."""
        return dataclasses.replace(self, **changes)

    def steps_per_pass(self, sentences: int) -> int:
        """Return the number of batches that a training split with this number of sentences is cut into."""
        return -(-sentences // self.batch_size)

    def steps_per_epoch(self, sentences: int) -> int:
        """Return the number of batches in an epoch, on a training split with this number of sentences."""
        a_pass = self.steps_per_pass(sentences)
        return a_pass if self.epoch_sentences is None else -(-a_pass * self.epoch_sentences // sentences)


_FACTS = {field.name: field.metadata for field in dataclasses.fields(TrialConfig) if field.metadata["short"]}
SHORT_NAMES: dict[str, str] = {name: _FACTS[name]["short"] for name in sorted(_FACTS, key=lambda n: _FACTS[n]["rank"])}
"""Short name of each setting that has one; the settings that usually matter most come first."""
FULL_NAMES = {short: name for name, short in SHORT_NAMES.items()}
"""Settings by the short names that the tables show; `--set`, `--where` and `--sort` accept both."""
COST_ORDER: dict[str, tuple[bool | str, ...]] = {
    name: facts["cost_order"] for name, facts in _FACTS.items() if facts["cost_order"]
}
"""Choices of a setting by falling cost in time and memory."""


_DEFAULTS = TrialConfig().to_dict()


def changed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that do not have their default, so that a digest of them stays with a newer setting."""
    return {name: value for name, value in settings.items() if name not in _DEFAULTS or value != _DEFAULTS[name]}
