"""tuning.confirm.summary and its table: results of fresh seeds, in figures and in words."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.errors import CorruptionError, UserError
from core.stats import Z, paired_t, wilson
from tests.support.trial_records import record
from tuning.confirm.runs import ConfirmRun, candidates, plan_runs
from tuning.confirm.summary import Summary, summarize, summarize_folds
from tuning.confirm.tables import render_summary, verdict
from tuning.console import called_from_python
from tuning.journal.predictions import pack_labels

SPEC = {"seed": 42, "metric": "accuracy", "data": {"split": "80/10/10"}}
KEPT = {"spec": SPEC, "audit": {"majority_baseline": {"class": "a", "val": 0.55, "test": 0.52}}}
SENTENCES = 1000


def outcome(test: float, parameters: int = 1000, seconds: float = 2.0, **changes: Any) -> dict[str, Any]:
    correct = np.arange(SENTENCES) < round(test * SENTENCES)
    return {
        "val_accuracy": test + 0.01,
        "val_sentences": SENTENCES,
        "test_accuracy": test,
        "test_sentences": SENTENCES,
        "correct": pack_labels(correct.astype(int)),
        "seconds": seconds,
        "n_parameters": parameters,
        **changes,
    }


def study() -> list[Any]:
    """The baseline, trial 0, in the last place, trials 1 to 4 above it by number, and a failed one."""
    own = [record(n, 0.9 - n / 100, origin="sampler") for n in (1, 2, 3, 4)]
    return [record(0, 0.5, origin="baseline"), *own, record(5, state="FAIL", error="NaN", origin="sampler")]


def summary(scores: dict[int | None, list[float]], top: int = 4, folds: int | None = None, **more: Any) -> Summary:
    """Summarize runs with these test accuracies of trials, on as many fresh seeds; None is the plain baseline."""
    chosen = candidates(study(), top)
    count = max(map(len, scores.values()))
    runs = plan_runs(SPEC, chosen, count, folds)
    known = {}
    for run in runs:
        at = [each.seed for each in runs if each.trial == run.trial and each.fold is None].index(run.seed)
        if run.fold is not None:
            value = {None: 0.7, 1: 0.8, 0: 0.6}[run.trial] + run.fold / 100
            known[run.key] = outcome(value, **({"majority_test": 0.5 + run.fold / 100} if run.trial is None else {}))
        elif at < len(scores.get(run.trial, [])):
            known[run.key] = outcome(scores[run.trial][at], parameters=1000 * (run.trial or 0) + 500)
    return summarize("mine", chosen, runs, KEPT | known | more)


def summarized(
    outcome_of: Callable[[int, ConfirmRun], dict[str, Any]], top: int, seeds: int, metric: str = "accuracy", **more: Any
) -> Summary:
    """Summarize runs with these outcomes, by place and run; a run with an empty one is missing."""
    chosen, spec = candidates(study(), top), SPEC | {"metric": metric}
    runs = plan_runs(spec, chosen, seeds, None)
    known = {run.key: found for at, run in enumerate(runs) if (found := outcome_of(at, run))}
    return summarize("mine", chosen, runs, KEPT | {"spec": spec} | known | more)


CLOSE: dict[int | None, list[float]] = {
    1: [0.80, 0.81, 0.82],
    2: [0.81, 0.80, 0.81],
    3: [0.79, 0.82, 0.81],
    4: [0.70, 0.71, 0.72],
}


def test_the_best_by_rank_and_the_baseline_are_confirmed_and_no_copy() -> None:
    records = [*study(), record(6, 0.95, origin="copy of 1")]
    assert [(c.record.number, c.rank, c.baseline) for c in candidates(records, 2)] == [
        (1, 2, False),
        (2, 3, False),
        (0, 6, True),
    ]
    assert [c.record.number for c in candidates(records, 9)] == [1, 2, 3, 4, 0]
    assert [(c.record.number, c.recommended) for c in candidates(records, 1, 3)] == [(1, False), (3, True), (0, False)]


def test_a_baseline_setting_that_failed_in_the_search_is_tried_all_the_same() -> None:
    records = [record(0, state="FAIL", error="NaN", origin="baseline"), record(1, 0.9, origin="sampler")]
    assert [(c.record.number, c.rank) for c in candidates(records, 3)] == [(1, 1), (0, None)]


def test_a_study_without_a_finished_trial_is_refused() -> None:
    with pytest.raises(UserError, match="no trial of this study has ended with a value; run the study first"):
        candidates([record(0, state="RUNNING"), record(1, state="FAIL", error="NaN")], 3)


def test_means_and_differences_are_paired_over_seeds_and_corrected() -> None:
    found = summary({**CLOSE, 0: [0.78, 0.76, 0.77]})
    first, second, _, fourth, baseline, _ = found.rows
    assert (first.trial, first.test_accuracy, first.difference) == (1, pytest.approx(0.81), None)
    assert first.sd == pytest.approx(0.01)
    assert baseline.difference is not None
    raw = paired_t(
        [0.02, 0.05, 0.05], sentence_error=(baseline.difference.sentences_half or 0) / Z, sentences=SENTENCES
    )
    assert baseline.difference.mean == pytest.approx(raw.mean)
    assert baseline.difference.half == pytest.approx(raw.interval.high - raw.mean)
    assert baseline.difference.p > raw.p
    assert second.difference is not None
    assert fourth.difference is not None
    assert (second.difference.tied, fourth.difference.tied) == (True, False)


def test_the_choice_of_sentences_has_its_own_share() -> None:
    """The first is right on sentences 0..809 of the mean seed, the other on fewer: they differ on few sentences."""
    found = summary({**CLOSE, 0: [0.60, 0.61, 0.62]})
    baseline = found.rows[-2].difference
    assert baseline is not None
    differences = (np.arange(SENTENCES) < 800).astype(float) - (np.arange(SENTENCES) < 600)
    expected = 1.96 * differences.std(ddof=1) / SENTENCES**0.5
    assert baseline.sentences_half == pytest.approx(expected, rel=0.05)


def test_a_single_setting_is_compared_with_nothing() -> None:
    chosen = candidates([record(0, state="FAIL", origin="baseline"), record(1, 0.8, origin="sampler")], 1)
    runs = plan_runs(SPEC, chosen, 2, None)
    found = summarize("mine", chosen, runs, KEPT | {run.key: outcome(0.8) for run in runs if run.trial == 1})
    assert not any(line.startswith("too few runs succeeded to compare the configurations") for line in verdict(found))


def test_the_verdict_names_the_tied_trials_and_what_the_search_brought() -> None:
    lines = verdict(summary({**CLOSE, 0: [0.60, 0.61, 0.62]}))
    assert lines[0] == "trials 1, 2 and 3 are tied; trial 1 is better than trials 4 and 0"
    assert lines[1] == "the search is better than the baseline by 20.0 +- 2.4 points, over 3 seeds"
    assert lines[2].startswith("(of that, chance in the 1,000 test sentences is +- 2.")


def test_a_search_that_brought_nothing_is_reported_as_such() -> None:
    lines = verdict(summary({**CLOSE, 0: [0.82, 0.80, 0.81]}))
    assert lines[0].startswith("trials 1, 2, 3 and 0 are tied")
    assert lines[1].startswith("the search is not shown to be better than the baseline: 0.0 +- ")
    assert lines[1].endswith(" points, over 3 seeds")


def test_a_tie_by_holms_correction_alone_is_explained() -> None:
    """The interval is of one comparison."""
    found = summary({**CLOSE, 0: [0.82, 0.80, 0.81]})
    rows = [
        replace(row, difference=replace(row.difference, mean=0.22, half=0.13, p=0.057)) if row.baseline else row
        for row in found.rows
    ]
    said = verdict(replace(found, rows=tuple(rows)))[1]
    assert said.endswith(" the baseline: 22.0 +- 13.0 points (p 0.057 after Holm's correction), over 3 seeds")


def test_more_seeds_are_not_advised_if_all_classes_are_rare() -> None:
    """Chance in the sentences may then be the whole metric, over any number of seeds."""
    found = summary({1: [0.80, 0.81], 2: [0.8, 0.8], 3: [0.8, 0.8], 4: [0.7, 0.7], 0: [0.73, 0.68]})
    assert verdict(found)[1].endswith("; pass --seeds 5 to add more")
    assert verdict(replace(found, rare_part=1.0))[1].endswith(" points, over 2 seeds")


def test_two_seeds_that_show_nothing_are_called_few() -> None:
    """Ten points apart, and a 95% interval of two pairs is still wider."""
    lines = verdict(summary({1: [0.80, 0.81], 2: [0.8, 0.8], 3: [0.8, 0.8], 4: [0.7, 0.7], 0: [0.73, 0.68]}))
    assert lines[1].startswith("the search is not shown to be better than the baseline: 10.0 +- ")
    assert lines[1].endswith(" points, over 2 seeds, which are few; pass --seeds 5 to add more")
    with called_from_python("study.confirm()"):
        text = render_summary(summary({1: [0.80, 0.81], 4: [0.7, 0.7], 0: [0.73, 0.68]}), "table")
    assert "over 2 seeds, which are few; pass seeds=5 to add more" in text
    assert "--seeds" not in text
    shown = verdict(summary({1: [0.80, 0.81], 2: [0.8, 0.8], 3: [0.8, 0.8], 4: [0.7, 0.7], 0: [0.70, 0.71]}))
    assert shown[1].endswith("points, over 2 seeds")


def test_seeds_that_failed_are_not_called_few() -> None:
    """More seeds were asked for."""
    values = {1: [0.80, 0.81, 0.8], 2: [0.8, 0.8, 0.8], 3: [0.8, 0.8, 0.8], 4: [0.7, 0.7, 0.7], 0: [0.73, 0.68, 0.7]}
    failed = next(run.key for run in plan_runs(SPEC, candidates(study(), 4), 3, None) if run.trial == 0)
    lines = verdict(summary(values, **{failed: {"error": "TrainingError: NaN"}}))
    assert lines[1].endswith(" points, over 2 seeds")


def test_a_setting_that_is_better_than_the_winner_is_named() -> None:
    lines = verdict(summary({**CLOSE, 0: [0.90, 0.91, 0.92]}))
    assert "trial 0 is better than trial 1 by 10.0 +- 1.8 points" in lines[0]
    assert lines[1].startswith("the baseline is better than the search's best by 10.0 +- 1.8 points")


def test_where_the_baseline_setting_won_nothing_beat_it() -> None:
    chosen = candidates([record(0, 0.9, origin="baseline"), record(1, 0.8, origin="sampler")], 2)
    runs = plan_runs(SPEC, chosen, 2, None)
    found = summarize("mine", chosen, runs, KEPT | {run.key: outcome(0.8) for run in runs})
    assert verdict(found)[1] == "the baseline is the search's best: no other trial was better in the search"


def test_folds_give_mean_spread_and_the_interval_over_all_sentences() -> None:
    found = summary({**CLOSE, 0: [0.6, 0.6, 0.6]}, folds=5)
    assert [each.trial for each in found.folds] == [1, 0, "plain", "major"]
    assert [each.mean for each in found.folds] == pytest.approx([0.82, 0.62, 0.72, 0.52])
    assert found.folds[0].sd == pytest.approx(0.0158, abs=1e-4)
    assert found.folds[0].interval == wilson(4100, 5000)
    assert (
        "trial 1 over 5 folds: test accuracy 0.8200, standard deviation 0.0158; "
        "all 5,000 sentences: 0.8091 to 0.8304 (95%)" in render_summary(found, "table")
    )


def test_a_fold_with_an_impossible_accuracy_is_damage() -> None:
    runs = plan_runs(SPEC, candidates(study(), 1), 2, 5)
    ended = {run: outcome(0.7, majority_test=7.0) for run in runs if run.fold is not None and run.trial is None}
    with pytest.raises(CorruptionError, match=r"the study's journal is damaged \(a fold has an accuracy of 7\.0\)"):
        summarize_folds("accuracy", ended)


def test_folds_of_another_metric_have_its_values_and_no_interval() -> None:
    """One of the three folds failed."""
    runs = [run for run in plan_runs(SPEC, candidates(study(), 1), 2, 3) if run.fold is not None and run.trial == 1]
    ended = {run: outcome(0.9, test_mcc=-(run.fold or 0) / 4) for run in runs[:2]}
    (found,) = summarize_folds("mcc", {**ended, runs[2]: {"error": "TrainingError: NaN"}})
    assert (found.folds, found.values, found.mean, found.interval) == (3, (0.0, -0.25), -0.125, None)


def test_the_plain_baseline_is_compared_with_the_search_and_over_the_same_folds() -> None:
    found = summary({**CLOSE, 0: [0.6, 0.6, 0.6], None: [0.75]}, folds=5)
    row = found.rows[-2]
    assert (row.trial, row.seeds, row.test_accuracy, row.sd, row.rank) == ("plain", (), 0.75, None, None)
    assert row.difference is not None
    assert row.difference.mean == pytest.approx(0.06)
    lines = verdict(found)
    assert any(
        line.startswith("the search is better than the plain baseline by 6.0 +- 2.5 points, over 3") for line in lines
    )
    assert lines[-2].startswith("the plain baseline over 5 folds: test accuracy 0.7200, standard deviation 0.0158")
    assert lines[-1].startswith("the majority class over 5 folds: test accuracy 0.5200, standard deviation 0.0158")
    assert "trial 1 is better than trials 4 and 0" in lines[0]  # plain is no setting that may be recommended
    better = verdict(summary({**CLOSE, 0: [0.6, 0.6, 0.6], None: [0.9]}))
    assert any(line.startswith("the plain baseline is better than the search's best by 9.0") for line in better)


def test_the_columns_of_a_comparison_with_the_plain_baseline_alone_are_explained() -> None:
    chosen = candidates([record(1, 0.8, origin="sampler")], 1)
    runs = plan_runs(SPEC, chosen, 3, None)
    known = {run.key: outcome(0.6 if run.trial is None else 0.8 + at / 100) for at, run in enumerate(runs)}
    lines = render_summary(summarize("mine", chosen, runs, KEPT | known), "table").splitlines()
    at = lines.index("less: difference to the first configuration over the same seeds, +- half the 95% interval")
    assert lines[at + 1 : at + 3] == ["of seeds and sentences together", "tied: t test, p at least 0.05"]
    several = render_summary(summary({**CLOSE, 0: [0.6, 0.6, 0.6]}), "table")
    assert "tied: t test, p at least 0.05 after Holm's correction for 4 comparisons\n" in several
    assert " 1.5k " in several  # parameters of trial 1


def test_the_notes_on_the_plain_baseline_have_its_test_and_the_part_that_it_learned_from() -> None:
    known = {"confirm:plain": outcome(0.7, train_sentences=4000)}
    said = render_summary(summary({**CLOSE, 0: [0.6, 0.6, 0.6]}, **known), "table")
    assert "after Holm's correction for 4 comparisons; plain is compared on its own\n" in said
    assert "with logistic regression, fitted on only 4,000 of the training sentences" in said


def test_a_plain_baseline_that_failed_is_reported() -> None:
    found = summary({**CLOSE, 0: [0.6, 0.6, 0.6]}, **{"confirm:plain": {"error": "MemoryError: too large"}})
    assert "too few runs succeeded to compare the search's best with the plain baseline" in verdict(found)
    assert "the plain baseline failed: MemoryError: too large" in render_summary(found, "table")


def test_the_majority_class_is_below_with_its_shares_of_both_splits() -> None:
    row = summary({**CLOSE, 0: [0.6, 0.6, 0.6]}).rows[-1]
    assert (row.trial, row.val_accuracy, row.test_accuracy, row.difference) == ("major", 0.55, 0.52, None)
    plain = {"confirm:plain": outcome(0.7, val_mcc=0.4, test_mcc=0.4, majority_val=0.0, majority_test=0.0)}
    exact = {"confirm:plain": outcome(0.7, majority_val=0.55001, majority_test=0.52001)}
    row = summarized(lambda *_: {}, 1, 2, **exact).rows[-1]
    assert (row.val_accuracy, row.test_accuracy) == (0.55001, 0.52001)
    row = summarized(lambda *_: {}, 1, 2, "mcc", **plain).rows[-1]
    assert (row.trial, row.val_metric, row.test_metric, row.test_accuracy) == ("major", 0.0, 0.0, 0.52)


@pytest.mark.parametrize(("rare", "tied"), [(5, True), (6, False), (0, False)])
def test_a_few_sentences_of_a_class_show_no_difference(rare: int, tied: bool) -> None:
    """Of a mean over two classes, five sentences decide a half: leaving out one of them changes nothing."""

    def measured(_: int, run: ConfirmRun) -> dict[str, Any]:
        if run.trial is None:
            return {}
        value = {1: 0.9, 0: 0.45}[run.trial]
        more = {"pseudo_values": [value] * 10, "class_sentences": [rare, SENTENCES - rare]}
        return outcome(value, test_balanced_accuracy=value, **more)

    found = summarized(measured, 1, 3, "balanced_accuracy")
    row = next(each for each in found.rows if each.trial == 0)
    assert row.difference is not None
    assert row.difference.tied is tied
    assert row.difference.mean == pytest.approx(0.45)
    assert (row.difference.half > 0.5) is tied
    assert ("+- includes 0.500 for classes with fewer than 6 sentences" in render_summary(found, "table")) is tied
    assert summarized(lambda *_: {}, 1, 3, "balanced_accuracy").rare_part == 0.0  # no run has succeeded


def test_a_failed_run_and_a_missing_one_are_reported_and_the_rest_counts() -> None:
    others = {2: {"error": "TrainingError: NaN \x1b[31m"}, 4: {}}
    found = summarized(lambda at, _: others.get(at, outcome(0.8)), 2, 3)
    assert [len(row.seeds) for row in found.rows[:-1]] == [2, 2, 3, 0]
    assert found.rows[1].difference is None
    assert "too few runs" not in verdict(found)[0]
    text = render_summary(found, "table")
    assert "trial 2 failed: TrainingError: NaN \\x1b[31m" in text
    lost = plan_runs(SPEC, candidates(study(), 2), 3, None)[4]
    assert f"trial 1, seed {lost.seed} is missing, its worker died or failed; run the same command again" in text


def test_runs_of_one_trial_with_different_numbers_of_sentences_are_refused() -> None:
    fewer = {"correct": pack_labels(np.ones(SENTENCES - 1, int))}
    with pytest.raises(CorruptionError, match=r"fresh runs of trials 1 and .*they have different numbers of sentences"):
        summarized(lambda at, _: outcome(0.8, **({} if at else fewer)), 2, 3)


def test_without_a_test_split_validation_is_compared_and_that_is_said() -> None:
    without = {k: v for k, v in outcome(0.8).items() if not k.startswith("test_")}
    found = summarized(lambda *_: without, 2, 2, audit={"majority_baseline": {"class": "a", "val": 0.55}})
    assert found.compared == "val"
    assert (
        "there is no test split: compared on the validation split, on which these configurations were chosen"
        in render_summary(found, "table")
    )


def test_where_the_metric_is_undefined_on_the_test_split_validation_is_compared_and_that_is_said() -> None:
    found = summarized(lambda *_: outcome(0.8, val_roc_auc=0.9), 2, 2, "roc_auc")
    assert found.compared == "val"
    text = render_summary(found, "table")
    assert "ROC AUC is undefined on the test split: compared on the validation split, on which" in text
    assert "there is no test split" not in text


def test_without_a_run_that_succeeded_no_split_is_called_compared() -> None:
    found = summarized(lambda *_: {"error": "TrainingError: NaN"}, 2, 2)
    assert "compared on" not in render_summary(found, "table")


def test_a_run_is_known_by_trial_seed_and_fold() -> None:
    run = ConfirmRun(trial=7, seed=123, config={}, split="80/10/10")
    fold = ConfirmRun(trial=7, seed=123, config={}, split="folds:10 fold 3", fold=3, folds=10)
    assert (run.key, fold.key) == ("confirm:7:123", "confirm:7:123:3/10")
    assert str(fold) == "trial 7, seed 123, fold 4 of 10"
    plain = ConfirmRun(trial=None, seed=None, config={}, split="folds:10 fold 3", fold=3, folds=10)
    assert (plain.key, str(plain)) == ("confirm:plain:3/10", "plain baseline, fold 4 of 10")


def test_another_metric_is_compared_in_its_own_direction() -> None:
    """Trial 1 has the lower loss on test, so it is better by the difference."""
    losses = {1: 0.40, 2: 0.50, 0: 0.60, None: 0.30}

    def measured(at: int, run: ConfirmRun) -> dict[str, Any]:
        return outcome(0.8, val_log_loss=losses[run.trial], test_log_loss=losses[run.trial] + at / 1000)

    found = summarized(measured, 2, 3, "log_loss")
    first, second, baseline, plain, _ = found.rows
    assert (found.metric, found.compared, first.val_metric) == ("log_loss", "test", pytest.approx(0.4))
    assert second.difference is not None
    assert baseline.difference is not None
    assert 0 < second.difference.mean < baseline.difference.mean
    assert plain.difference is not None
    assert plain.difference.mean < 0
    assert second.difference.sentences_half is None
    text = render_summary(found, "table")
    assert "the plain baseline is better than the search's best by 0.1" in text
    assert "the search is better than the baseline by 0.2" in text
    assert "points" not in text
    assert "val, test: log loss on these splits; sd: its standard deviation over seeds" in text


def test_a_metric_without_upper_bound_is_never_in_points() -> None:

    def measured(_: int, run: ConfirmRun) -> dict[str, Any]:
        values = (0.4 if run.trial == 1 else 0.6) + np.random.default_rng(0).normal(0, 1, 500) * (run.trial == 1)
        more = {"val_log_loss": values.mean(), "test_log_loss": values.mean(), "pseudo_values": values.tolist()}
        return outcome(0.8, **more)

    lines = verdict(summarized(measured, 1, 3, "log_loss"))
    assert lines[2].startswith("(of that, chance in the 1,000 test sentences is +- 0.08")


def test_the_error_of_sentences_counts_for_any_metric() -> None:
    """The pseudo-values of two equal sets of runs differ by sentence, so that they are not shown to differ."""
    noise = np.random.default_rng(0).normal(0, 1, (2, 500))

    def measured(_: int, run: ConfirmRun) -> dict[str, Any]:
        value = {1: 0.80, 2: 0.79, 0: 0.5}.get(run.trial or 0, 0.5)
        values = value + (noise[run.trial - 1] if run.trial in (1, 2) else 0 * noise[0])
        more = {"val_macro_f1": value, "test_macro_f1": value, "pseudo_values": values.tolist()}
        return outcome(value, **more)

    found = summarized(measured, 2, 3, "macro_f1")
    difference = found.rows[1].difference
    assert difference is not None
    assert difference.sentences_half == pytest.approx(Z * (noise[0] - noise[1]).std(ddof=1) / 500**0.5)
    assert difference.half > difference.sentences_half > 0.1
    assert difference.tied
    assert "seeds and sentences together" in render_summary(found, "table")


def test_a_tie_has_no_sign() -> None:
    """Both are right on 4,009 sentences in all; as shares, the rounded sum of the differences is below 0."""
    found = summary({1: [0.794, 0.813, 0.781, 0.805, 0.816], 0: [0.8, 0.82, 0.807, 0.783, 0.799]})
    assert "than the baseline: 0.0 +- " in verdict(found)[1]
    assert "-0.0" not in render_summary(found, "table")
