"""tuning.analysis.assessment: conclusions from stored predictions."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.selection_bias import constant_is_recommended
from core.errors import CorruptionError
from core.metrics import METRICS
from core.stats import wilson
from tests.support.assessed_studies import (
    CONFIG,
    CONFIG_SIZE,
    LABELS,
    SPEC,
    attributes,
    predicting,
    reading,
    store_probabilities,
    trial,
    write_study,
)
from tests.support.epochs import epoch
from tuning.analysis.assessment import (
    StudyAssessment,
    assess,
    evaluations_elsewhere,
    held_out_results,
)
from tuning.analysis.best import evaluations_note
from tuning.analysis.ranking import trial_rows
from tuning.analysis.recommendation import majority_baseline
from tuning.journal.predictions import pack_labels
from tuning.journal.probabilities import epoch_name, pack_log_odds, save_probabilities
from tuning.journal.records import PLAIN_BASELINE, TrialRecord, study_attributes

WRONG = {0: range(30, 110), 1: range(40), 2: range(42), 3: range(90, 140), 4: range(20, 100)}


def trials(**changes: object) -> list[TrialRecord]:
    """Trial 1 is the best; 2 is nearly the same, 3 as good within noise, 0 and 4 are worse."""
    return [trial(number, wrong, **changes) for number, wrong in WRONG.items()]


def judge(records: list[TrialRecord], **changes: object) -> StudyAssessment:
    """Assess a study without a folder."""
    return assess(records, attributes(**changes), Path("nonexistent"))


def test_a_trial_is_tied_when_the_paired_test_cannot_tell_it_from_the_best() -> None:
    assert judge(trials()).tied == {0: False, 1: True, 2: True, 3: True, 4: False}


@pytest.mark.parametrize(("wrong", "learned"), [(40, True), (100, False)])
def test_a_loss_is_compared_with_that_of_the_majority_class(wrong: int, learned: bool, tmp_path: Path) -> None:
    """That is 0.693; the trial has 0.513 or 0.813."""
    store_probabilities(tmp_path, epoch_name(0, 2), range(wrong))
    judged = assess([trial(0, range(wrong))], attributes(spec=SPEC | {"metric": "log_loss"}), tmp_path)
    assert judged.nothing_learned is not learned


@pytest.mark.parametrize(("more", "tied"), [(5, True), (6, False)])
def test_a_trial_is_tied_from_a_two_sided_p_of_5_percent_on(more: int, tied: bool) -> None:
    """It has the mistakes of the best and some more: p is 0.057 and 0.032."""
    assert judge([trial(0, range(40)), trial(1, range(40 + more))]).tied[1] is tied


def test_the_test_is_corrected_for_as_many_as_there_are() -> None:
    """25 sentences against 9: p = 0.009 alone, but one of twenty looks like that by chance."""
    best, other = trial(0, range(9)), trial(1, range(9, 34))
    alike = [trial(number, [*range(8), 50 + number]) for number in range(2, 22)]
    assert judge([best, other]).tied[1] is False
    assert judge([best, other, *alike]).tied[1] is True


@pytest.mark.parametrize(("sentences", "tied"), [(29, True), (30, False)])
def test_with_few_sentences_all_trials_are_tied(sentences: int, tied: bool) -> None:
    """Trial 0 is right on all sentences, and trial 1 is wrong on most."""
    labels = np.arange(sentences) % 2
    wrong = np.where(np.arange(sentences) < 2, labels, 1 - labels)
    found = [
        trial(number, range(150 * number), predictions=(None, pack_labels(predictions)))
        for number, predictions in enumerate((labels, wrong))
    ]
    judged = judge(found, validation={"labels": pack_labels(labels), "classes": ["a", "b"]})
    assert judged.tied == {0: True, 1: tied}


def test_the_cheapest_of_the_tied_is_recommended() -> None:
    cheap = dataclasses.asdict(CONFIG) | {"hidden_dim": 2}
    found = trials()
    assert judge(found).recommended == 1  # all have the same cost: the best
    found[2] = trial(2, [*range(39), 180], config=cheap)
    assert judge(found).recommended == 2  # as good, and a third of the multiplications
    found[3] = trial(3, WRONG[3], config=cheap | {"hidden_dim": 1})
    judged = judge(found)
    assert (judged.recommended, judged.tied[3]) == (2, True)  # tied, but more than one standard error worse
    assert judged.difference is not None
    rows = trial_rows(found, (), assessment=judged)
    row = next(row for row in rows if row.recommended)
    assert (row.trial, row.difference, row.corrected) == (
        2,
        judged.difference.value,
        judged.recommended_corrected.value if judged.recommended_corrected else None,
    )
    assert judged.difference.interval.low < judged.difference.value < judged.difference.interval.high


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_a_trial_that_predicts_one_class_is_never_recommended(metric: str) -> None:
    """Two constant trials are the best by accuracy: one sentence in twenty is of class b."""
    assert not any(constant_is_recommended(metric, seed) for seed in range(3))


def test_without_a_trial_better_than_the_majority_class_nothing_was_learned() -> None:
    found = [trial(number, range(100 + number)) for number in range(3)]
    judged = judge(found)
    assert (judged.nothing_learned, judged.recommended, judged.useless) == (
        True,
        None,
        dict.fromkeys(range(3), "not better"),
    )
    lucky = [trial(number, [*range(number, 99 + number)]) for number in range(30)]
    assert judge(lucky).nothing_learned  # the best is better by selection bias only
    constant = trial(3, range(0, 200, 2), predictions=(None, pack_labels(np.zeros(200, dtype=int))))
    assert judge([*found, constant]).useless[3] == "one class"
    assert not judge(trials()).nothing_learned


def test_a_good_ranking_that_predicts_one_class_may_be_recommended(tmp_path: Path) -> None:
    """All probabilities of the second class are below 0.5 in trial 0, and equal in trial 1."""
    found = []
    for number, (score, spread) in enumerate([(1.0, 1), (0.6, 0)]):
        epochs = (dataclasses.replace(epoch(1, 0.5), score=score),)
        found.append(trial(number, range(0, 200, 2), epochs=epochs, predictions=(pack_labels(np.zeros_like(LABELS)),)))
        log_odds = (-2048 + 1024 * spread * LABELS).astype(np.int16)
        save_probabilities(tmp_path, epoch_name(number, 1), pack_log_odds(log_odds[:, None]))
    judged = assess(found, attributes(spec=SPEC | {"metric": "roc_auc"}), tmp_path)
    assert judged.useless == {1: "one class"}
    assert (judged.recommended, judged.nothing_learned) == (0, False)


@pytest.mark.parametrize(
    ("name", "value"), [("accuracy", 0.75), ("macro_f1", 3 / 7), ("roc_auc", 0.5), ("mcc", 0.0), ("log_loss", 0.5623)]
)
def test_the_majority_class_has_a_value_in_every_metric(name: str, value: float) -> None:
    audit = {"majority_baseline": {"class": "a", "train_shares": [0.75, 0.25]}}
    kept = attributes(spec=SPEC | {"metric": name}, audit=audit)
    constant, found = majority_baseline(kept, np.array([0, 0, 0, 1]))
    assert constant.tolist() == [0] * 4
    assert found == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    ("metric", "more"),
    [("accuracy", ""), ("log_loss", ", with the shares of the classes in train as probabilities")],
)
def test_the_majority_class_says_what_its_value_is_made_from(metric: str, more: str) -> None:
    found = judge(trials(), spec=SPEC | {"metric": metric}).references
    assert [each.about for each in found] == [f"the majority class, always 'a'{more}"]


def test_a_trial_is_compared_with_the_majority_class_that_has_a_row() -> None:
    """The most frequent class of the train split has 40% of the validation sentences, the trial is right on 55%."""
    labels = (np.arange(200) % 5 >= 2).astype(int)
    predictions = np.where(np.arange(200) < 110, labels, 1 - labels)
    found = judge(
        [trial(0, range(90), predictions=(None, pack_labels(predictions)))],
        validation={"labels": pack_labels(labels), "classes": ["a", "b"]},
        audit={"majority_baseline": {"class": "a", "val": 0.4, "train_shares": [0.6, 0.4]}},
    )
    assert [each.accuracy for each in found.references] == [0.4]
    assert (found.useless, found.recommended) == ({}, 0)


def test_the_gain_over_the_baseline_is_corrected() -> None:
    gain = judge(trials()).corrected_gain
    assert gain is not None
    assert gain.raw == pytest.approx(0.2)
    assert gain.interval.low < gain.value < gain.raw < gain.interval.high


def test_a_baseline_that_is_the_best_has_no_gain_over_itself() -> None:
    assert judge([trial(0, range(40)), trial(1, range(50))]).corrected_gain is None


def test_readings_of_the_same_test_split_by_other_studies_are_counted(tmp_path: Path) -> None:
    read = [reading(1, 0.75, test_fingerprint="same"), reading(1, 0.75, test_fingerprint="another")]
    write_study(tmp_path / "first", trials(), attributes(test_evaluations=read))
    write_study(tmp_path / "second", trials(), attributes(test_fingerprint="same"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/study.journal").write_bytes(b"{}\n")
    found = evaluations_elsewhere(tmp_path / "second", attributes(test_fingerprint="same"))
    assert found == {"first": 1}
    assert evaluations_note([], found, "80/10/10") == "this study has not used the test split; by study first: 1"
    assert evaluations_elsewhere(tmp_path / "second", attributes()) == {}


def test_a_copy_of_a_study_adds_only_its_own_uses_of_the_test_split(tmp_path: Path) -> None:
    read = [reading(1, 0.75, test_fingerprint="same"), reading(1, 0.76, seed=2, test_fingerprint="same")]
    for name, evaluations in (("study", read[:1]), ("copy", read)):
        write_study(tmp_path / name, trials(), attributes(test_fingerprint="same", test_evaluations=evaluations))
    own = study_attributes(tmp_path / "study")
    assert evaluations_elsewhere(tmp_path / "study", own) == {"copy": 1}
    assert evaluations_elsewhere(tmp_path / "copy", study_attributes(tmp_path / "copy")) == {}
    third = evaluations_elsewhere(tmp_path / "third", attributes(test_fingerprint="same"))
    assert third == {"copy": 2}  # and none by the other one again


def test_the_size_of_a_trial_follows_from_its_settings() -> None:
    assert judge([trial(0, range(5))]).n_parameters == {0: CONFIG_SIZE}


def test_a_trial_that_repeats_another_shares_its_fate_and_adds_no_choice() -> None:
    found = trials()
    alone = judge(found)
    copies = [trial(5, WRONG[1], origin="copy of 1"), trial(6, WRONG[4], origin="copy of 4")]
    judged = judge([*found, *copies])
    assert judged.tied == {**alone.tied, 5: True, 6: False}
    assert (judged.corrected, judged.recommended) == (alone.corrected, alone.recommended)


def test_a_trial_that_repeats_a_useless_one_is_useless_too() -> None:
    more = [trial(5, range(120)), trial(6, range(120), origin="copy of 5")]
    assert judge([*trials(), *more]).useless == dict.fromkeys((5, 6), "not better")


def test_of_equally_cheap_trials_the_better_one_is_recommended() -> None:
    """Trial 2 has more mistakes than trial 1, but other ones than the best, so its standard error is larger."""
    small = CONFIG.replace(hidden_dim=2).to_dict()
    more, other = [*range(43)], [*range(20), *range(100, 124)]
    found = judge([trial(0, range(40)), trial(1, more, config=small), trial(2, other, config=small)])
    assert found.recommended == 1
    assert judge([trial(0, range(40)), trial(1, more, config=small)]).recommended == 0


@pytest.mark.parametrize(
    ("limit", "most", "judged"),
    [("OUTPUTS", 0, 2), ("OUTPUTS", 1_300, 3), ("OUTPUTS", 10**9, 5), ("RESAMPLED_TRIALS", 3, 3)],
)
def test_of_more_outputs_than_memory_should_hold_the_best_trials_are_judged(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int, judged: int
) -> None:
    """Each trial has two epochs on 200 sentences."""
    monkeypatch.setattr(f"tuning.analysis.assessment.MAX_{limit}", most)
    found = judge(trials())
    assert found.n_candidates == 5  # the best was chosen among all
    assert set(found.tied) == set([1, 2, 3, 0, 4][:judged])
    assert found.recommended == 1


def test_the_probabilities_of_a_trial_count_once_for_each_class(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each trial has one epoch, and probabilities of two classes for 200 sentences."""
    monkeypatch.setattr("tuning.analysis.assessment.MAX_OUTPUTS", 1_300)
    found = [trial(number, wrong, epochs=(epoch(1, 1 - len(wrong) / 200),)) for number, wrong in WRONG.items()]
    for number, wrong in WRONG.items():
        store_probabilities(tmp_path, epoch_name(number, 1), wrong)
    judged = assess(found, attributes(spec=SPEC | {"metric": "log_loss"}), tmp_path)
    assert set(judged.tied) == {1, 2, 3}


