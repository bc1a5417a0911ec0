"""The verb `best`: the table of a study with notes on its winner, or the curve of random search."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.io.text import printable
from core.metrics import METRICS
from core.stats import Interval
from tuning.analysis.assessment import MAJORITY, PLAIN, HeldOutResult, StudyAssessment, evaluations_elsewhere
from tuning.analysis.ensemble import EnsembleEstimate
from tuning.analysis.filters import RowFilter, filter_rows
from tuning.analysis.next_step import next_step
from tuning.analysis.random_search_curve import random_search_curve
from tuning.analysis.ranking import AssessedStudy, TrialRow, read_assessed, shares
from tuning.analysis.recommendation import nothing_learned
from tuning.analysis.selection_bias import FIXED, Corrected
from tuning.analysis.tables import render_curve, render_table
from tuning.console import study_command
from tuning.journal.records import TestEvaluation, read_study
from tuning.scheduling.study_config import spec_notes


def table_of(
    folder: Path,
    selection: RowFilter,
    form: str,
    hints: Sequence[str] = (),
    *,
    finished: bool = True,
    ending: str = "",
) -> str:
    """Return the study's rows as `form`: table, json, csv, md or html.

    If conditions leave no row, a text is one line that says so.

    Args:
        folder: Folder of the study.
        selection: The rows.
        form: Name of the format.
        hints: Lines of a text before the remark on the search and the next command.
        finished: Whether the search was not interrupted. Then, and if no trial is open, the last line of a text names
            the next command.
        ending: Options for the end of the next command, such as ` --cache-dir DIR`.

    Raises:
        UserError: There is no such study, or the selection does not fit it.
    """
    study = read_assessed(folder)
    rows, assessment = study.rows, study.assessment
    shown, settings = filter_rows(rows, selection), study.space.searched_fields
    filtered = selection.state is not None or bool(selection.where)
    if rows and filtered and not shown and form not in ("json", "csv"):
        return f"no trial matches{'; --where compares exact values, the table rounds them' if selection.where else ''}"
    notes = [*_summary(study, ending), *spec_notes(study.spec)] if rows else []
    notes += early_end_notes(study)
    if count := sum(row.state == "RUNNING" and row.epochs > 0 for row in rows):
        notes.append(f"not ranked, because their training has not ended: {count} trial{'s' * (count != 1)} with epochs")
    finished = finished and not any(row.state in ("RUNNING", "PAUSED") for row in rows)
    step = next_step(study)
    command = step.command(folder, ending) if step and finished else None
    notes += hints
    if step and step.remark:
        notes.append(step.remark)
    if command:  # once: the ensemble's gain also names its command
        notes = [*(note for note in notes if note.strip() != command), f"next: {command}"]
    known = assessment if rows and not filtered else None
    return render_table(shown, form, notes=notes, assessment=known, searched=settings)


def early_end_notes(study: AssessedStudy) -> list[str]:
    """Return why the study ended early, and what this means for the corrected figure; empty if it did not."""
    ended = study.attributes.get("early_end")
    if not ended:
        return []
    notes = [f"the study ended early: {ended['reason']}"]
    if ended["reason"].startswith("target "):
        notes.append("because of the target, the corrected figure may still be too good")
    return notes


def curve_of(folder: Path, form: str) -> str:
    """Return the study's curve of the expected best validation value of its metric, as table, json, csv or md.

    Raises:
        UserError: There is no such study, or it has too few random trials.
    """
    _, records = read_study(folder)
    return render_curve(random_search_curve(records), form)


def _summary(study: AssessedStudy, ending: str) -> list[str]:
    """Return paragraphs below the table of all rows of a study that has trials."""
    rows, assessment = study.rows, study.assessment
    found = nothing_learned(study.spec["metric"]) if assessment.nothing_learned else []
    if tied := sum(assessment.tied.values()):  # the table may show only some of them
        trials = f"{tied} trial{'s' * (tied != 1)}"
        found.append(f"tied: {trials}; with at least 95% confidence, the truly best one is among them")
    if any(row.useless for row in rows):
        found.append("- never recommended: predicts one class, or is not better than the majority")
    if rows[0].rank == 1:
        found.append(_best_note(rows[0], assessment))
    found += [*recommendation_note(study), *ensemble_note(study, ending)]
    for name, gain in (("plain baseline", assessment.gain_over_plain), ("baseline", assessment.corrected_gain)):
        if gain is not None:
            found.append(f"Corrected, the best trial is {_compared(gain, f'the {name}')}.")
    found += majority_note(assessment)
    for row in rows:
        if test := assessment.held_out.get(row.trial):
            found.append(_test_note(f"trial {row.trial}", test, row.metric))
    if test := assessment.held_out_ensemble:
        found.append(_test_note(f"the ensemble of {members_text(test.members or {})}", test, rows[0].metric))
    elsewhere = evaluations_elsewhere(study.folder, study.attributes)
    return [*found, evaluations_note(assessment.test_evaluations, elsewhere, study.test_split)]


def majority_note(assessment: StudyAssessment) -> list[str]:
    """Return that the best trial's corrected interval contains the majority class; empty if it does not."""
    found = next((each for each in assessment.references if each.name == MAJORITY), None)
    if found is None or found.value is None or assessment.corrected is None or assessment.nothing_learned:
        return []
    if not assessment.corrected.interval.low <= found.value <= assessment.corrected.interval.high:
        return []
    title = METRICS[found.metric].title
    return [f"The 95% interval of the best trial contains {found.value:.4f}, the {title} of the majority class."]


