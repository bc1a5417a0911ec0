"""Trials as the readers of a journal return them."""

from collections import defaultdict
from typing import Any

from core.config import TrialConfig
from tests.support.epochs import epoch
from tuning.analysis.assessment import StudyAssessment
from tuning.journal.predictions import copied_from
from tuning.journal.records import TrialRecord

NOT_ASSESSED = StudyAssessment(n_parameters=defaultdict(lambda: 10), multiplications=defaultdict(lambda: 160))
"""Of trials without stored predictions: only their sizes are known."""


def record(number: int, *accuracies: float, loss: float = 0.5, **changes: Any) -> TrialRecord:
    settings: dict[str, Any] = {
        "number": number,
        "state": "COMPLETE",
        "params": {"n_layers": 2},
        "config": TrialConfig(n_layers=2, learning_rate=0.00123456, freeze_embedding=True).to_dict(),
        "origin": "baseline" if number == 0 else "sampler",
        "epochs": tuple(epoch(i, a, val_loss=loss, seconds=1.5) for i, a in enumerate(accuracies, 1)),
        "error": None,
    }
    settings |= changes
    return TrialRecord(**{"copy_of": copied_from(settings["origin"])} | settings)
