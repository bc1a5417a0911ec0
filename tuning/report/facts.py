"""What the plots of the page are made from, and what they come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tuning.analysis.ranking import STATES, Row
from tuning.journal.records import TrialRecord
from tuning.space.space import Space


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """A study, read once."""

    name: str
    attributes: Mapping[str, Any]
    """The journal's, beside its trials: spec, audit, command, validation, readings; older studies lack some."""
    records: Sequence[TrialRecord]
    """All trials by number."""
    rows: Sequence[Row]
    """What `best --format json` shows of them; of `kept` alone where that is not None."""
    space: Space
    kept: frozenset[int] | None = None
    """Numbers of the trials that are shown one by one, in a study of very many (tuning.report.thinned); None: all."""

    @property
    def shown(self) -> Sequence[TrialRecord]:
        """The trials that are shown one by one, by number."""
        return self.records if self.kept is None else [self.records[number] for number in sorted(self.kept)]

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the study is."""
        return self.attributes["spec"]  # type: ignore[no-any-return]

    @property
    def ranked(self) -> list[tuple[Row, TrialRecord]]:
        """Trials that ended with an accuracy, best first."""
        return [(row, self.records[row.trial]) for row in self.rows if row.rank is not None]

    @property
    def winner(self) -> Row | None:
        """The first of them."""
        return next((row for row in self.rows if row.rank == 1), None)

    def kind(self, record: TrialRecord) -> str:
        """How a trial is marked: winner, notebook, done, stopped, failed or running."""
        if self.winner is not None and record.number == self.winner.trial:
            return "winner"
        if record.origin == "notebook" and record.state in ("COMPLETE", "PRUNED"):
            return "notebook"
        return STATES.get(record.state, "running")


MARKS = {
    "winner": "the best trial",
    "notebook": "the notebook's own setting",
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