def _test_note(who: str, test: HeldOutResult, metric: str) -> str:
    """Return a model's values on the test split: the metric, if its value is stored, and accuracy."""
    seeds = f"; mean of {test.seeds} seeds" if test.seeds > 1 else ""
    accuracy = f"{test.accuracy:.4f} ({format_interval(test.interval)}{seeds})"
    if metric == "accuracy" or test.metric is None:
        return f"Test accuracy of {who}: {accuracy}."
    return f"Test {METRICS[metric].title} of {who}: {test.metric:.4f}; accuracy {accuracy}."


def evaluations_note(evaluations: Sequence[TestEvaluation], elsewhere: Mapping[str, int], split: str | None) -> str:
    """Return `the test split was used 3 times: 2 by confirm, 1 by retrain; by study other: 4`.

    Args:
        evaluations: Evaluations by the study.
        elsewhere: Number of evaluations by other studies.
        split: Rule that made the test split of the study; evaluations on other splits are counted separately. None if
            the study has no test split.
    """
    if not evaluations and not elsewhere and split is not None:
        return "no use of the test split is recorded"
    by_verb = Counter(str(each["verb"]) for each in evaluations if each["split"] == split)
    parts = ["there is no test split" if split is None else "this study has not used the test split"]
    if own := by_verb.total():
        verbs = ", ".join(f"{n} by {verb}" for verb, n in sorted(by_verb.items()))
        parts = [f"the test split was used {_times(own)}: {verbs}"]
    if other := len(evaluations) - own:
        parts.append(f"test sentences of other splits {_times(other)}")
    return "; ".join([*parts, *(f"by study {printable(name)}: {count}" for name, count in elsewhere.items())])


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _best_note(best: TrialRow, assessment: StudyAssessment) -> str:
    title, value = METRICS[best.metric].title, best.val_metric
    text = f"Trial {best.trial} has the best validation {title}, {value:.4f}."
    if (corrected := assessment.corrected) is None:
        return f"{text} It is not corrected for selection bias, because {why_not_corrected(assessment)}."
    if had_no_choice(best, assessment):
        return f"{text} Only one trial has a value, so there was no choice to correct for."
    return (
        f"{text} That is optimistic, because it was chosen among {candidates_text(assessment, best.metric)}. "
        f"Corrected for this selection bias, it is {corrected.value:.4f} ({format_interval(corrected.interval)})."
    )


