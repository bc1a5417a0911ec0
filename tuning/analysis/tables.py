"""The table of a study's trials, and the curve of random search, as text, JSON, CSV or Markdown."""

import dataclasses
import json
import shutil
import textwrap
from collections.abc import Sequence

from core.io.text import printable
from core.metrics import METRICS
from tuning.analysis.assessment import Reference, StudyAssessment
from tuning.analysis.random_search_curve import CurvePoint, RandomSearchCurve
from tuning.analysis.ranking import TrialColumn, TrialRow, columns_of, other_fields
from tuning.formatting import align_columns, csv_table, format_settings, format_value, markdown_table, text_table

BASELINE = "* the baseline setting (the tutorial notebook's); gain: {metric} {direction} it"
TITLES = ("random trials", "epochs", "expected best", "plug-in", "8 of 10 searches")
MAX_ROWS = 16
"""Maximum number of rows of the curve's text and Markdown tables."""


def render_table(
    rows: Sequence[TrialRow],
    form: str,
    width: int | None = None,
    notes: Sequence[str] = (),
    assessment: StudyAssessment | None = None,
) -> str:
    """Return the rows, and those of the references below them, as `table`, `json`, `csv` or `md`.

    JSON and CSV also have a row of the ensemble.

    Args:
        rows: Result of tuning.analysis.filters.filter_rows.
        form: table, json, csv or md.
        width: Width of a text table in characters; None for the terminal's.
        notes: Lines below a text or Markdown table.
        assessment: Of the study, if the references and the ensemble are to be shown.
    """
    references = assessment.references if assessment else ()
    fields = [*(row.to_dict() for row in rows), *(other_fields(assessment) if assessment else [])]
    if form == "json":
        return json.dumps(fields, indent=2)
    settings = list(rows[0].params) if rows else []
    if form == "csv":
        names = [name for name in TrialRow.__slots__ if name != "params"]
        values = ([*(row[name] for name in names), *(row["params"].get(name) for name in settings)] for row in fields)
        return csv_table([*names, *settings], values)
    shown = sorted((column for column in columns_of(rows) if column.title), key=lambda column: column.place)
    titles = [*(column.title for column in shown), *settings]
    cells = [
        [*(column.text(row) for column in shown), *(format_value(row.params[name]) for name in settings)]
        for row in rows
    ]
    cells += [[*_reference_cells(reference, shown), *["-"] * len(settings)] for reference in references]
    below = [_baseline_note(rows[0].metric)] if any(row.baseline for row in rows) else []
    below += [f"trial {r.trial} repeats trial {r.copy_of}: not trained again" for r in rows if r.copy_of is not None]
    below += [f"{reference.name}: {reference.about}" for reference in references]
    below += [*(f"trial {row.trial} failed: {printable(row.error)}" for row in rows if row.error), *notes]
    if form == "md":
        return markdown_table(titles, cells, below)
    lines = _fit(rows, shown, [titles, *cells], width or shutil.get_terminal_size().columns)
    return "\n".join([*lines, "", *below] if below else lines)


def _baseline_note(name: str) -> str:
    metric = METRICS[name]
    return BASELINE.format(metric=metric.title, direction="above" if metric.higher_is_better else "below")


def _reference_cells(reference: Reference, shown: Sequence[TrialColumn]) -> list[str]:
    known = {
        "trial": reference.name,
        "val_metric": "-" if reference.value is None else f"{reference.value:.4f}",
        "val_accuracy": f"{reference.accuracy:.4f}",
        "interval_low": f"{reference.interval.low:.3f}-{reference.interval.high:.3f}",
    }
    return [known.get(column.field, "-") for column in shown]


def _fit(
    rows: Sequence[TrialRow], shown: Sequence[TrialColumn], cells: Sequence[Sequence[str]], width: int
) -> list[str]:
    """Return a table with a column for each setting if that fits, else with settings in the lines below each trial.

    The latter also drops as many dispensable columns as needed.
    """
    lines = align_columns(cells)
    if max(map(len, lines)) > width:
        for dropped in range(1 + max(column.dispensable for column in shown)):
            kept = [at for at, column in enumerate(shown) if not 0 < column.dispensable <= dropped]
            lines = align_columns([[line[at] for at in kept] for line in cells])
            if max(map(len, lines)) <= width:
                break
        below = {"width": width, "initial_indent": " " * 7, "subsequent_indent": " " * 7, "break_on_hyphens": False}
        for at, row in reversed(list(enumerate(rows, 1))):
            lines[at + 1 : at + 1] = textwrap.wrap(format_settings(row.params), **below)  # type: ignore[arg-type]
    return [lines[0], "-" * min(width, max(map(len, lines))), *lines[1:]]


def render_curve(expected: RandomSearchCurve, form: str) -> str:
    """Return the curve as table, json, csv or md; JSON and CSV have every budget, the others a sample."""
    if form == "json":
        return json.dumps(dataclasses.asdict(expected), indent=2)
    if form == "csv":
        names = [field.name for field in dataclasses.fields(CurvePoint)]
        return csv_table(names, ([getattr(budget, name) for name in names] for budget in expected.budgets))
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
    return "\n".join([*text_table(TITLES, cells), "", *curve_notes(expected)])


def curve_notes(expected: RandomSearchCurve) -> list[str]:
    """Return lines that say which trials the curve is based on, and which estimators it uses."""
    failed = f", without the {expected.failed} that failed" if expected.failed else ""
    return [
        f"best validation {METRICS[expected.metric].title} to expect of random search, from those trials of this",
        f"study alone that were drawn at random: {expected.random_trials}{failed}",
        "expected best: unbiased (Tang et al. 2020); plug-in: Dodge et al. 2019",
        "raw: the best of more trials is also chosen by more luck",
    ]


def sample_budgets(budgets: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return the first, the last and at most MAX_ROWS in total, spaced geometrically."""
    if len(budgets) <= MAX_ROWS:
        return list(budgets)
    places = {round(len(budgets) ** (step / (MAX_ROWS - 1))) for step in range(MAX_ROWS)}
    return [budgets[place - 1] for place in sorted(places)]
