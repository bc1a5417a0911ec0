"""The table of a study's trials as text, JSON, CSV or Markdown."""

import csv
import dataclasses
import io
import json
import shutil
import textwrap
from collections.abc import Sequence

from core.io.text import printable
from tuning.analysis.random_search_curve import CurvePoint, RandomSearchCurve
from tuning.analysis.ranking import STATES, TrialRow
from tuning.formatting import align_columns, format_settings, format_value, markdown_table

FORMATS = ("table", "json", "csv", "md")
HEAD = ("rank", "trial", "val acc", "interval", "vs nb", "tied", "best", "epochs", "sec", "state")
DISPENSABLE = ("vs nb", "interval")
"""Columns that give way, in this order, where a table would be too wide."""
NOTEBOOK = "* the notebook's own setting; vs nb: more validation accuracy than it"
TITLES = ("random trials", "epochs", "expected best", "plug-in", "8 of 10 searches")
MAX_ROWS = 16
"""Of a table for people."""


def render_table(rows: Sequence[TrialRow], form: str, width: int | None = None, notes: Sequence[str] = ()) -> str:
    """The rows as `table`, `json`, `csv` or `md`.

    Args:
        rows: from tuning.analysis.filters.filter_rows.
        form: one of FORMATS.
        width: of a table, in characters; None for the terminal's.
        notes: lines below a table for people.
    """
    if form == "json":
        return json.dumps([row.to_dict() for row in rows], indent=2)
    if form == "csv":
        return _csv(rows)
    names = list(rows[0].params) if rows else []
    cells = [[*_head(row), *(format_value(row.params[name]) for name in names)] for row in rows]
    if form == "md":
        return markdown_table([*HEAD, *names], cells, _footnotes(rows, notes))
    return _table(rows, names, cells, width, _footnotes(rows, notes))


def _head(row: TrialRow) -> list[str]:
    marks = "*" * row.notebook + "+" * row.recommended
    return [
        "-" if row.rank is None else str(row.rank),
        f"{row.trial}{marks}",
        "-" if row.val_accuracy is None else f"{row.val_accuracy:.4f}",
        "-" if row.interval_low is None else f"{row.interval_low:.3f}-{row.interval_high:.3f}",
        "-" if row.against_notebook is None else f"{row.against_notebook:+.3f}",
        "-" if row.tied is None else format_value(row.tied),
        "-" if row.best_epoch is None else str(row.best_epoch),
        str(row.epochs),
        f"{row.seconds:.1f}",
        STATES.get(row.state, row.state.lower()),
    ]


def _csv(rows: Sequence[TrialRow]) -> str:
    out = io.StringIO()
    names = [name for name in TrialRow.__slots__ if name != "params"]
    params = list(rows[0].params) if rows else []
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, *params])
    for row in rows:
        writer.writerow([*(getattr(row, name) for name in names), *(row.params[name] for name in params)])
    return out.getvalue().rstrip("\n")


def _footnotes(rows: Sequence[TrialRow], notes: Sequence[str]) -> list[str]:
    marked = [NOTEBOOK] if any(row.notebook for row in rows) else []
    copies = [f"trial {r.trial} repeats trial {r.copy_of}: not trained again" for r in rows if r.copy_of is not None]
    failed = [f"trial {row.trial} failed: {printable(row.error)}" for row in rows if row.error]
    return [*marked, *copies, *notes, *failed]


def _table(
    rows: Sequence[TrialRow],
    names: Sequence[str],
    cells: Sequence[Sequence[str]],
    width: int | None,
    footnotes: Sequence[str],
) -> str:
    """A column for each setting where that fits, else each trial's settings in the lines below it."""
    width = width or shutil.get_terminal_size().columns
    lines = align_columns([[*HEAD, *names], *cells])
    if max(map(len, lines)) > width:
        lines = _narrow([HEAD, *(line[: len(HEAD)] for line in cells)], width)
        below = {"width": width, "initial_indent": " " * 7, "subsequent_indent": " " * 7, "break_on_hyphens": False}
        for at, row in reversed(list(enumerate(rows, 1))):
            lines[at + 1 : at + 1] = textwrap.wrap(format_settings(row.params), **below)  # type: ignore[arg-type]
    lines.insert(1, "-" * min(width, max(map(len, lines))))
    if footnotes:
        lines += ["", *footnotes]
    return "\n".join(lines)


def _narrow(cells: Sequence[Sequence[str]], width: int) -> list[str]:
    """Aligned, without as many of the DISPENSABLE columns as must go."""
    for gone in range(len(DISPENSABLE) + 1):
        left = [at for at, title in enumerate(HEAD) if title not in DISPENSABLE[:gone]]
        lines = align_columns([[line[at] for at in left] for line in cells])
        if max(map(len, lines)) <= width:
            break
    return lines


def render_curve(expected: RandomSearchCurve, form: str) -> str:
    """As one of tuning.analysis.tables.FORMATS; JSON and CSV have every budget, the others some of them."""
    if form == "json":
        return json.dumps(dataclasses.asdict(expected), indent=2)
    if form == "csv":
        return _curve_csv(expected.budgets)
    cells = [
        [
            str(budget.trials),
            f"{budget.epochs:.1f}",
            f"{budget.unbiased:.4f}",
            f"{budget.plugin:.4f}",
            f"{budget.low:.4f}-{budget.high:.4f}",
        ]
        for budget in sample_budgets(expected.budgets)
    ]
    if form == "md":
        return markdown_table(TITLES, cells, curve_notes(expected))
    lines = align_columns([TITLES, *cells])
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *curve_notes(expected)])


def curve_notes(expected: RandomSearchCurve) -> list[str]:
    """What the curve is made from, and by whose estimators."""
    failed = f", without the {expected.failed} that failed" if expected.failed else ""
    return [
        "best validation accuracy to expect of random search, from those trials of this",
        f"study alone that were drawn at random: {expected.random_trials}{failed}",
        "expected best: unbiased (Tang et al. 2020); plug-in: Dodge et al. 2019",
        "raw: the best of more trials is also chosen by more luck",
    ]


def sample_budgets(budgets: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The first and the last, and at most MAX_ROWS in all, further apart the larger they are."""
    if len(budgets) <= MAX_ROWS:
        return list(budgets)
    places = {round(len(budgets) ** (step / (MAX_ROWS - 1))) for step in range(MAX_ROWS)}
    return [budgets[place - 1] for place in sorted(places)]


def _curve_csv(budgets: Sequence[CurvePoint]) -> str:
    out = io.StringIO()
    names = [field.name for field in dataclasses.fields(CurvePoint)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(budget, name) for name in names] for budget in budgets)
    return out.getvalue().rstrip("\n")
