"""Trials as the readers of a journal return them."""

from typing import Any

from core.config import TrialConfig
from core.training.result import EpochResult
from tuning.journal.records import TrialRecord, copied_from


def record(number: int, *accuracies: float, loss: float = 0.5, **changes: Any) -> TrialRecord:
    settings: dict[str, Any] = {
        "number": number,
        "state": "COMPLETE",
        "params": {"n_layers": 2},
        "config": TrialConfig(n_layers=2, learning_rate=0.00123456, freeze_embedding=True).to_dict(),
        "origin": "baseline" if number == 0 else "sampler",
        "epochs": tuple(
            EpochResult(epoch=i, train_loss=1.0, val_loss=loss, val_accuracy=a, score=a, seconds=1.5)
            for i, a in enumerate(accuracies, 1)
        ),
        "error": None,
        "n_parameters": 10,
    }
    settings |= changes
    return TrialRecord(**{"copy_of": copied_from(settings["origin"])} | settings)