def test_failed_and_running_trials_are_not_judged() -> None:
    more = [trial(5, range(1), state="FAIL", error="x"), trial(6, range(1), state="RUNNING")]
    judged = judge([*trials(), *more])
    assert judged.tied == judge(trials()).tied
    assert judged.corrected == judge(trials()).corrected


def test_raw_and_corrected_are_on_the_best_row_and_an_interval_on_each() -> None:
    judged = judge(trials())
    rows = trial_rows(trials(), (), assessment=judged)
    assert judged.corrected is not None
    assert (judged.corrected.raw, judged.n_candidates) == (0.8, 5)
    assert 0.7 < judged.corrected.value < 0.8
    assert (rows[0].trial, rows[0].corrected) == (1, judged.corrected.value)
    assert [row.corrected for row in rows[1:]] == [None] * 4
    for row in rows:
        interval = wilson(200 - len(WRONG[row.trial]), 200)
        assert (row.interval_low, row.interval_high) == (interval.low, interval.high)
    assert [row.gain_over_baseline for row in rows] == pytest.approx([0.2, 0.19, 0.15, 0, 0])


def test_of_two_with_one_accuracy_the_one_with_the_lower_loss_is_the_best_as_in_the_table() -> None:
    better = dataclasses.replace(epoch(2, 0.8), val_loss=0.4)
    found = [trial(0, range(40)), trial(1, range(40, 80), epochs=(better,))]
    rows = trial_rows(found, (), assessment=judge(found))
    assert [(row.trial, row.tied, row.corrected is None) for row in rows] == [(1, True, False), (0, True, True)]


