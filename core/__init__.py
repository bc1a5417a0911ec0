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

_NAMES = {
    "config": ["TrialConfig"],
    "data.corpus": ["Corpus"],
    "data.load": ["load_corpus"],
    "errors": ["ConfigError", "CorruptionError", "DataError", "StopTraining", "TrainingError", "UserError"],
    "inference.estimator": ["SentenceEstimator"],
    "inference.predictor": ["load_model"],
    "training.loop": ["train"],
    "training.result": ["EpochResult", "TrainResult"],
}
"""The public names of each module, which is imported at the first access."""

__all__ = sorted(name for names in _NAMES.values() for name in names)


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names:
            return getattr(importlib.import_module(f"core.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
