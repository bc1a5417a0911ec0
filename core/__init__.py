"""Sentences, vectors, models and training. Knows nothing of Ray, Optuna or studies."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.config import TrialConfig
    from core.data.corpus import Corpus
    from core.data.load import load_corpus
    from core.errors import (
        ConfigError,
        CorruptionError,
        DataError,
        StopTraining,
        TrainingError,
        UserError,
    )
    from core.inference.estimator import SentenceEstimator
    from core.inference.predictor import load_model
    from core.training.loop import train
    from core.training.result import EpochResult, TrainResult

_HOMES = {
    "TrialConfig": "config",
    "Corpus": "data.corpus",
    "ConfigError": "errors",
    "CorruptionError": "errors",
    "DataError": "errors",
    "StopTraining": "errors",
    "TrainingError": "errors",
    "UserError": "errors",
    "load_corpus": "data.load",
    "load_model": "inference.predictor",
    "EpochResult": "training.result",
    "SentenceEstimator": "inference.estimator",
    "TrainResult": "training.result",
    "train": "training.loop",
}
"""Each public name and the file that defines it, imported when the name is first asked for."""

__all__ = [
    "ConfigError",
    "Corpus",
    "CorruptionError",
    "DataError",
    "EpochResult",
    "SentenceEstimator",
    "StopTraining",
    "TrainResult",
    "TrainingError",
    "TrialConfig",
    "UserError",
    "load_corpus",
    "load_model",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"core.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
