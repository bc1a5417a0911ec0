"""tuning.journal.records: a trial as other tools see it."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from core.errors import UserError
from tests.support.small_study import SPEC, small_study
from tests.support.trial_records import record
from tuning.journal.records import epoch_points, read_study, searched_values, study_attributes
from tuning.journal.writer import open_study


def test_a_point_for_each_epoch_at_the_time_it_ended() -> None:
    curve = epoch_points(record(0, 0.6, 0.8, 0.7, started=datetime.fromtimestamp(1000.0)))
    assert [point.epoch for point in curve] == [1, 2, 3]
    assert [point.time for point in curve] == [1001.5, 1003.0, 1004.5]
    assert [point.values["val_accuracy"] for point in curve] == [0.6, 0.8, 0.7]
    assert [point.values["best_val_accuracy"] for point in curve] == [0.6, 0.8, 0.8]
    assert {"val_loss": 0.5, "train_loss": 1.0, "seconds": 1.5}.items() <= curve[0].values.items()


def test_a_trial_without_an_epoch_has_no_point() -> None:
    assert epoch_points(record(0)) == []


def test_a_setting_that_is_off_is_named() -> None:
    trial = record(0, config={"ema_decay": None, "n_layers": 2, "bidirectional": False, "other": 1})
    assert searched_values(trial, ["ema_decay", "n_layers", "bidirectional"]) == {
        "ema_decay": "none",
        "n_layers": 2,
        "bidirectional": False,
    }


@pytest.mark.parametrize("read", [read_study, study_attributes, lambda folder: open_study(folder, SPEC).__enter__()])
def test_a_study_of_an_older_format_is_refused_in_one_line(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with small_study(tmp_path / "old", {**SPEC, "format": 3}):
        pass
    message = r"^study 'old' has format 3, this version of sentune reads 4: search again under another --name$"
    with pytest.raises(UserError, match=message):
        read(tmp_path / "old")
