"""Small journals that several tests write."""

from pathlib import Path
from typing import Any

from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from core.config import TrialConfig
from tests.support.epochs import epoch
from tuning.journal.writer import StudyJournal, open_study

SPEC: dict[str, Any] = {
    "fingerprint": "f" * 64, "data": {"dataset": "tiny"}, "seed": 42, "stopping": {"grace": 2}, "metric": "accuracy",
}  # fmt: skip


def add(journal: StudyJournal) -> int:
    config = TrialConfig(learning_rate=0.25, optimizer="adadelta").to_dict()
    return journal.add_trial({"learning_rate": 0.25}, {"learning_rate": FloatDistribution(0.1, 1)}, config, "sampler")


def two_trials(folder: Path) -> None:
    with open_study(folder, SPEC) as journal:
        first, second = add(journal), add(journal)
        for number in (first, second):
            journal.record_epoch(number, epoch(1, 0.5))
            journal.record_epoch(number, epoch(2, 0.75))
        journal.finish_trial(first, TrialState.COMPLETE, {"n_parameters": 10}, 2)
        journal.finish_trial(second, TrialState.FAIL, {"error": "TrainingError: NaN"}, 2)