def test_where_a_rivals_predictions_are_missing_there_is_no_corrected_figure() -> None:
    found = trials()
    found[4] = trial(4, WRONG[4], predictions=())
    judged = judge(found)
    assert (judged.corrected, judged.tied) == (None, {0: False, 1: True, 2: True, 3: True})
    found[1] = trial(1, WRONG[1], predictions=())
    assert judge(found).tied == {}


def test_a_study_of_one_validation_sentence_has_no_corrected_figure() -> None:
    one = {"labels": pack_labels(np.array([1])), "classes": ["a", "b"]}
    found = [trial(0, range(0), predictions=(pack_labels(np.array([1])),), epochs=(epoch(1, 1.0),))]
    judged = judge(found, validation=one)
    assert (judged.corrected, judged.sentences, judged.tied) == (None, 1, {})


def test_damage_is_named_with_its_trial() -> None:
    found = trials()
    found[2] = trial(2, WRONG[2], predictions=(None, {**predicting(range(3)), "crc32": 1}))
    with pytest.raises(CorruptionError, match=r"what trial 2 predicted is damaged .*restore a copy"):
        judge(found)
    found[2] = trial(2, WRONG[2], predictions=(None, pack_labels(np.zeros(7, dtype=int))))
    with pytest.raises(CorruptionError, match=r"trial 2 .*\(7 predictions for 200 validation sentences\); restore"):
        judge(found)
    found[2] = trial(2, WRONG[2], predictions=(None, pack_labels(np.full(200, 9))))
    with pytest.raises(CorruptionError, match=r"what trial 2 predicted is damaged \(it has class 9 of 2\)"):
        judge(found)


