"""The page's first figures and remarks: the bias-corrected value, the baselines, and the recommended trial."""

import shlex
from dataclasses import dataclass

from core.metrics import METRICS
from core.stats import Interval
from tuning.analysis.assessment import MAJORITY, PLAIN, HeldOutResult, evaluations_elsewhere
from tuning.analysis.best import (
    candidates_text,
    early_end_notes,
    ensemble_note,
    evaluations_note,
    format_interval,
    had_no_choice,
    majority_note,
    members_text,
    recommendation_note,
    why_not_corrected,
)
from tuning.analysis.next_step import next_step
from tuning.analysis.ranking import AssessedStudy, shares
from tuning.analysis.recommendation import nothing_learned

TITLES = {PLAIN: "Plain baseline", MAJORITY: "Majority class"}


@dataclass(frozen=True, slots=True)
class Card:
    """One figure."""

    title: str
    value: float
    detail: str


def page_verdict(study: AssessedStudy) -> list[str]:
    """Return sentences on which model to use, its expected score, and whether it is better than the plain baseline."""
    row, assessment = study.default_trial, study.assessment
    if row is None:
        return ["No trial has ended with a value yet."]
    step, ensemble = next_step(study), assessment.ensemble
    if assessment.nothing_learned:
        lines = [*nothing_learned(study.spec["metric"]), *([step.remark] if step and step.remark else [])]
        return [f"{line[0].upper()}{line[1:]}." for line in lines]
    assert step is not None  # there is a trial, and something was learned
    found = [f"Use trial {step.trial}."]
    value = assessment.recommended_corrected if step.trial == row.trial else assessment.corrected
    if step.verb != "retrain":
        found = [f"The best choice of the trials is {row.trial}."]
    if step.verb == "ensemble" and ensemble is not None:
        found, value = [f"Use the ensemble: {_ensemble_command(study)}."], ensemble.corrected
    if value is not None:
        between = format_interval(value.interval)
        found.append(f"Its expected {METRICS[row.metric].title} on new sentences is {value.value:.4f} ({between}).")
    if step.remark:
        found.append(f"{step.remark[0].upper()}{step.remark[1:]}.")
    elif assessment.gain_over_plain is not None:
        found.append("The search is shown to be better than the plain baseline.")
    if ensemble and ensemble.gains and ensemble.gain.interval.low > 0 and step.verb == "retrain":
        better = f"{ensemble.gain.value:.4f} better than the best trial"
        found.append(f"An ensemble is {better}: {_ensemble_command(study)}")
    return found


def cards(study: AssessedStudy) -> list[Card]:
    """Return the figures of the best trial and of its baselines; none before a trial has ended."""
    winner, assessment = study.winner, study.assessment
    if winner is None or winner.val_accuracy is None or winner.interval_low is None or winner.interval_high is None:
        return []
    own = Interval(low=winner.interval_low, high=winner.interval_high)
    metric = METRICS[winner.metric]
    found = [
        Card("Accuracy" if metric.name != "accuracy" else "Best validation accuracy", winner.val_accuracy,
              f"trial {winner.trial}, epoch {winner.best_epoch}; {format_interval(own)}")
    ]  # fmt: skip
    if metric.name != "accuracy" and winner.val_metric is not None:
        found.insert(0, Card(f"Best validation {metric.title}", winner.val_metric, f"trial {winner.trial}"))
    if (corrected := assessment.corrected) and not had_no_choice(winner, assessment):
        detail = (
            f"expected on new sentences, after choosing the best of {candidates_text(assessment, metric.name)}; "
            f"{format_interval(corrected.interval)}"
        )
        found.insert(0, Card("Corrected for selection bias", corrected.value, detail))
    if (ensemble := assessment.ensemble) and ensemble.gains:
        over_best = f"{ensemble.gain.value:+.4f}; {format_interval(ensemble.gain.interval)}"
        detail = f"{members_text(shares(ensemble))}, corrected; {format_interval(ensemble.corrected.interval)}"
        detail += f". Corrected gain over the best trial: {over_best}. Run {_ensemble_command(study)}"
        found.append(Card("Ensemble", ensemble.corrected.value, detail))
    found += _test_cards(study)
    baseline = next((row for row in study.rows if row.baseline and row.rank is not None), None)
    if baseline is not None and baseline.val_metric is not None:
        same = baseline.trial == winner.trial
        detail = "is the best" if same else f"the best trial gains {winner.gain_over_baseline:+.4f}"
        if gain := assessment.corrected_gain:
            detail += f", corrected {gain.value:+.4f}; {format_interval(gain.interval)}"
        found.append(Card("Baseline", baseline.val_metric, f"trial {baseline.trial}: {detail}"))
    for reference in assessment.references:
        value, detail = reference.value, f"{metric.title} of {reference.about}"
        if metric.name == "accuracy":
            value, detail = reference.accuracy, f"{reference.about}; {format_interval(reference.interval)}"
        if reference.name == PLAIN and (gain := assessment.gain_over_plain):
            detail += f". Corrected gain over it: {gain.value:+.4f}; {format_interval(gain.interval)}"
        if value is not None:
            found.append(Card(TITLES[reference.name], value, detail))
    return found


def _test_cards(study: AssessedStudy) -> list[Card]:
    """Return the test results of the best trial, of the trial that the verdict names, and of the last ensemble."""
    found, step, tested, metric = [], next_step(study), study.assessment.held_out, study.spec["metric"]
    shown = [row.trial for row in study.rows if row.rank == 1 or (step and row.trial == step.trial)]
    results = [(f"trial {number}, {_seeds(tested[number])}", tested[number]) for number in shown if number in tested]
    if made := study.assessment.held_out_ensemble:
        results.append((f"ensemble of {members_text(made.members or {})}", made))
    for measured, test in results:
        if metric != "accuracy" and test.metric is not None:
            found.append(Card(f"Test {METRICS[metric].title}", test.metric, measured))
        found.append(Card("Test accuracy", test.accuracy, f"{measured}; {format_interval(test.interval)}"))
    return found


def _seeds(test: HeldOutResult) -> str:
    return f"mean of {test.seeds} seeds" if test.seeds > 1 else "one seed"


def remarks(study: AssessedStudy) -> list[str]:
    """Return remarks on the recommended trial, missing predictions, test evaluations, and an early end of the study."""
    assessment = study.assessment
    if study.winner is None:
        return early_end_notes(study)
    found = [note.replace(" (+)", "") for note in recommendation_note(study)] + majority_note(assessment)
    if assessment.ensemble and not assessment.ensemble.gains:
        found += ensemble_note(study)
    if assessment.corrected is None:
        found.append(f"The best is not corrected for selection bias, because {why_not_corrected(assessment)}.")
    elsewhere = evaluations_elsewhere(study.folder, study.attributes)
    return [
        *found,
        evaluations_note(assessment.test_evaluations, elsewhere, study.test_split),
        *early_end_notes(study),
    ]


def _ensemble_command(study: AssessedStudy) -> str:
    """Return the command without folders, which name users and machines."""
    return f"sentune ensemble {shlex.quote(study.name)}"
