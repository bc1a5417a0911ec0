"""Finished studies with stored predictions that several tests share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import TrialState

from benchmarks.inputs.recorded_study import some_audit
from core.config import TrialConfig
from core.training.result import best_epoch
from tests.support.epochs import epoch
from tuning.journal.predictions import copied_from, pack_labels
from tuning.journal.probabilities import epoch_name, pack_log_odds, save_probabilities
from tuning.journal.records import PLAIN_BASELINE, SEGMENTS, TrialRecord, study_attributes
from tuning.journal.writer import open_study
from tuning.scheduling.asha import Asha
from tuning.space.load import load_space

SPACE = load_space("quick")
SPEC: dict[str, Any] = {
    "fingerprint": "f" * 64,
    "data": {"dataset": "tiny", "split": "80/10/10", "validation": "split"},
    "embedding_dim": 8,
    "space": SPACE.to_dict(),
    "seed": 42,
    "metric": "accuracy",
    "parallelism": 4,
    "lag": 2.0,
    "stopping": None,
    "sampler": {"name": "tpe", "startup": 6},
    "first_trials": None,
    "warm_start": None,
    "epoch_sentences": None,
}
FULL_SPEC = SPEC | {"epochs": 2, "patience": None, "precision": "fp32", "threads": 1, "device": "cpu",
                    "stopping": Asha().to_dict(), "versions": {"torch": "2", "sentune": "0"}}  # fmt: skip
"""With all that a command which continues a study compares."""
LABELS = np.arange(200) % 2
AUDIT = some_audit(("a", "b")) | {"majority_baseline": {"class": "a", "val": 0.5, "train_shares": [0.5, 0.5]}}
CONFIG = TrialConfig(n_layers=1, hidden_dim=4, pooling="max")
"""Without frozen word vectors: 20 words of 8 numbers, and 8 * 4 * (8 + 4 + 2) + 9 * 2 others."""
CONFIG_SIZE = 20 * 8 + 8 * 4 * 14 + 18


def attributes(**changes: Any) -> dict[str, Any]:
    """Of a study: 200 validation sentences of two classes, 20 words."""
    kept = {
        "spec": SPEC,
        "validation": {"labels": pack_labels(LABELS), "classes": ["a", "b"]},
        "vocabulary": 20,
        "audit": AUDIT,
        "test_fingerprint": "t" * 16,
        "command": "sentune run tiny",
    }
    evaluations = changes.pop("test_evaluations", [])
    return kept | {f"test_evaluation:{place}": each for place, each in enumerate(evaluations)} | changes


def predicting(wrong: Sequence[int] | range) -> dict[str, Any]:
    """Packed predictions that are wrong on these sentences."""
    predictions = LABELS.copy()
    predictions[list(wrong)] = 1 - predictions[list(wrong)]
    return pack_labels(predictions)


def trial(number: int, wrong: Sequence[int] | range, **changes: Any) -> TrialRecord:
    """A trial of two epochs, the second its best, that is wrong on these of the 200 validation sentences."""
    accuracy = 1 - len(wrong) / len(LABELS)
    settings: dict[str, Any] = {
        "number": number,
        "state": "COMPLETE",
        "params": {},
        "config": CONFIG.to_dict(),
        "origin": "baseline" if number == 0 else "sampler",
        "epochs": (epoch(1, accuracy - 0.1), epoch(2, accuracy)),
        "error": None,
    }
    settings |= changes
    best = best_epoch(settings["epochs"]) if settings["epochs"] else None
    packed = predicting(wrong)
    settings.setdefault("predictions", tuple(packed if each is best else None for each in settings["epochs"]))
    return TrialRecord(**{"copy_of": copied_from(settings["origin"])} | settings)


STATES = {"COMPLETE": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED, "FAIL": TrialState.FAIL}


def write_study(folder: Path, trials: Sequence[TrialRecord], kept: Mapping[str, Any]) -> None:
    """A journal with these trials.

    Args:
        folder: the study's.
        trials: by number; one that is RUNNING or PAUSED stays open.
        kept: its user attributes, `spec` among them.
    """
    rest = {name: value for name, value in kept.items() if name != "spec"}
    with open_study(folder, kept["spec"], rest) as journal:
        for record in trials:
            params = record.params
            number = journal.add_trial(params, SPACE.distributions(params), record.config, record.origin)
            for each, packed in zip(record.epochs, record.predictions or (None,) * len(record.epochs), strict=False):
                journal.record_epoch(number, each, packed)
            if record.state in STATES:
                outcome = {"error": record.error} if record.error else {}
                result = None if record.state == "PRUNED" else outcome
                journal.finish_trial(number, STATES[record.state], result, len(record.epochs))
            elif record.state == "PAUSED":
                journal.set_trial_attr(number, SEGMENTS, [{"since": 1.0, "until": 2.0, "paused": len(record.epochs)}])


def store_probabilities(folder: Path, name: str, wrong: Sequence[int] | range) -> None:
    """Probabilities of 0.73 for the right class, and of 0.27 on these sentences; `name` as of the file."""
    right = np.where(np.isin(np.arange(len(LABELS)), list(wrong)), -1, 1)
    log_odds = (1024 * right * np.where(LABELS, 1, -1)).astype(np.int16)
    save_probabilities(folder, name, pack_log_odds(log_odds[:, None]))


def write_study_with_ensemble(folder: Path, wrong: Sequence[range], plain: range) -> None:
    """A study whose trials and plain baseline are wrong on these sentences, and have stored probabilities."""
    kept = attributes(spec=FULL_SPEC, plain_baseline={"val_predictions": predicting(plain)})
    write_study(folder, [trial(number, each, origin="random") for number, each in enumerate(wrong)], kept)
    for number, each in enumerate(wrong):
        store_probabilities(folder, epoch_name(number, 2), each)
    store_probabilities(folder, PLAIN_BASELINE, plain)


def reading(trial: int, accuracy: float, **changes: Any) -> dict[str, Any]:
    """That confirm read the test split, as the study keeps it."""
    kept = {
        "verb": "confirm",
        "trial": trial,
        "seed": 1,
        "on": "train",
        "split": "80/10/10",
        "val_accuracy": 0.8,
        "test_accuracy": accuracy,
        "test_sentences": 400,
        "time": "2026-01-01T00:00:00",
    }
    return kept | changes


def opened(folder: Path) -> str:
    """As a command that continues the study."""
    study_attributes(folder)
    with open_study(folder, FULL_SPEC) as journal:
        return "; ".join(record.state for record in journal.records())
