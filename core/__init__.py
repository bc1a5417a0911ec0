"""Sentences, vectors, models and training, independent of Ray, Optuna and studies."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.config import TrialConfig as TrialConfig
    from core.data.corpus import Corpus as Corpus
    from core.data.load import load_corpus as load_corpus
    from core.errors import ConfigError as ConfigError
    from core.errors import CorruptionError as CorruptionError
    from core.errors import DataError as DataError
    from core.errors import StopTraining as StopTraining
    from core.errors import TrainingError as TrainingError
    from core.errors import UserError as UserError
    from core.inference.estimator import SentenceEstimator as SentenceEstimator
    from core.inference.predictor import load_model as load_model
    from core.training.loop import train as train
    from core.training.result import EpochResult as EpochResult
    from core.training.result import TrainResult as TrainResult

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
"""Each public name and the module that defines it, imported at the first access."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"core.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
