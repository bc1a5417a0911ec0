"""Data of a study for the report."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuning.analysis.ranking import STATES, TrialRow
from tuning.analysis.trial_detail import ClassResults, class_results
from tuning.journal.records import RANKED, TestEvaluation, TrialRecord
from tuning.space.space import Space

MAX_TRIALS = 1000
"""Maximum number of trials shown one by one; the size of the page is proportional."""
KEEP_BEST = MAX_TRIALS // 2
"""Number of best trials among them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportData:
    """A study, read once."""

    name: str
    attributes: Mapping[str, Any]
    """User attributes of the study: spec, audit, command, validation, test_evaluations, ..."""
    records: Sequence[TrialRecord]
    """All trials by number."""
    rows: Sequence[TrialRow]
    """Rows of `best --format json`, for all trials or for a sample of them."""
    space: Space

    @property
    def spec(self) -> Mapping[str, Any]:
        """The study's spec."""
        return self.attributes["spec"]  # type: ignore[no-any-return]

    @property
    def ranked(self) -> list[tuple[TrialRow, TrialRecord]]:
        """Trials that ended with an accuracy, best first."""
        return [(row, self.records[row.trial]) for row in self.rows if row.rank is not None]

    @property
    def winner(self) -> TrialRow | None:
        """The best ranked trial; None if there is none."""
        return next((row for row in self.rows if row.rank == 1), None)

    @property
    def used(self) -> TrialRow | None:
        """The recommended trial, which `retrain` uses by default; the best if none is recommended."""
        return next((row for row in self.rows if row.recommended), self.winner)

    @property
    def used_results(self) -> ClassResults | None:
        """Scores of this trial for the classes of the validation split; None if its predictions were not recorded."""
        return None if self.used is None else class_results(self.records[self.used.trial], self.attributes)

    def kind(self, record: TrialRecord) -> str:
        """Return the kind of a trial in charts: best, baseline, done, stopped, failed, paused or running."""
        if self.winner is not None and record.number == self.winner.trial:
            return "best"
        if record.origin == "baseline" and record.state in RANKED:
            return "baseline"
        return STATES.get(record.state, "running")


def calibrated_evaluation(facts: ReportData) -> TestEvaluation | None:
    """Return the last evaluation on a test split of a model that was calibrated; None if there is none."""
    evaluations: Sequence[TestEvaluation] = facts.attributes.get("test_evaluations", ())
    return next((each for each in reversed(evaluations) if each.get("calibration")), None)


def sample_trials(facts: ReportData) -> ReportData:
    """Return the study with the rows of about MAX_TRIALS trials at most; the choice is deterministic.

    They are the best trials, the baseline, each trial that was better than all earlier ones, and an evenly spaced
    sample of the rest. The line of the best so far therefore does not change.
    """
    if len(facts.rows) <= MAX_TRIALS:
        return facts
    kept, highest = {row.trial for at, row in enumerate(facts.rows) if at < KEEP_BEST or row.baseline}, -math.inf
    for record in sorted((record for _, record in facts.ranked), key=lambda record: record.number):
        if record.best is not None and record.best.score > highest:
            kept.add(record.number)
            highest = record.best.score
    rest = [record.number for record in facts.records if record.number not in kept]
    room = max(0, MAX_TRIALS - len(kept))
    kept |= {rest[at * len(rest) // room] for at in range(room)}
    return dataclasses.replace(facts, rows=[row for row in facts.rows if row.trial in kept])
