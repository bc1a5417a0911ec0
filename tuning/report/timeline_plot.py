"""The timeline: which worker trained which trial, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from tuning.journal.records import RunSegment, TrialRecord
from tuning.report.axes import CategoryAxis, NumericAxis
from tuning.report.facts import Figure, ReportData
from tuning.report.svg import Panel, PlotPoint, drawing, element

TIME_UNITS = (("hours", 3600.0, 4 * 3600.0), ("minutes", 60.0, 240.0), ("seconds", 1.0, 0.0))
"""Name, its seconds, and from how many seconds on it is used."""
LOW = {"stopped": 0.6, "failed": 0.25}
"""Share of the full height."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One trial on a worker, for a time; seconds from the first trial's start."""

    trial: int
    kind: str
    start: float
    end: float


def last_moment(records: Sequence[TrialRecord]) -> datetime:
    """When something was last begun or ended; now where nothing was."""
    return max((each for record in records for each in (record.started, record.ended) if each), default=datetime.now())


def timeline(facts: ReportData, until: datetime) -> Figure:
    """A bar for each time that a worker had a trial, in the worker's row.

    Args:
        facts: the study.
        until: where the bars of trials that have not ended end.
    """
    rows = worker_rows(facts, until)
    end = max((bar.end for row in rows for bar in row), default=0.0)
    unit, seconds, _ = next(each for each in TIME_UNITS if end >= each[2])
    thick = 20.0 if len(rows) <= 16 else 10.0
    bottom = 10 + thick * max(1, len(rows))
    panel = Panel(
        x=NumericAxis.over([0.0, max(end, 1.0) / seconds]),
        y=CategoryAxis(values=tuple(range(len(rows), 0, -1)) or (1,)),
        top=10,
        bottom=bottom,
    )
    bars = []
    for number, row in enumerate(rows, 1):
        for bar in row:
            x, y = panel.at(bar.start / seconds, number)
            long = panel.at(bar.end / seconds, number)[0] - x
            bars.append(draw_bar((x, y), max(long, 1.0), thick * 0.8, bar.kind, bar.trial))
    trials = len({bar.trial for row in rows for bar in row})
    label = f"{trials} trials over {end / seconds:.3g} {unit} on {len(rows)} workers"
    picture = drawing(label, panel.frame(f"{unit} since the start", "worker"), *bars, height=bottom + 48)
    return Figure(
        key="timeline",
        title="Timeline of workers",
        says="A bar for each time that a worker had a trial: one that waited at a rung for others has several, "
        "each once it is over. A worker that took another's place stands in its row. What a killed process had done "
        "is not shown.",
        drawings=(picture,) if rows else (),
        legend=("winner", "baseline", "done", "stopped", "failed"),
        bars=True,
        notes=() if rows else ("No trial has begun yet.",),
    )


def draw_bar(at: PlotPoint, width: float, height: float, kind: str, trial: int | None) -> Markup:
    """A trial's bar: one that was stopped is lower, one that failed lower still, so that no one needs the colour.

    Args:
        at: the middle of its left side.
        width, height: of a bar of full height.
        kind: from Facts.kind.
        trial: its number; None in the legend.
    """
    x, y = at
    high = height * LOW.get(kind, 1.0)
    return element("rect", x=x, y=y - high / 2, width=width, height=high, class_=f"bar {kind}", data_t=trial)


def worker_rows(facts: ReportData, until: datetime) -> list[list[Bar]]:
    """Return a row of bars for each worker, in order of time; workers that do not overlap in time share a row.

    A new trial, without recorded segments, has one bar from its start in a row of its own. Trials that repeat another
    one have no bar.
    """
    begun = [(start, record) for record in facts.shown if (start := record.started_at) and record.copy_of is None]
    first = min((start for start, _ in begun), default=0.0)
    workers: dict[str, list[Bar]] = {}
    for start, record in begun:
        end = record.ended or max(until, record.started or until)
        whole = RunSegment(worker=None, since=start, until=end.timestamp())
        for segment in record.segments or (whole,):
            kind = facts.kind(record)
            bar = Bar(trial=record.number, kind=kind, start=segment.since - first, end=segment.until - first)
            workers.setdefault(segment.worker or f"trial {record.number}", []).append(bar)
    rows: list[list[Bar]] = []
    for bars in sorted(workers.values(), key=lambda bars: min(bar.start for bar in bars)):
        row = next((row for row in rows if max(bar.end for bar in row) <= min(bar.start for bar in bars)), None)
        if row is None:
            rows.append(row := [])
        row += sorted(bars, key=lambda bar: bar.start)
    return rows
