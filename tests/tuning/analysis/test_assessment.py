"""tuning.analysis.assessment: what stored predictions say about a study's trials."""

import dataclasses

import numpy as np
import pytest

from core.errors import CorruptionError
from core.stats import wilson
from tests.support.assessed_studies import CONFIG, CONFIG_SIZE, attributes, epoch, predicting, trial
from tuning.analysis.assessment import judge
from tuning.analysis.ranking import every_row
from tuning.journal.predictions import pack
from tuning.journal.records import TrialRecord

WRONG = {0: range(30, 110), 1: range(40), 2: range(42), 3: range(90, 140), 4: range(20, 100)}


def trials(**changes: object) -> list[TrialRecord]:
    """Trial 1 is the best; 2 is nearly the same, 3 as good within noise, 0 and 4 are worse."""
    return [trial(number, wrong, **changes) for number, wrong in WRONG.items()]


def test_a_trial_is_tied_when_the_paired_test_cannot_tell_it_from_the_best() -> None:
    assert judge(trials(), attributes()).tied == {0: False, 1: True, 2: True, 3: True, 4: False}


def test_the_test_is_corrected_for_as_many_as_there_are() -> None:
    """25 sentences against 9: p = 0.009 alone, but one of twenty looks like that by chance."""
    best, other = trial(0, range(9)), trial(1, range(9, 34))
    alike = [trial(number, [*range(8), 50 + number]) for number in range(2, 22)]
    assert judge([best, other], attributes()).tied[1] is False
    assert judge([best, other, *alike], attributes()).tied[1] is True


def test_the_cheapest_of_the_tied_is_recommended() -> None:
    cheap = dataclasses.asdict(CONFIG) | {"hidden_dim": 2}
    found = trials()
    assert judge(found, attributes()).recommended == 1  # all of one size and time: the lower number
    found[2] = trial(2, WRONG[2], epochs=(epoch(1, 0.5, 0.1), epoch(2, 1 - 42 / 200, 0.1)))
    assert judge(found, attributes()).recommended == 2  # less time
    found[3] = trial(3, WRONG[3], config=cheap)
    assert judge(found, attributes()).recommended == 3  # fewer numbers
    found[4] = trial(4, WRONG[4], config=cheap | {"hidden_dim": 1})
    assert judge(found, attributes()).recommended == 3  # what is not tied does not count


def test_the_size_of_a_stopped_trial_is_worked_out_and_that_of_a_complete_one_taken() -> None:
    found = judge([trial(0, range(5), n_parameters=77), trial(1, range(5), state="PRUNED")], attributes())
    assert found.n_parameters == {0: 77, 1: CONFIG_SIZE}


def test_a_trial_that_repeats_another_shares_its_fate_and_adds_no_choice() -> None:
    found = trials()
    alone = judge(found, attributes())
    copies = [trial(5, WRONG[1], origin="copy of 1"), trial(6, WRONG[4], origin="copy of 4")]
    judged = judge([*found, *copies], attributes())
    assert judged.tied == {**alone.tied, 5: True, 6: False}
    assert (judged.honest, judged.recommended) == (alone.honest, alone.recommended)


def test_failed_and_running_trials_are_not_judged() -> None:
    more = [trial(5, range(1), state="FAIL", error="x"), trial(6, range(1), state="RUNNING")]
    judged = judge([*trials(), *more], attributes())
    assert judged.tied == judge(trials(), attributes()).tied
    assert judged.honest == judge(trials(), attributes()).honest


def test_raw_and_corrected_stand_on_the_best_row_and_an_interval_on_each() -> None:
    judged = judge(trials(), attributes())
    rows = every_row(trials(), (), judgement=judged)
    assert judged.honest is not None
    assert (judged.honest.raw, judged.honest.trials, judged.honest.sentences) == (0.8, 5, 200)
    assert 0.7 < judged.honest.corrected < 0.8
    assert (rows[0].trial, rows[0].corrected) == (1, judged.honest.corrected)
    assert [row.corrected for row in rows[1:]] == [None] * 4
    for row in rows:
        interval = wilson(200 - len(WRONG[row.trial]), 200)
        assert (row.interval_low, row.interval_high) == (interval.low, interval.high)
    assert [row.against_notebook for row in rows] == pytest.approx([0.2, 0.19, 0.15, 0, 0])


def test_of_two_with_one_accuracy_the_one_with_the_lower_loss_is_the_best_as_in_the_table() -> None:
    better = dataclasses.replace(epoch(2, 0.8), val_loss=0.4)
    found = [trial(0, range(40)), trial(1, range(40, 80), epochs=(better,))]
    rows = every_row(found, (), judgement=judge(found, attributes()))
    assert [(row.trial, row.tied, row.corrected is None) for row in rows] == [(1, True, False), (0, True, True)]


def test_what_an_older_study_did_not_keep_is_not_known() -> None:
    older = trials(val_predictions=None, n_parameters=None)
    judged = judge(older, {"spec": attributes()["spec"]})
    assert (judged.sentences, judged.honest, judged.tied, judged.recommended) == (None, None, {}, None)
    row = every_row(older, (), judgement=judged)[0]
    assert (row.interval_low, row.tied, row.recommended, row.corrected, row.test_accuracy) == (
        None, None, False, None, None,
    )  # fmt: skip


def test_where_a_rivals_predictions_are_missing_there_is_no_corrected_figure() -> None:
    found = trials()
    found[4] = trial(4, WRONG[4], val_predictions=None)
    judged = judge(found, attributes())
    assert (judged.honest, judged.tied) == (None, {0: False, 1: True, 2: True, 3: True})
    found[1] = trial(1, WRONG[1], val_predictions=None)
    assert judge(found, attributes()).tied == {}


def test_a_study_of_one_validation_sentence_has_no_corrected_figure() -> None:
    one = {"labels": pack(np.array([1])), "classes": ["a", "b"]}
    found = [trial(0, range(0), val_predictions=pack(np.array([1])), epochs=(epoch(1, 1.0),))]
    judged = judge(found, attributes(validation=one))
    assert (judged.honest, judged.sentences, judged.tied) == (None, 1, {0: True})


def test_damage_is_named_with_its_trial() -> None:
    found = trials()
    found[2] = trial(2, WRONG[2], val_predictions={**predicting(range(3)), "crc32": 1})
    with pytest.raises(CorruptionError, match=r"what trial 2 predicted is damaged .*put back a copy"):
        judge(found, attributes())
    found[2] = trial(2, WRONG[2], val_predictions=pack(np.zeros(7, dtype=int)))
    with pytest.raises(
        CorruptionError, match="trial 2 has 7 predictions for 200 validation sentences: put back a copy"
    ):
        judge(found, attributes())


def test_an_empty_study_is_judged() -> None:
    judged = judge([], attributes())
    assert (judged.honest, judged.tied, judged.recommended, judged.sentences) == (None, {}, None, 200)
