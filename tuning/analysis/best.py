"""The verb `best`: a study's table with what is known of its winner, or its curve of expected best accuracy."""

from collections.abc import Sequence
from pathlib import Path

from core.stats import Interval
from tuning.analysis.assessment import HeldOutResult, StudyAssessment, assess, evaluations_note
from tuning.analysis.filters import RowFilter, filter_rows
from tuning.analysis.random_search_curve import random_search_curve
from tuning.analysis.ranking import TrialRow, trial_rows
from tuning.analysis.tables import render_curve, render_table
from tuning.journal.records import read_study
from tuning.scheduling.budget import EarlyEnd
from tuning.scheduling.study import searched_settings, space_from_spec, spec_notes


def table_of(folder: Path, selection: RowFilter, form: str) -> str:
    """The study's rows as one of tuning.analysis.tables.FORMATS.

    Raises:
        UserError: no such study, or the selection does not fit it.
    """
    attributes, records = read_study(folder)
    judgement = assess(records, attributes)
    rows = trial_rows(records, searched_settings(space_from_spec(attributes["spec"])), judgement)
    notes = [*assessment_notes(rows, judgement), *spec_notes(attributes["spec"])] if rows else []
    if ended := attributes.get("ended"):
        notes += EarlyEnd(**ended).notes
    return render_table(filter_rows(rows, selection), form, notes=notes)


def curve_of(folder: Path, form: str) -> str:
    """The study's curve of expected best validation accuracy.

    Raises:
        UserError: no such study, or it has too few random trials.
    """
    attributes, records = read_study(folder)
    return render_curve(random_search_curve(records, attributes["spec"]), form)


def assessment_notes(rows: Sequence[TrialRow], judgement: StudyAssessment) -> list[str]:
    """Lines of at most 80 characters below a table for people.

    Args:
        rows: all of the study, best first.
        judgement: of the same study.
    """
    return [
        *_tie_notes(rows),
        *_number_notes(rows[0], judgement),
        *(_test_note(row.trial, judgement.held_out[row.trial]) for row in rows if row.test_accuracy is not None),
        evaluations_note(judgement.test_evaluations),
    ]


def _tie_notes(rows: Sequence[TrialRow]) -> list[str]:
    tied = sum(bool(row.tied) and row.copy_of is None for row in rows)
    if not tied:
        return []
    cheapest = [
        f"+ recommended: trial {row.trial}, the cheapest of {tied} tied ({row.n_parameters:,} trained numbers)"
        for row in rows
        if row.recommended and tied > 1
    ]
    return ["tied: not told from the best by a paired test (exact McNemar, Holm) at 5%", *cheapest]


def _number_notes(best: TrialRow, judgement: StudyAssessment) -> list[str]:
    if best.rank != 1:
        return []
    honest = judgement.corrected
    if honest is None:
        return ["corrected for the choice: - (not every trial's predictions were kept)"]
    return [
        f"best validation accuracy: {honest.raw:.4f}, 95% interval {_between(honest.raw_interval)}",
        f"corrected for the choice among {honest.trials}: {honest.corrected:.4f}, "
        f"95% interval {_between(honest.corrected_interval)}",
    ]


def _test_note(trial: int, test: HeldOutResult) -> str:
    seeds = f" ({test.seeds} seeds)" if test.seeds > 1 else ""
    return f"test accuracy of trial {trial}: {test.accuracy:.4f}, 95% interval {_between(test.interval)}{seeds}"


def _between(interval: Interval) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}"
