"""The rows of a study's table, best first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.stats import Interval, wilson
from tuning.analysis.assessment import StudyAssessment
from tuning.journal.records import TrialRecord, rank_trials

STATES = {"COMPLETE": "done", "PRUNED": "stopped", "FAIL": "failed"}
"""What people are shown for the journal's words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRow:
    """One trial in the table. What is not known, or does not apply, is None."""

    rank: int | None
    """From 1; None for a trial that failed or has not ended."""
    trial: int
    val_accuracy: float | None
    best_epoch: int | None
    epochs: int
    """Epochs run."""
    seconds: float
    state: str
    notebook: bool
    """The notebook's own setting."""
    copy_of: int | None
    """The trial that had the same settings before and was trained for both; None for a trial of its own."""
    error: str | None
    interval_low: float | None
    """Of the binomial (Wilson) 95% interval of val_accuracy."""
    interval_high: float | None
    against_notebook: float | None
    """val_accuracy less that of the notebook's row."""
    tied: bool | None
    """Not told from the best by a paired test; the best is tied with itself."""
    recommended: bool
    """The cheapest of the tied."""
    n_parameters: int | None
    """Trained numbers."""
    corrected: float | None
    """On the best row: what its validation accuracy is worth after the choice, see tuning.analysis.selection_bias."""
    corrected_low: float | None
    corrected_high: float | None
    test_accuracy: float | None
    """The mean over the seeds that were read."""
    test_low: float | None
    test_high: float | None
    test_readings: int
    """How often the test split was read for this trial."""
    params: Mapping[str, Any]
    """The searched TrialConfig fields, those too that play no part in this trial."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {name: getattr(self, name) for name in self.__slots__}


def trial_rows(
    records: Sequence[TrialRecord], searched: Sequence[str], judgement: StudyAssessment | None = None
) -> list[TrialRow]:
    """Rows by validation accuracy; ties by lower validation loss, then lower number. Failed trials come after those,
    the ones that have not ended last.

    Args:
        records: a study's trials.
        searched: TrialConfig fields that the study's space searches, in order.
        judgement: fills the columns that need stored predictions and readings.
    """
    ended = rank_trials(records)
    places = {record.number: rank for rank, record in enumerate(ended, 1)}
    rest = [record for record in records if record.number not in places]
    rest.sort(key=lambda record: record.state != "FAIL")
    notebook = next((r.best.val_accuracy for r in ended if r.origin == "notebook" and r.best), None)
    return [
        TrialRow(
            **_own(record, searched),
            **_compared(record, places.get(record.number), notebook),
            **_assessed(record, places.get(record.number), judgement),
        )
        for record in (*ended, *rest)
    ]


def _own(record: TrialRecord, searched: Sequence[str]) -> dict[str, Any]:
    best = record.best
    return {
        "trial": record.number,
        "val_accuracy": best.val_accuracy if best else None,
        "best_epoch": best.epoch if best else None,
        "epochs": len(record.epochs),
        "seconds": round(record.seconds, 3),
        "state": record.state,
        "notebook": record.origin == "notebook",
        "copy_of": record.copy_of,
        "error": record.error,
        "params": {name: record.config[name] for name in searched},
    }


def _compared(record: TrialRecord, rank: int | None, notebook: float | None) -> dict[str, Any]:
    best = record.best if rank is not None else None
    gain = best.val_accuracy - notebook if best and notebook is not None else None
    return {"rank": rank, "against_notebook": gain}


def _assessed(record: TrialRecord, rank: int | None, judgement: StudyAssessment | None) -> dict[str, Any]:
    number = record.number
    interval = honest = test = None
    if judgement is not None:
        if record.best and judgement.sentences:
            interval = wilson(round(record.best.val_accuracy * judgement.sentences), judgement.sentences)
        honest = judgement.corrected if rank == 1 else None
        test = judgement.held_out.get(number)
    return {
        **_ends("interval", interval),
        "tied": judgement.tied.get(number) if judgement else None,
        "recommended": judgement is not None and judgement.recommended == number,
        "n_parameters": judgement.n_parameters.get(number) if judgement else record.n_parameters,
        "corrected": honest.corrected if honest else None,
        **_ends("corrected", honest.corrected_interval if honest else None),
        "test_accuracy": test.accuracy if test else None,
        **_ends("test", test.interval if test else None),
        "test_readings": sum(r["trial"] == number for r in judgement.test_evaluations) if judgement else 0,
    }


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }
