"""The study as the page's plots read it, and the figures that they return."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tuning.analysis.ranking import STATES, TrialRow
from tuning.journal.records import RANKED, TrialRecord
from tuning.space.space import Space

MAX_TRIALS = 1000
"""Maximum number of trials shown; with 1,000 trials in 18 settings the page has 4 MB, and its size is proportional."""
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
    """What `best --format json` shows of them; of `kept` alone where that is not None."""
    space: Space
    kept: frozenset[int] | None = None
    """Numbers of the trials that are shown one by one, in a study of very many (tuning.report.facts); None: all."""

    @property
    def shown(self) -> Sequence[TrialRecord]:
        """The trials that are shown one by one, by number."""
        return self.records if self.kept is None else [self.records[number] for number in sorted(self.kept)]

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the study is."""
        return self.attributes["spec"]  # type: ignore[no-any-return]

    @property
    def ranked(self) -> list[tuple[TrialRow, TrialRecord]]:
        """Trials that ended with an accuracy, best first."""
        return [(row, self.records[row.trial]) for row in self.rows if row.rank is not None]

    @property
    def winner(self) -> TrialRow | None:
        """The first of them."""
        return next((row for row in self.rows if row.rank == 1), None)

    def kind(self, record: TrialRecord) -> str:
        """How a trial is marked: winner, baseline, done, stopped, failed, paused or running."""
        if self.winner is not None and record.number == self.winner.trial:
            return "winner"
        if record.origin == "baseline" and record.state in RANKED:
            return "baseline"
        return STATES.get(record.state, "running")


MARKS = {
    "winner": "the best trial",
    "baseline": "the baseline setting",
    "done": "ran all its epochs",
    "stopped": "stopped early",
    "failed": "failed",
}
"""What a legend says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One plot with what belongs to it."""

    key: str
    """Its anchor in the page."""
    title: str
    says: str
    """How to read it."""
    drawings: tuple[Markup, ...]
    """Empty where there is nothing to draw yet; `notes` says why."""
    legend: tuple[str, ...] = ()
    """Keys of MARKS."""
    bars: bool = False
    """Trials are bars, also in the legend; else marks."""
    notes: tuple[str, ...] = ()
    """What to be careful about."""


def sample_trials(facts: ReportData) -> ReportData:
    """Return the study with about MAX_TRIALS of its trials to show at most; the choice is deterministic.

    They are the best trials, the baseline, each trial that was better than all earlier ones (so that the line of the
    best so far does not change), and an evenly spaced sample of the rest.
    """
    if len(facts.rows) <= MAX_TRIALS:
        return facts
    kept, highest = {row.trial for at, row in enumerate(facts.rows) if at < KEEP_BEST or row.baseline}, -1.0
    for row in sorted((row for row, _ in facts.ranked), key=lambda row: row.trial):
        if row.val_accuracy is not None and row.val_accuracy > highest:
            kept.add(row.trial)
            highest = row.val_accuracy
    rest = [record.number for record in facts.records if record.number not in kept]
    room = max(0, MAX_TRIALS - len(kept))
    kept |= {rest[at * len(rest) // room] for at in range(room)}
    rows = [row for row in facts.rows if row.trial in kept]
    return dataclasses.replace(facts, rows=rows, kept=frozenset(kept))


def sampling_note(few: ReportData) -> str | None:
    """Return the page's note on which trials it shows; None if it shows all."""
    if few.kept is None:
        return None
    return (
        f"Of {len(few.records):,} trials the table and the plots show {len(few.kept):,}: the best {KEEP_BEST:,}, the "
        "baseline, each that was better than all before it, and of the others every so many by number. All else is "
        "of all trials; sentune best --state all --format csv has every one."
    )
