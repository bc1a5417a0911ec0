"""The table of a study's trials, and the curve of random search, as text, JSON, CSV or Markdown."""

import dataclasses
import json
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from core.config import SHORT_NAMES
from core.io.text import escape_markdown, printable
from core.metrics import METRICS
from tuning.analysis.assessment import Reference, StudyAssessment
from tuning.analysis.random_search_curve import CurvePoint, RandomSearchCurve
from tuning.analysis.ranking import BASELINE_NOTE, TrialColumn, TrialRow, columns_of, other_fields
from tuning.formatting import (
    align_columns,
    brief_settings,
    by_importance,
    csv_table,
    format_value,
    html_table,
    markdown_table,
    text_table,
)

MAX_LINE = 100
"""Maximum width of the sentences below a table."""
TITLES = ("random trials", "epochs", "expected best", "plug-in", "8 of 10 searches")
UNBROKEN: dict[str, Any] = {"break_on_hyphens": False, "break_long_words": False}
MAX_ROWS = 16
"""Maximum number of rows of the curve's text and Markdown tables."""


def render_table(
    rows: Sequence[TrialRow],
    form: str,
    width: int | None = None,
    notes: Sequence[str] = (),
    assessment: StudyAssessment | None = None,
    searched: Sequence[str] = (),
) -> str:
    """Return the rows, and those of the references below them, as `table`, `json`, `csv`, `md` or `html`.

    JSON and CSV also have a row of the ensemble.

    Args:
        rows: Result of tuning.analysis.filters.filter_rows.
        form: Format: table, json, csv, md or html.
        width: Width of a text table in characters; None for the terminal's.
        notes: Lines below a text, Markdown or HTML table.
        assessment: Assessment of the study, to show the references and the ensemble.
        searched: Names of the searched settings, for the columns of CSV without a row.
    """
    references = assessment.references if assessment else ()
    fields = [*(row.to_dict() for row in rows), *(other_fields(assessment) if assessment else [])]
    if form == "json":
        return json.dumps(fields, indent=2)
    if form == "csv":
        settings = list(rows[0].params if rows else searched)
        names = [name for name in TrialRow.__slots__ if name != "params"]
        values = ([*(row[name] for name in names), *(row["params"].get(name) for name in settings)] for row in fields)
        return csv_table([*names, *settings], values)
    metric = references[0].metric if references else "accuracy"
    shown = columns_of(rows, metric)
    settings, constants = split_settings([row.params for row in rows])
    titles = [*(column.title for column in shown), *(SHORT_NAMES.get(name, name) for name in settings)]
    cells = [
        [*(column.text(row) for column in shown), *(format_value(row.params[name]) for name in settings)]
        for row in rows
    ]
    cells += [[*_reference_cells(reference, shown), *["-"] * len(settings)] for reference in references]
    above = [f"all trials shown: {' '.join(brief_settings(constants))}"] if constants else []
    below = [f"trial {r.trial} repeats trial {r.copy_of} and was not trained" for r in rows if r.copy_of is not None]
    below += [f"{reference.name}: {reference.about}" for reference in references]
    below += [*(f"trial {row.trial} failed: {row.error}" for row in rows if row.error), *notes]
    if form == "md":
        below = [*_baseline_notes(rows, titles), *below]
        return "\n".join([*(f"{escape_markdown(line)}\n" for line in above), markdown_table(titles, cells, below)])
    if form == "html":
        return html_table(titles, cells, [*above, *_baseline_notes(rows, titles), *below])
    width = width or shutil.get_terminal_size().columns
    lines = _fit(rows, shown, settings, [titles, *cells], width)
    below = [*_baseline_notes(rows, lines[0].split()), *below]
    return "\n".join([*_wrapped(above, width), *lines, *([""] if below else []), *_wrapped(below, width)])


def split_settings(params: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[str, Any]]:
    """Return the names of the settings that differ between trials, and the settings that all of them have.

    The names that usually matter most come first.
    """
    names = by_importance(name for each in params for name in each)
    differing = [name for name in names if len({repr(each.get(name)) for each in params}) > 1]
    return differing, {name: params[0][name] for name in names if name not in differing}


def _wrapped(paragraphs: Iterable[str], width: int) -> Iterator[str]:
    """Yield the lines of paragraphs. A command, which begins with a space or `next: `, stays on one line."""
    for text in map(printable, paragraphs):
        yield from [text] if text.startswith((" ", "next: ")) else textwrap.wrap(text, min(width, MAX_LINE), **UNBROKEN)


def _baseline_notes(rows: Sequence[TrialRow], titles: Sequence[str]) -> Iterator[str]:
    """Yield the meaning of the star and of the column `gain`, if the table has them."""
    if any(row.baseline for row in rows):
        yield BASELINE_NOTE
        if "gain" in titles:
            metric = METRICS[rows[0].metric]
            yield f"gain: {metric.title} {'above' if metric.higher_is_better else 'below'} the baseline"


def _reference_cells(reference: Reference, shown: Sequence[TrialColumn]) -> list[str]:
    known = {
        "trial": reference.name,
        "val_metric": "-" if reference.value is None else f"{reference.value:.4f}",
        "val_accuracy": f"{reference.accuracy:.4f}",
        "interval_low": f"{reference.interval.low:.3f}-{reference.interval.high:.3f}",
    }
    return [known.get(column.field, "-") for column in shown]


def _fit(
    rows: Sequence[TrialRow],
    shown: Sequence[TrialColumn],
    settings: Sequence[str],
    cells: Sequence[Sequence[str]],
    width: int,
) -> list[str]:
    """Return a table with a column for each setting if that fits, else with settings in the lines below each trial.

    Either drops as many dispensable columns as needed.
    """
    lines = _narrowed(shown, cells, len(settings), width)
    if max(map(len, lines)) > width:
        lines = _narrowed(shown, cells, 0, width)
        below = UNBROKEN | {"width": width, "initial_indent": " " * 7, "subsequent_indent": " " * 7}
        for at, row in reversed(list(enumerate(rows, 1))):
            text = " ".join(brief_settings({name: row.params[name] for name in settings}))
            lines[at + 1 : at + 1] = textwrap.wrap(text, **below)
    return [lines[0], "-" * min(width, max(map(len, lines))), *lines[1:]]


def _narrowed(shown: Sequence[TrialColumn], cells: Sequence[Sequence[str]], n_settings: int, width: int) -> list[str]:
    """Return the lines with the first settings; dispensable columns are dropped until they fit, or none is left."""
    for dropped in range(1 + max(column.dispensable for column in shown)):
        kept = [at for at, column in enumerate(shown) if not 0 < column.dispensable <= dropped]
        kept += range(len(shown), len(shown) + n_settings)
        lines = align_columns([[line[at] for at in kept] for line in cells])
        if max(map(len, lines)) <= width:
            break
    return lines


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
    """Return lines on the trials on which the curve is based, and on its estimators."""
    failed = f", without the {expected.failed} that failed" if expected.failed else ""
    return [
        f"expected best validation {METRICS[expected.metric].title} of random search, from",
        f"the trials of this study that were drawn at random: {expected.random_trials}{failed}",
        "expected best: unbiased (Tang et al. 2020); plug-in: Dodge et al. 2019",
        "not corrected: with more trials, the selection bias of the best is larger",
    ]


def sample_budgets(budgets: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return the first, the last and at most MAX_ROWS in total, spaced geometrically."""
    if len(budgets) <= MAX_ROWS:
        return list(budgets)
    places = {round(len(budgets) ** (step / (MAX_ROWS - 1))) for step in range(MAX_ROWS)}
    return [budgets[place - 1] for place in sorted(places)]
