"""tuning.journal.writer: a trial is closed with the epochs that count, opened again, or copied."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState

from core.errors import UserError
from core.log_odds import to_probabilities
from tests.support.epochs import epoch
from tests.support.journals import SPEC, add, two_trials
from tuning.journal.folder import JOURNAL
from tuning.journal.predictions import pack_labels
from tuning.journal.probabilities import epoch_name, load_probabilities, pack_log_odds
from tuning.journal.reader import N_EPOCHS
from tuning.journal.records import read_study, recorded_epochs
from tuning.journal.writer import open_study


def test_epochs_after_the_last_that_counts_stay_in_the_journal_and_do_not_count(tmp_path: Path) -> None:
    """They were trained when the study had fewer trials; the trial's value is that of the epochs that count."""
    with open_study(tmp_path / "s", SPEC) as study_journal:
        number = add(study_journal)
        for at, accuracy in enumerate((0.5, 0.7, 0.9), 1):
            study_journal.record_epoch(number, epoch(at, accuracy))
        record = study_journal.finish_trial(number, TrialState.PRUNED, None, 2)
        assert record.epochs == (epoch(1, 0.5), epoch(2, 0.7))
        trial = study_journal.trials()[number]
        assert (trial.values, trial.user_attrs[N_EPOCHS]) == ([0.7], 2)
        assert recorded_epochs(trial)[2] == epoch(3, 0.9)
    assert read_study(tmp_path / "s")[1] == [record]


def test_the_epochs_that_count_have_their_probabilities_after_a_later_one_was_better(tmp_path: Path) -> None:
    """With more trials or another target, the study may count fewer epochs of the trial."""
    log_odds = {at: np.full((4, 1), at, dtype=np.int16) for at in (1, 2)}
    with open_study(tmp_path, SPEC) as study_journal:
        number = add(study_journal)
        for at, accuracy in ((1, 0.5), (2, 0.7)):
            study_journal.record_epoch(number, epoch(at, accuracy), log_odds=pack_log_odds(log_odds[at]))
        record = study_journal.finish_trial(number, TrialState.PRUNED, None, 1)
    assert record.best == epoch(1, 0.5)
    found = load_probabilities(tmp_path, epoch_name(number, record.best.epoch), 4, 2)
    assert found is not None
    assert np.array_equal(found, to_probabilities(log_odds[1]))


def test_a_trial_with_no_further_epochs_has_no_limit(tmp_path: Path) -> None:
    with open_study(tmp_path / "s", SPEC) as study_journal:
        number = add(study_journal)
        study_journal.record_epoch(number, epoch(1, 0.5))
        study_journal.finish_trial(number, TrialState.PRUNED, None, 4)
        assert N_EPOCHS not in study_journal.trials()[number].user_attrs
        assert "result" not in study_journal.trials()[number].user_attrs


def test_all_trials_can_be_opened_again_with_their_epochs_and_results(tmp_path: Path) -> None:
    """Optuna and sentune read the same afterwards, and the trials can be closed once more."""
    two_trials(tmp_path / "s")
    with open_study(tmp_path / "s", SPEC) as study_journal:
        third = add(study_journal)
        for at in (1, 2):
            study_journal.record_epoch(third, epoch(at, 0.5))
        study_journal.finish_trial(third, TrialState.PRUNED, None, 1)
        before = study_journal.records()
        study_journal.reopen()
        opened = study_journal.records()
        assert [record.state for record in opened] == ["COMPLETE", "FAIL", "RUNNING"]
        assert not any(trial.state.is_finished() for trial in study_journal.trials())
        assert [len(record.epochs) for record in opened] == [2, 2, 2]
        assert N_EPOCHS not in study_journal.trials()[third].user_attrs
        assert read_study(tmp_path / "s")[1] == opened
        results = [trial.user_attrs.get("result") for trial in study_journal.trials()]
        assert results[0] == {"n_parameters": 10}
        lines = len((tmp_path / "s" / JOURNAL).read_bytes().splitlines())
        study_journal.finish_trial(0, TrialState.COMPLETE, results[0], 4)
        assert len((tmp_path / "s" / JOURNAL).read_bytes().splitlines()) == lines + 1  # an equal result is kept
        study_journal.finish_trial(1, TrialState.FAIL, results[1], 4)
        study_journal.finish_trial(third, TrialState.PRUNED, None, 1)
        after = study_journal.records()
    assert [(r.state, r.epochs, r.error) for r in after] == [(r.state, r.epochs, r.error) for r in before]
    with open_study(tmp_path / "s", SPEC) as study_journal:
        assert study_journal.records() == after


def test_a_full_disk_when_the_trials_are_opened_again_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_trials(tmp_path / "s")
    before = (tmp_path / "s" / JOURNAL).read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_study(tmp_path / "s", SPEC) as study_journal, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"cannot write .*study\.journal: the disk is full; free some space"):
            study_journal.reopen()
    assert (tmp_path / "s" / JOURNAL).read_bytes() == before


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_a_copy_has_the_epochs_that_count_the_state_and_the_result(tmp_path: Path, state: TrialState) -> None:
    result = {TrialState.COMPLETE: {"weights_sha256": "w"}, TrialState.FAIL: {"error": "NaN"}}.get(state)
    with open_study(tmp_path / "s", SPEC) as study_journal:
        source, copy = add(study_journal), add(study_journal)
        for at in (1, 2):
            study_journal.record_epoch(source, epoch(at, 0.5), pack_labels(np.array([0, at])))
        first = study_journal.finish_trial(source, state, result, 1)
        second = study_journal.copy_result(source, copy)
        assert (second.state, second.epochs, second.error) == (first.state, first.epochs, first.error)
        assert second.weights_sha256 == first.weights_sha256
        assert second.predictions == first.predictions == (pack_labels(np.array([0, 1])),)


def test_an_epoch_whose_probabilities_were_not_written_is_written_when_it_is_reported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process died in the middle."""

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    packed = pack_log_odds(np.zeros((4, 1), dtype=np.int16))
    with open_study(tmp_path, SPEC) as study_journal:
        number = add(study_journal)
        with monkeypatch.context() as patch:
            patch.setattr("tuning.journal.writer.save_probabilities", dies)
            with pytest.raises(KeyboardInterrupt):
                study_journal.record_epoch(number, epoch(1, 0.5), log_odds=packed)
        study_journal.record_epoch(number, epoch(1, 0.5), log_odds=packed)
    assert load_probabilities(tmp_path, epoch_name(number, 1), 4, 2) is not None
