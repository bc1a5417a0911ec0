"""The table of all trials: every field of `best --format json`, with what the page sorts and filters by."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.io.text import printable
from tuning.analysis.ranking import STATES, TrialRow
from tuning.formatting import format_value
from tuning.space.expressions import is_number


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One field of one trial."""

    shown: str
    value: str
    """The field as JSON has it; empty where there is none. Numbers sort as numbers, the rest as text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One field of all trials."""

    field: str
    """Its name in JSON, by which the page filters."""
    number: bool
    """Whether it stands on the right."""
    more: bool
    """Behind the settings: paper has no room for it."""

    @property
    def kind(self) -> str:
        """Its cells' classes."""
        return " ".join(name for name in ("number", "more") if getattr(self, name))


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """What the page shows."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[TrialRow, tuple[Cell, ...]], ...]


FIRST = ("rank", "trial", "val_accuracy", "best_epoch", "epochs", "seconds", "state", "tied", "recommended", "notebook")
"""Fields that stand before the settings; the others stand behind them."""
SHOWN: dict[str, Callable[[Any], str]] = {
    "seconds": "{:.1f}".format,
    "against_notebook": "{:+.4f}".format,
    "n_parameters": "{:,}".format,
    "state": lambda state: STATES.get(state, state.lower()),
    **dict.fromkeys(
        ("val_accuracy", "interval_low", "interval_high", "corrected", "corrected_low", "corrected_high",
         "test_accuracy", "test_low", "test_high"),
        "{:.4f}".format,
    ),
}  # fmt: skip
"""How a field is written, where `brief` is not it."""


def report_table(rows: Sequence[TrialRow]) -> Table:
    """All rows; fields that say nothing about any of them are left out."""
    flat = [{**{k: v for k, v in row.to_dict().items() if k != "params"}, **row.params} for row in rows]
    order = [*FIRST, *(rows[0].params if rows else ()), *(field for field in TrialRow.__slots__ if field not in FIRST)]
    kept = [field for field in order if field != "params" and any(_says(each[field]) for each in flat)]
    columns = tuple(
        Column(
            field=field,
            number=all(each[field] is None or is_number(each[field]) for each in flat),
            more=field not in FIRST and field not in rows[0].params,
        )
        for field in kept
    )
    settings = rows[0].params.keys() if rows else ()
    cells = (tuple(_cell(field, each[field], setting=field in settings) for field in kept) for each in flat)
    return Table(columns=columns, rows=tuple(zip(rows, cells, strict=True)))


def _says(value: Any) -> bool:
    return value is not None and value is not False


def _cell(field: str, value: Any, *, setting: bool) -> Cell:
    if value is None:  # a setting may be none; of another field nothing is known
        return Cell(shown=format_value(value), value=format_value(value)) if setting else Cell(shown="-", value="")
    written = SHOWN.get(field, format_value)(value)
    return Cell(shown=printable(written), value=printable(value) if isinstance(value, str) else json.dumps(value))
