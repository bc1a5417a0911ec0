"""The table of all trials: every field of `best --format json`, with the values by which the page sorts and filters."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.io.text import printable
from tuning.analysis.ranking import TrialRow, columns_of
from tuning.formatting import format_value
from tuning.space.expressions import is_number


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One field of one trial."""

    shown: str
    value: str
    """The field as JSON has it; empty if there is none. Numbers sort as numbers, the rest as text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One field of all trials."""

    field: str
    """Its name in JSON, by which the page filters."""
    kind: str
    """Classes of its cells: `number` is right-aligned; `more` follows the settings and is not printed on paper."""


def report_table(rows: Sequence[TrialRow]) -> tuple[list[Column], list[tuple[TrialRow, list[Cell]]]]:
    """Return the columns, and each row with its cells; a field that is None or false in all rows is left out."""
    shown_columns = columns_of(rows)
    formats = {column.field: column.format for column in shown_columns}
    settings = list(rows[0].params) if rows else []
    main = [column.field for column in shown_columns if column.main]
    more = [column.field for column in shown_columns if not column.main]
    flat = [{**row.to_dict(), **row.params} for row in rows]
    fields = [
        name
        for name in (*main, *settings, *more)
        if any(each[name] is not None and each[name] is not False for each in flat)
    ]

    def kind(name: str) -> str:
        number = all(each[name] is None or is_number(each[name]) for each in flat)
        return " ".join([*["number"] * number, *["more"] * (name in more and name not in settings)])

    def cell(name: str, value: Any) -> Cell:
        if value is None:  # a setting may be none; another field is unknown
            text = format_value(value)
            return Cell(shown=text, value=text) if name in settings else Cell(shown="-", value="")
        shown = printable(formats.get(name, format_value)(value))
        return Cell(shown=shown, value=printable(value) if isinstance(value, str) else json.dumps(value))

    columns = [Column(field=name, kind=kind(name)) for name in fields]
    return columns, [(row, [cell(name, each[name]) for name in fields]) for row, each in zip(rows, flat, strict=True)]