def test_a_trials_figure_is_the_mean_over_seeds_with_the_interval_of_one_split() -> None:
    found = held_out_results([reading(3, 0.70), reading(3, 0.80, seed=2), reading(4, 0.6)], "80/10/10", trials())
    assert found[3].accuracy == pytest.approx(0.75)
    assert found[3].seeds == 2
    interval = wilson(300, 400)
    assert (found[3].interval.low, found[3].interval.high) == pytest.approx((interval.low, interval.high))
    assert (found[4].accuracy, found[4].seeds) == (0.6, 1)


def test_the_metric_on_test_is_the_mean_of_all_seeds_or_unknown() -> None:
    readings = [reading(3, 0.7, test_metric=0.5), reading(3, 0.8, seed=2, test_metric=0.6), reading(4, 0.6)]
    found = held_out_results([*readings, reading(4, 0.7, seed=2, test_metric=0.5)], "80/10/10", trials())
    assert found[3].metric == pytest.approx(0.55)
    assert found[4].metric is None


def test_what_was_read_first_counts_where_a_seed_was_read_again() -> None:
    assert (
        held_out_results([reading(3, 0.70), reading(3, 0.71, verb="retrain")], "80/10/10", trials())[3].accuracy == 0.70
    )


def test_a_later_reading_of_the_trial_with_more_epochs_replaces_the_earlier_one() -> None:
    """A study with more trials promoted the trial after it was trained again."""
    records = [trial(3, range(5), epochs=tuple(epoch(number, 0.7) for number in range(1, 17)))]
    readings = [reading(3, 0.70, epochs=2), reading(3, 0.71, seed=2, epochs=2)]
    assert held_out_results(readings, "80/10/10", records) == {}
    readings += [reading(3, 0.75, epochs=16), reading(3, 0.76, epochs=16)]
    found = held_out_results(readings, "80/10/10", records)
    assert (found[3].accuracy, found[3].seeds) == (0.75, 1)
    with_patience = dataclasses.replace(records[0], config={**records[0].config, "patience": 3})
    assert held_out_results(readings, "80/10/10", [with_patience])[3].seeds == 2


