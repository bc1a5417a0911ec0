"""Which rows of a study's table a person wants to see, and in what order."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError
from tuning.analysis.ranking import STATES, TrialRow
from tuning.space.expressions import Condition, is_number, parse_value, shorten

_CLAUSE = re.compile(r"\s*([a-z_]\w*)\s*(==?|!=|<=|>=|<|>)\s*([^\s,()=<>!]*)\s*", re.ASCII)
_SAID = {"yes": True, "no": False}
"""As the table shows them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFilter:
    """All rows that the study can show, unless more is said."""

    state: str | None = None
    """done, stopped, failed, or all: those too that have not ended. None: all that ended."""
    where: tuple[Condition, ...] = ()
    """They must all hold."""
    sort: str = "rank"
    """A field, ascending; descending with a minus before it. Rows without a value come last."""
    top: int | None = None
    """So many ranked rows. It does not leave out the notebook's row, and those without a rank, which do not count."""

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise ConfigError(f"--top must be at least 1, got {self.top}")


def parse_where(text: str) -> Condition:
    """`n_layers=1`, `val_accuracy >= 0.7`: a field, one of = != < <= > >=, and a plain value. It is never evaluated.

    Raises:
        ConfigError: it cannot be read.
    """
    match = _CLAUSE.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"cannot read --where {shorten(text)}; write a field, one of = != < <= > >= and a value, such as n_layers=1"
        )
    name, sign, said = match.groups()
    value = _SAID[said.lower()] if said.lower() in _SAID else parse_value(said)
    if sign in ("<", "<=", ">", ">=") and not is_number(value):
        raise ConfigError(f"cannot read --where {shorten(text)}: {sign} needs a number on its right")
    return Condition(name, "==" if sign == "=" else sign, (value,))


def filter_rows(rows: Sequence[TrialRow], selection: RowFilter) -> list[TrialRow]:
    """The selected rows, in the selected order.

    Args:
        rows: from tuning.analysis.ranking.trial_rows.
        selection: what to keep.

    Raises:
        ConfigError: a field is not known; the known ones are named.
    """
    _check_fields(rows, selection)
    kept = [row for row in rows if _has_state(row, selection.state)]
    kept = [row for row in kept if all(_allows(each, row) for each in selection.where)]
    name = selection.sort.removeprefix("-")
    known = [row for row in kept if value_of(row, name) is not None]
    known.sort(key=lambda row: _key(value_of(row, name)), reverse=selection.sort.startswith("-"))
    return _first(known + [row for row in kept if value_of(row, name) is None], selection.top)


def _allows(condition: Condition, row: TrialRow) -> bool:
    """A state counts in the journal's words and in those that the table shows."""
    allowed = condition.allows(value_of(row, condition.name))
    if condition.name != "state" or row.state not in STATES:
        return allowed
    shown = condition.allows(STATES[row.state])
    return (allowed and shown) if condition.operator == "!=" else (allowed or shown)


def value_of(row: TrialRow, name: str) -> Any:
    """A field of the row, or one of its settings."""
    return row.params[name] if name in row.params else getattr(row, name)


def _key(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def _first(rows: Sequence[TrialRow], top: int | None) -> list[TrialRow]:
    """The first `top` ranked rows, and those that `top` does not leave out."""
    kept, places = [], 0
    for row in rows:
        places += row.rank is not None
        if top is None or places <= top or row.rank is None or row.notebook:
            kept.append(row)
    return kept


def _has_state(row: TrialRow, state: str | None) -> bool:
    if state is None:
        return row.rank is not None or row.state == "FAIL"
    return state in ("all", STATES.get(row.state))


def _check_fields(rows: Sequence[TrialRow], selection: RowFilter) -> None:
    if not rows:
        return
    known = [*(name for name in TrialRow.__slots__ if name != "params"), *rows[0].params]
    named = [("--where", each.name) for each in selection.where] + [("--sort", selection.sort.removeprefix("-"))]
    if problems := [f"{option} {shorten(name)}" for option, name in named if name not in known]:
        raise ConfigError(f"no field {', '.join(problems)}; the fields are {', '.join(known)}")
