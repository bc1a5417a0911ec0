"""What the page says first: the number to believe, and what it beat."""

from dataclasses import dataclass

from core.io.text import quoted
from tuning.analysis.assessment import StudyAssessment, evaluations_note
from tuning.analysis.ranking import TrialRow
from tuning.report.facts import ReportData


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One figure."""

    title: str
    value: float
    """In [0, 1], or a difference of such."""
    shown: str
    detail: str


def cards(facts: ReportData, judgement: StudyAssessment) -> list[Card]:
    """The figures of the best trial, then what it is to be compared with; none before a trial has ended."""
    winner = facts.winner
    if winner is None or winner.val_accuracy is None:
        return []
    found = [
        _card("Best validation accuracy", winner.val_accuracy,
              f"trial {winner.trial}, epoch {winner.best_epoch}{_interval(winner.interval_low, winner.interval_high)}")
    ]  # fmt: skip
    if winner.corrected is not None and judgement.corrected is not None:
        detail = f"what it is worth after choosing the best of {judgement.corrected.trials} trials"
        between = _interval(winner.corrected_low, winner.corrected_high)
        found.insert(0, _card("The honest number", winner.corrected, detail + between))
    if winner.test_accuracy is not None:
        between = _interval(winner.test_low, winner.test_high)
        found.append(_card("Test accuracy", winner.test_accuracy, f"read {_times(winner.test_readings)}{between}"))
    return [*found, *_beaten(facts, winner)]


def remarks(facts: ReportData, judgement: StudyAssessment) -> list[str]:
    """What else to know of the best trial: a cheaper one that is as good, what is missing, how often test was read."""
    if facts.winner is None:
        return []
    found = []
    tied = sum(bool(row.tied) and row.copy_of is None for row in facts.rows)
    for row in facts.rows:
        if row.recommended and row.val_accuracy is not None and tied > 1:
            found.append(
                f"recommended is trial {row.trial} ({row.val_accuracy:.4f}, {row.n_parameters:,} trained numbers): the "
                f"cheapest of the {tied} trials that a paired test (exact McNemar, Holm) does not tell from the best"
            )
    if judgement.corrected is None:
        found.append("there is no number corrected for the choice: not every trial's predictions were kept")
    return [*found, evaluations_note(judgement.test_evaluations)]


def _beaten(facts: ReportData, winner: TrialRow) -> list[Card]:
    found = []
    notebook = next((row for row in facts.rows if row.notebook and row.rank is not None), None)
    if notebook is not None and notebook.val_accuracy is not None:
        gain = winner.against_notebook
        detail = "is the best" if notebook.trial == winner.trial else f"the best is {gain:+.4f} against it"
        found.append(_card("The notebook's setting", notebook.val_accuracy, f"trial {notebook.trial}: {detail}"))
    audit = facts.attributes.get("audit", {})
    majority = audit.get("majority_baseline", {})
    if "val" in majority:
        found.append(_card("Majority baseline", majority["val"], f"always answering {quoted(majority['class'])}"))
    return found


def _card(title: str, value: float, detail: str) -> Card:
    return Card(title=title, value=value, shown=f"{value:.4f}", detail=detail)


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"; 95% interval {low:.4f} to {high:.4f}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