@pytest.mark.parametrize("state", ["PRUNED", "PAUSED"])
def test_a_stopped_trial_that_confirm_trains_to_the_end_has_no_result_of_its_row(state: str) -> None:
    records = [trial(0, range(5)), trial(1, range(5), state=state)]
    readings = [reading(1, 0.70, epochs=2), reading(1, 0.80, seed=2, epochs=16), reading(1, 0.90, seed=3, epochs=16)]
    found = held_out_results([*readings, reading(0, 0.6, epochs=2)], "80/10/10", records)
    assert (found[1].accuracy, found[1].seeds, found[0].accuracy) == (0.70, 1, 0.6)


def test_patience_does_not_choose_the_seeds_of_a_stopped_trial() -> None:
    """Seeds of `retrain` may end earlier; a seed of `confirm` that ends at the rung does so by chance."""
    stopped = trial(1, range(5), state="PRUNED", epochs=tuple(epoch(number, 0.7) for number in range(1, 5)))
    records = [dataclasses.replace(stopped, config={**stopped.config, "patience": 2})]
    confirmed = [reading(1, 0.6, seed=2, epochs=4), reading(1, 0.9, seed=3, epochs=9)]
    assert held_out_results(confirmed, "80/10/10", records) == {}
    retrained = [reading(1, 0.7, verb="retrain", epochs=4), reading(1, 0.8, verb="retrain", seed=2, epochs=3)]
    assert held_out_results([*confirmed, *retrained], "80/10/10", records)[1].seeds == 2
    before_promotion = reading(1, 0.7, verb="retrain", seed=stopped.config["seed"], epochs=3)
    assert held_out_results([before_promotion], "80/10/10", records) == {}


@pytest.mark.parametrize("change", [{"on": "train+val"}, {"on": "train in bf16"}, {"split": "folds:10"}])
def test_other_splits_and_other_training_data_do_not_count_for_the_row(change: dict[str, str]) -> None:
    assert held_out_results([reading(3, 0.7, **change)], "80/10/10", trials()) == {}