def had_no_choice(best: TrialRow, assessment: StudyAssessment) -> bool:
    """Return whether nothing was chosen for which the corrected figure corrects: one trial, and of its epochs only one.

    If the metric needs probabilities, only those of the best epoch are stored.
    """
    return assessment.n_candidates == 1 and (METRICS[best.metric].needs_probabilities or best.epochs == 1)


def candidates_text(assessment: StudyAssessment, metric: str) -> str:
    """Return from what the best trial was chosen, as far as the corrected figure takes this into account."""
    if assessment.n_candidates == 1:
        return "the epochs of one trial"
    trials = f"{assessment.n_candidates} trials"
    return trials if METRICS[metric].needs_probabilities else f"{trials} and their epochs"


def why_not_corrected(assessment: StudyAssessment) -> str:
    """Return why there is no corrected figure."""
    one = assessment.sentences == 1
    return "there is only one validation sentence" if one else "some predictions were not stored"


def recommendation_note(study: AssessedStudy) -> list[str]:
    """Return a paragraph about the recommended trial, its cost and its difference from the best; empty without one."""
    row, assessment = study.recommended, study.assessment
    if row is None:
        return []
    cost = f"half its cost ({row.multiplications:,} multiplications per word)"
    none = f"no {'useful ' if assessment.useless else ''}trial at less than {cost}"
    if row.rank == 1:
        return [f"Trial {row.trial} is recommended (+): {none} is within one standard error of it."]
    text = f"Trial {row.trial} is recommended (+): it is within one standard error of the best, and {none} is."
    if (difference := assessment.difference) and (own := assessment.recommended_corrected):
        value = f"{own.value:.4f} ({format_interval(own.interval)})"
        text += f" Corrected, it is {_compared(difference, 'the best')}, at {value}."
    return [text]


def ensemble_note(study: AssessedStudy, ending: str = "") -> list[str]:
    """Return the members, the corrected figure and the gain of the ensemble, and how to make it; empty without one.

    `ending` has options for the end of the command.
    """
    found = study.assessment.ensemble
    if found is None:
        return []
    if set(found.counts) == {FIXED}:
        return ["The best ensemble is the plain baseline alone."]
    if not found.gains:
        return ["An ensemble is not expected to be better than the best trial."]
    return [ensemble_line(found), f"  {study_command('ensemble', study.folder, ending)}"]


def ensemble_line(ensemble: EnsembleEstimate) -> str:
    """Return the members, and the corrected figure with the gain."""
    value, gain = ensemble.corrected, _compared(ensemble.gain, "the best trial")
    figure = f"corrected {value.value:.4f} ({format_interval(value.interval)})"
    return f"Ensemble of {members_text(shares(ensemble))}: {figure}, {gain}."


def _compared(gain: Corrected, other: str) -> str:
    """Return `0.0101 better than the best trial (95% interval -0.0050 to 0.0252)`, with a remark if 0 is in it."""
    size = f"{abs(gain.value):.4f}"
    text = f"{size} {'better' if gain.value > 0 else 'worse'} than {other}" if float(size) else f"as good as {other}"
    open_question = gain.interval.low <= 0 <= gain.interval.high
    return f"{text} ({format_interval(gain.interval)}{': either may be better' if open_question else ''})"


def members_text(weights: Mapping[str, float]) -> str:
    """Return `trials 12 (40%), 3 (40%), plain (20%)` for the weights by the number of the trial or PLAIN."""
    members = sorted(weights.items(), key=lambda member: member[0] == PLAIN)
    text = ", ".join(f"{name} ({weight:.0%})" for name, weight in members)
    return text if set(weights) == {PLAIN} else f"trial{'s' * (len(set(weights) - {PLAIN}) > 1)} {text}"


def format_interval(interval: Interval) -> str:
    """Return `95% interval 0.7353 to 0.8515`."""
    return f"95% interval {interval.low:.4f} to {interval.high:.4f}"
