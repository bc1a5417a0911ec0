"""tuning.journal.records: points for trackers, formats of studies, and the states of trials."""

import errno
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from core.config import TrialConfig
from core.errors import UserError
from tests.support.small_study import SPEC, add, small_study
from tests.support.studies import tamper
from tests.support.trial_records import record
from tuning.journal.folder import STUDY_FORMAT
from tuning.journal.records import (
    TrialRecord,
    epoch_points,
    is_candidate,
    rank_trials,
    read_study,
    searched_values,
    study_attributes,
)
from tuning.journal.writer import StudyJournal, open_study


def test_a_point_for_each_epoch_at_the_time_it_ended() -> None:
    curve = epoch_points(record(0, 0.6, 0.8, 0.7, started=datetime.fromtimestamp(1000.0)))
    assert [point.epoch for point in curve] == [1, 2, 3]
    assert [point.time for point in curve] == [1001.5, 1003.0, 1004.5]
    assert [point.values["val_accuracy"] for point in curve] == [0.6, 0.8, 0.7]
    assert [point.values["best_val_accuracy"] for point in curve] == [0.6, 0.8, 0.8]
    assert {"val_loss": 0.5, "train_loss": 0.1 + 0.2, "seconds": 1.5}.items() <= curve[0].values.items()


def test_the_epochs_of_a_trial_that_repeats_another_one_take_no_time() -> None:
    """They would be in the future, because it ends at once."""
    curve = epoch_points(record(1, 0.6, 0.8, origin="copy of 0", started=datetime.fromtimestamp(1000.0)))
    assert [point.time for point in curve] == [1000.0, 1000.0]


def test_a_setting_that_is_off_is_named() -> None:
    trial = record(0, config={"ema_decay": None, "n_layers": 2, "bidirectional": False, "other": 1})
    assert searched_values(trial, ["ema_decay", "n_layers", "bidirectional"]) == {
        "ema_decay": "none",
        "n_layers": 2,
        "bidirectional": False,
    }


@pytest.mark.parametrize("read", [read_study, study_attributes, lambda folder: open_study(folder, SPEC).__enter__()])
def test_a_study_of_an_older_format_is_refused_in_one_line(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Its trials may lack what this version's have, and its attributes have other shapes."""
    with small_study(tmp_path / "old", {**SPEC, "format": 5, "metric": "f1"}) as journal:
        journal.set_study_attr("plain_baseline", {"val_accuracy": 0.5})
    tamper(tmp_path / "old", lambda record: record.get("user_attr", {}).get("epoch:1", {}).pop("score", None))
    message = rf"^study 'old' has format 5, this version of sentune reads {STUDY_FORMAT}; run the search again with "
    with pytest.raises(UserError, match=message):
        read(tmp_path / "old")


def test_a_study_whose_creation_was_interrupted_is_new_for_its_command_and_one_line_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spec is written last."""
    write = JournalStorage.set_study_user_attr

    def interrupted(storage: JournalStorage, study_id: int, name: str, value: Any) -> None:
        if name == "spec":
            raise KeyboardInterrupt
        write(storage, study_id, name, value)

    with monkeypatch.context() as patch:
        patch.setattr(JournalStorage, "set_study_user_attr", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_study(tmp_path / "s", SPEC, {"vocabulary": 5}).__enter__()
    assert study_attributes(tmp_path / "s") == {}
    with pytest.raises(UserError, match=r"^study 's' has not begun; run its command again$"):
        read_study(tmp_path / "s")
    with open_study(tmp_path / "s", SPEC, {"vocabulary": 5}):
        pass
    assert study_attributes(tmp_path / "s") == {"vocabulary": 5, "spec": SPEC}


def paused(journal: StudyJournal, *accuracies: float, after: int) -> TrialRecord:
    """Return the record of a trial that paused after a number of epochs, and has these epochs now."""
    number = add(journal, *accuracies)
    journal.set_trial_attr(number, "segments", [{"since": 1.0, "until": 2.0, "paused": after}])
    return journal.records()[number]


def test_a_trial_is_paused_until_it_has_a_further_epoch_or_the_study_ends(tmp_path: Path) -> None:
    with small_study(tmp_path / "s") as journal:
        assert paused(journal, 0.5, 0.6, after=2).state == "PAUSED"
        assert paused(journal, 0.5, 0.6, 0.7, after=2).state == "RUNNING"
        number = paused(journal, 0.5, after=1).number
        assert journal.finish_trial(number, TrialState.PRUNED, None, 1).state == "PRUNED"


def test_a_trial_whose_worker_died_is_not_paused(tmp_path: Path) -> None:
    with small_study(tmp_path / "s") as journal:
        number = add(journal, 0.5)
        journal.set_trial_attr(number, "segments", [{"since": 1.0, "until": 2.0}])
        assert journal.records()[number].state == "RUNNING"


def test_paused_trials_are_ranked_and_running_ones_are_not(tmp_path: Path) -> None:
    with small_study(tmp_path / "s") as journal:
        number = paused(journal, 0.75, after=1).number
        assert [record.number for record in rank_trials(journal.records())] == [0, 3, number, 1]
        assert is_candidate(journal.records()[number])


def test_a_trial_that_is_opened_again_keeps_its_state_until_it_is_closed_again(tmp_path: Path) -> None:
    """Otherwise `best` would lose trials if a command with more trials is interrupted. A stopped one was paused."""
    with small_study(tmp_path / "s") as journal:
        journal.finish_trial(paused(journal, 0.7, after=1).number, TrialState.PRUNED, None, 1)
        journal.reopen()
        states = {record.number: record.state for record in journal.records()}
        assert states == {0: "COMPLETE", 1: "RUNNING", 2: "FAIL", 3: "COMPLETE", 4: "RUNNING", 5: "PAUSED"}
        assert [record.number for record in rank_trials(journal.records())] == [0, 3, 5]
        assert not any(record.ended for record in journal.records())


def test_trials_after_the_end_of_the_study_do_not_count(tmp_path: Path) -> None:
    with small_study(tmp_path / "s") as journal:
        for ended, numbers in (
            (None, [0, 1, 2, 3, 4]),
            ({"reason": "time", "n_trials": None}, [0, 1, 2, 3, 4]),
            ({"reason": "target", "n_trials": 3}, [0, 1, 2]),
        ):
            journal.set_study_attr("early_end", ended)
            assert [record.number for record in read_study(tmp_path / "s")[1]] == numbers


def test_a_study_that_this_user_may_not_read_is_not_called_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", refused)
    with pytest.raises(UserError, match=r"cannot read .*journal \(Permission denied\); ask its owner for access"):
        read_study(tmp_path / "theirs")


def test_a_setting_of_a_later_version_is_no_damage() -> None:
    trial = record(0, config={**TrialConfig().to_dict(), "zoneout": 0.1})
    with pytest.raises(UserError, match=r"^trial 0 has the setting 'zoneout', which this version of sentune lacks; in"):
        _ = trial.trial_config