def test_every_reading_counts_in_the_note() -> None:
    readings = [reading(3, 0.7), reading(3, 0.7, split="folds:10"), reading(4, 0.7, verb="retrain")]
    assert evaluations_note(readings, {}, "80/10/10") == (
        "the test split was used 2 times: 1 by confirm, 1 by retrain; test sentences of other splits once"
    )
    assert evaluations_note(readings[:1], {}, "80/10/10") == "the test split was used once: 1 by confirm"
    assert evaluations_note(readings[1:2], {}, "80/10/10") == (
        "this study has not used the test split; test sentences of other splits once"
    )
    assert evaluations_note([], {}, "80/10/10") == "no use of the test split is recorded"
    assert evaluations_note([], {}, None) == "there is no test split"
    assert evaluations_note(readings[1:2], {}, None) == "there is no test split; test sentences of other splits once"


def test_the_result_of_an_ensemble_is_of_the_last_one_that_learned_from_train_alone() -> None:
    members = {"verb": "ensemble", "trial": None, "seed": None, "members": {"1": 0.6, "plain": 0.4}}
    made = reading(1, 0.8) | members
    others = [made | {"on": "train+val", "test_accuracy": 0.9}, made | {"split": "70/15/15", "test_accuracy": 0.7}]
    for evaluations in ([made, *others], [made, *others[::-1]]):
        found = judge([trial(0, range(5))], test_evaluations=evaluations).held_out_ensemble
        assert found is not None
        assert found.accuracy == 0.8


def test_a_row_has_the_accuracy_on_test_and_the_number_of_evaluations() -> None:
    readings = [reading(1, 0.75), reading(1, 0.6, on="train+val")]
    found = [trial(0, range(60)), trial(1, range(50))]
    first, second = trial_rows(found, (), assessment=judge(found, test_evaluations=readings))
    assert (first.trial, first.test_accuracy, first.test_evaluations) == (1, 0.75, 2)
    assert first.test_low is not None
    assert first.test_high is not None
    assert first.test_low < 0.75 < first.test_high
    assert (second.test_accuracy, second.test_low, second.test_high, second.test_evaluations) == (None, None, None, 0)


def test_damaged_predictions_of_the_plain_baseline_are_reported() -> None:
    short = {"val_predictions": pack_labels(np.zeros(7, dtype=int))}
    with pytest.raises(CorruptionError, match=r"what the plain baseline predicted is damaged \(7 predictions for 200"):
        judge(trials(), plain_baseline=short)


def test_the_gain_over_the_plain_baseline_is_corrected_for_the_choice_among_trials() -> None:
    """Many trials of equal worth: the best one is better than the plain baseline by luck alone."""
    draw = np.random.default_rng(0)
    lucky = [trial(n, draw.choice(200, 60, replace=False)[: 60 - draw.integers(8)].tolist()) for n in range(20)]
    plain = {"val_predictions": predicting(draw.choice(200, 58, replace=False).tolist())}
    found = judge(lucky, plain_baseline=plain)
    assert found.corrected is not None
    assert found.gain_over_plain is not None
    raw = found.corrected.raw - (1 - 58 / 200)
    assert found.gain_over_plain.value == pytest.approx(found.corrected.value - 0.71)
    assert found.gain_over_plain.value < raw
    assert found.gain_over_plain.interval.low < 0 < found.gain_over_plain.interval.high


def test_a_loss_is_compared_with_that_of_the_plain_baseline(tmp_path: Path) -> None:
    """A wrong sentence costs 1 more than a right one."""
    store_probabilities(tmp_path, epoch_name(0, 2), range(40))
    store_probabilities(tmp_path, PLAIN_BASELINE, range(60))
    kept = attributes(spec=SPEC | {"metric": "log_loss"}, plain_baseline={"val_predictions": predicting(range(60))})
    gain = assess([trial(0, range(40))], kept, tmp_path, ensemble_size=0).gain_over_plain
    assert gain is not None
    assert gain.value == pytest.approx(0.1, abs=1e-4)
    assert gain.interval.low > 0


def test_the_mean_over_seeds_does_not_depend_on_which_ended_first() -> None:
    found = [reading(3, value, seed=seed) for seed, value in enumerate((0.1, 0.2, 0.3))]
    one, other = (held_out_results(each, "80/10/10", trials())[3].accuracy for each in (found, found[::-1]))
    assert one == other
