"""Selection and order of the rows of a study's table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.config import FULL_NAMES, SHORT_NAMES
from core.errors import ConfigError, check_rules, in_range, is_number
from core.io.text import quoted
from tuning.analysis.ranking import STATES, TrialRow
from tuning.space.expressions import Condition, parse_value

_CLAUSE = re.compile(r"\s*([a-z_][\w.]*)\s*(==?|!=|<=|>=|<|>)\s*([^\s,()=<>!]*)\s*", re.ASCII)
MAX_ROWS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFilter:
    """Selection of rows; by default all ranked and failed ones."""

    state: str | None = None
    """State of the trials: done, stopped, failed, paused, running, or all. None: ranked and failed."""
    where: tuple[Condition, ...] = ()
    """Conditions that must all hold."""
    sort: str = "rank"
    """Field to sort by, ascending; descending with a minus before it. Rows without a value come last."""
    top: int | None = None
    """Maximum number of ranked rows. Rows without a rank and the baseline are always kept."""

    def __post_init__(self) -> None:
        states = (*STATES.values(), "all")
        rules = {
            "--top": in_range(self.top, 1, MAX_ROWS),
            "--state": (self.state, f"one of {', '.join(states)}", self.state in (None, *states)),
        }
        check_rules(rules)


def parse_where(text: str) -> Condition:
    """Parse `n_layers=1` or `val_accuracy >= 0.7`: a field, one of = != < <= > >=, and a plain value.

    The text is never evaluated.

    Raises:
        ConfigError: The text cannot be read.
    """
    match = _CLAUSE.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"cannot read --where {quoted(text)}; write a field, one of = != < <= > >= and a value, such as n_layers=1"
        )
    name, sign, said = match.groups()
    booleans = {"yes": True, "no": False}  # as the table shows them
    value = booleans[said.lower()] if said.lower() in booleans else parse_value(said)
    if sign in ("<", "<=", ">", ">=") and not is_number(value):
        raise ConfigError(f"cannot read --where {quoted(text)}; write a number after {sign}")
    return Condition(name, "==" if sign == "=" else sign, (value,))


def filter_rows(rows: Sequence[TrialRow], selection: RowFilter) -> list[TrialRow]:
    """Return the selected rows, in the selected order.

    Args:
        rows: Result of tuning.analysis.ranking.trial_rows.
        selection: Which rows to keep, and their order.

    Raises:
        ConfigError: A field does not exist; the message names the existing ones.
    """
    name = selection.sort.removeprefix("-")
    if rows:
        fields = [*(field for field in TrialRow.__slots__ if field != "params"), *rows[0].params]
        short = [SHORT_NAMES[field] for field in rows[0].params if field in SHORT_NAMES]
        named = [("--where", each.name) for each in selection.where] + [("--sort", name)]
        if problems := [f"{option} {quoted(field)}" for option, field in named if field not in (*fields, *short)]:
            raise ConfigError(f"no field {', '.join(problems)}; choose from {', '.join(fields)}")
    kept = [row for row in rows if _has_state(row, selection.state) and all(_holds(c, row) for c in selection.where)]
    values = [(isinstance(value, str), value, row) for row in kept if (value := value_of(row, name)) is not None]
    values.sort(key=lambda each: each[:2], reverse=selection.sort.startswith("-"))
    ordered = [*(row for *_, row in values), *(row for row in kept if value_of(row, name) is None)]
    if selection.top is None:
        return ordered
    top = {row.trial for row in [row for row in ordered if row.rank is not None][: selection.top]}
    return [row for row in ordered if row.rank is None or row.baseline or row.trial in top]


def _has_state(row: TrialRow, state: str | None) -> bool:
    if state is None:
        return row.rank is not None or row.state == "FAIL"
    return state in ("all", STATES[row.state])


def _holds(condition: Condition, row: TrialRow) -> bool:
    """Return whether a condition holds; a state may have the journal's name or the table's."""
    holds = condition.allows(value_of(row, condition.name))
    if condition.name != "state":
        return holds
    shown = condition.allows(STATES[row.state])
    return (holds and shown) if condition.operator == "!=" else (holds or shown)


def value_of(row: TrialRow, name: str) -> Any:
    """Return a field of the row, or one of its settings, also by its short name if no field has this name."""
    name = name if name in TrialRow.__slots__ else FULL_NAMES.get(name, name)
    return row.params[name] if name in row.params else getattr(row, name)
