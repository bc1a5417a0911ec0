"""The verb `best`: the table of a study with notes on its winner, or the curve of random search."""

from collections.abc import Sequence
from pathlib import Path

from core.stats import Interval
from tuning.analysis.assessment import StudyAssessment, assess, evaluations_note
from tuning.analysis.filters import RowFilter, filter_rows
from tuning.analysis.random_search_curve import random_search_curve
from tuning.analysis.ranking import TrialRow, trial_rows
from tuning.analysis.tables import render_curve, render_table
from tuning.journal.records import read_study
from tuning.scheduling.study import searched_settings, space_from_spec, spec_notes


def table_of(folder: Path, selection: RowFilter, form: str) -> str:
    """Return the study's rows as `form`: table, json, csv or md.

    Raises:
        UserError: there is no such study, or the selection does not fit it.
    """
    attributes, records = read_study(folder)
    assessment = assess(records, attributes)
    rows = trial_rows(records, searched_settings(space_from_spec(attributes["spec"])), assessment)
    notes = [*_assessment_notes(rows, assessment), *spec_notes(attributes["spec"])] if rows else []
    if ended := attributes.get("early_end"):
        notes.append(f"the study ended early: {ended['reason']}")
    return render_table(filter_rows(rows, selection), form, notes=notes)


def curve_of(folder: Path, form: str) -> str:
    """Return the study's curve of expected best validation accuracy.

    Raises:
        UserError: there is no such study, or it has too few random trials.
    """
    _, records = read_study(folder)
    return render_curve(random_search_curve(records), form)


def _assessment_notes(rows: Sequence[TrialRow], assessment: StudyAssessment) -> list[str]:
    """Return lines of at most 80 characters below the table of all rows, best first."""
    notes = []
    if tied := sum(bool(row.tied) and row.copy_of is None for row in rows):
        notes.append("tied: not told from the best by a paired test (exact McNemar, Holm) at 5%")
        notes += [
            f"+ recommended: trial {row.trial}, the cheapest of {tied} tied ({row.n_parameters:,} trained numbers)"
            for row in rows
            if row.recommended and tied > 1
        ]
    if corrected := assessment.corrected:
        notes += [
            f"best validation accuracy: {corrected.raw:.4f}, {_interval(corrected.raw_interval)}",
            f"corrected for the choice among {corrected.trials}: {corrected.corrected:.4f}, "
            f"{_interval(corrected.corrected_interval)}",
        ]
    elif rows[0].rank == 1 and rows[0].metric == "accuracy":
        notes.append("corrected for the choice: - (not every trial's predictions were kept)")
    for row in rows:
        if test := assessment.held_out.get(row.trial):
            seeds = f" ({test.seeds} seeds)" if test.seeds > 1 else ""
            notes.append(f"test accuracy of trial {row.trial}: {test.accuracy:.4f}, {_interval(test.interval)}{seeds}")
    return [*notes, evaluations_note(assessment.test_evaluations)]


def _interval(interval: Interval) -> str:
    return f"95% interval {interval.low:.4f} to {interval.high:.4f}"
