"""tuning.journal.readings: no reading of the test split is forgotten."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.journals import SPEC, two_trials
from tuning.journal.readings import count_reading
from tuning.journal.records import attributes_of, read_study
from tuning.journal.writer import Ledger, open_ledger


def read(ledger: Ledger, **changes: Any) -> int:
    settings: dict[str, Any] = {
        "verb": "retrain", "trial": 1, "seed": 7, "on": "train", "split": "80/10/10",
        "val_accuracy": 0.75, "test_accuracy": 0.7, "test_sentences": 100,
    }  # fmt: skip
    return count_reading(ledger, **(settings | changes))


def test_readings_add_up_over_processes_with_what_was_read_and_when(tmp_path: Path) -> None:
    two_trials(tmp_path)
    with open_ledger(tmp_path, SPEC) as ledger:
        assert [read(ledger), read(ledger)] == [1, 2]
    with open_ledger(tmp_path, SPEC) as ledger:
        assert read(ledger, verb="confirm", val_accuracy=None) == 3
    readings = attributes_of(tmp_path)["readings"]
    assert [reading["verb"] for reading in readings] == ["retrain", "retrain", "confirm"]
    assert readings[0]["test_accuracy"] == 0.7
    age = datetime.now(UTC) - datetime.fromisoformat(readings[2]["time"])
    assert timedelta(seconds=-1) <= age < timedelta(minutes=5)


def test_the_trials_are_as_they_were(tmp_path: Path) -> None:
    two_trials(tmp_path)
    before = read_study(tmp_path)
    with open_ledger(tmp_path, SPEC) as ledger:
        read(ledger)
    assert read_study(tmp_path) == before
