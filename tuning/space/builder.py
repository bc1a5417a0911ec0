"""Build a search space: entries as they were written, in layers, and the resulting Space."""

import dataclasses
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

from optuna.distributions import BaseDistribution

from core.config import changed_settings
from core.errors import ConfigError
from tuning.space.expressions import Condition, Value, choice, show_value
from tuning.space.initial_trials import complete_settings
from tuning.space.space import DEFAULTS, STUDY_FIELDS, Dimension, Space, field_problems, unknown_setting, validate

Content: TypeAlias = BaseDistribution | Value

MAX_VALUES = 10_000
"""Maximum number of values that a condition allows; they are stored as a list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingEntry:
    """One setting as it was written."""

    name: str
    content: Content
    """A range, or the value at which the setting is fixed."""
    place: str
    """Location of the entry for messages: `space.yaml:7`."""
    field: str | None = None
    """TrialConfig's field; None: as in the layer below, else `name`."""
    when: tuple[Condition, ...] | None = None
    """Conditions; None: as in the layer below, else none."""


def merge(below: Mapping[str, SettingEntry], layer: Sequence[SettingEntry]) -> dict[str, SettingEntry]:
    """Return the entries of `below`, replaced or extended by those of `layer`.

    An entry of the same name keeps the field and the condition that it does not mention. A new entry for a field with
    several ranges below (learning_rate over learning_rate_adam and others), or one that fixes it, replaces all of them.
    """
    merged = dict(below)
    names = {entry.name for entry in layer}
    for entry in layer:
        same = below.get(entry.name)
        new = dataclasses.replace(entry, field=entry.field or same.field) if same else entry
        fixes = _distribution(new) is None
        for old in below.values() if fixes or same is None else ():
            if old.field == entry.name and old.name not in names:
                del merged[old.name]
        when = same.when if same and entry.when is None and not fixes else entry.when
        merged[entry.name] = dataclasses.replace(new, when=when)
    return merged


def build(
    name: str, entries: Mapping[str, SettingEntry], tries: Sequence[tuple[str, Mapping[str, Value]]], own: Set[str]
) -> Space:
    """Return the Space.

    Args:
        name: Name of the space.
        entries: All layers, merged.
        tries: First trials, as (location, values by parameter or field name).
        own: Names of the entries whose conditions must be satisfiable. An entry of a lower layer whose condition cannot
            hold, because a higher layer has fixed a setting, is left out.

    Raises:
        ConfigError: Rules are broken; the message names all of them with their locations.
    """
    distributions = {entry.name: _distribution(entry) for entry in entries.values()}
    fixed: dict[str, Any] = {e.name: e.content for e in entries.values() if distributions[e.name] is None}
    ordered, problems = _in_order([entry for entry in entries.values() if entry.name not in fixed])
    dimensions: list[Dimension] = []
    left_out: set[str] = set()
    for entry in ordered:
        when, unusable, never = _when(entry, dimensions, fixed, left_out)
        problems += [(entry.name, message) for message in (*unusable, *(never if entry.name in own else ()))]
        distribution = distributions[entry.name]
        if distribution is not None and all(allowed for _, allowed in when):
            field = entry.field or entry.name
            dimensions.append(Dimension(name=entry.name, field=field, distribution=distribution, when=when))
        else:
            left_out.add(entry.name)
    problems += validate(dimensions, fixed, ())
    if problems:
        lines = [f"{e.place}: {message}" for e in entries.values() for broken, message in problems if broken == e.name]
        raise ConfigError("; ".join(lines))
    space = Space(name=name, dimensions=tuple(dimensions), fixed=changed_settings(fixed))
    return dataclasses.replace(space, try_first=_tries(space, tries))


def _distribution(entry: SettingEntry) -> BaseDistribution | None:
    """Return the distribution of an entry; a value with a condition or besides other ranges is a choice of one."""
    if isinstance(entry.content, BaseDistribution):
        return entry.content
    return choice([entry.content]) if entry.when or entry.field not in (None, entry.name) else None


def _in_order(entries: Sequence[SettingEntry]) -> tuple[list[SettingEntry], list[tuple[str, str]]]:
    """Order each entry after those whose name or field its condition names, and otherwise as they were written."""
    ordered: list[SettingEntry] = []
    waiting = list(entries)
    while waiting:
        names = {name for entry in waiting for name in (entry.name, entry.field)}
        ready = [e for e in waiting if not any(clause.name in names for clause in e.when or ())]
        if not ready:
            cycle = ", ".join(entry.name for entry in waiting)
            message = f"the conditions of {cycle} depend on one another; remove one of them"
            return ordered, [(waiting[0].name, message)]
        ordered.append(ready[0])
        waiting.remove(ready[0])
    return ordered, []


def _when(
    entry: SettingEntry, dimensions: Sequence[Dimension], fixed: Mapping[str, Value], left_out: Set[str]
) -> tuple[tuple[tuple[str, tuple[Value, ...]], ...], list[str], list[str]]:
    """Return the clauses of an entry as (name, allowed values), and the problems of two kinds.

    The first are those of clauses that cannot be used, the others those of clauses that can never hold.
    """
    allowed: dict[str, tuple[Value, ...]] = {}
    unusable, never = list[str](), list[str]()
    for clause in entry.when or ():
        values = _possible(clause.name, dimensions, fixed, left_out)
        if isinstance(values, str):
            unusable.append(f"the condition {clause} cannot be used: {values}")
            values = ()
        elif wrong := _impossible(clause, dimensions):
            unusable += [f"the condition {clause} cannot be used: {text}" for text in wrong]
        elif not any(clause.allows(value) for value in values):
            shown = ", ".join(show_value(value) for value in values[:8]) + (", ..." if len(values) > 8 else "")
            never.append(
                f"the condition {clause} can never hold: {clause.name} is {shown or 'left out'}; leave this setting "
                "out, or write another condition in a space file"
            )
        before = allowed.get(clause.name, values)
        allowed[clause.name] = tuple(value for value in before if clause.allows(value))
        if before and not allowed[clause.name] and not never and not unusable:
            never.append(f"the conditions on {clause.name} can never hold together; remove one of them")
    return tuple(allowed.items()), unusable, never


def _impossible(clause: Condition, dimensions: Sequence[Dimension]) -> list[str]:
    """Return why a value that the clause compares can be none of the setting, such as a misspelt word."""
    field = next((dimension.field for dimension in dimensions if dimension.name == clause.name), clause.name)
    compared = clause.operator in ("==", "!=", "in") and field in DEFAULTS
    return list(field_problems(field, clause.values)) if compared else []


def _possible(
    name: str, dimensions: Sequence[Dimension], fixed: Mapping[str, Value], left_out: Set[str]
) -> tuple[Value, ...] | str:
    """Return all possible values of a setting, none if it is left out, or the reason why they cannot be listed."""
    for dimension in dimensions:
        if dimension.name == name:
            values = dimension.values()
            if 0 < len(values) <= MAX_VALUES:
                return tuple(values)
            return f"{name} has too many values; write a choice, or a short range of whole numbers"
    ranges = [dimension.name for dimension in dimensions if dimension.field == name]
    if ranges:
        return f"{name} has several ranges; name one of {', '.join(ranges)}"
    if name in left_out:
        return ()
    if name in fixed or name in DEFAULTS:
        return (fixed.get(name, DEFAULTS.get(name)),)
    return unknown_setting(name, [dimension.name for dimension in dimensions])


def _tries(space: Space, tries: Sequence[tuple[str, Mapping[str, Value]]]) -> tuple[dict[str, Value], ...]:
    """Check the first trials, and name values by field: a parameter disappears if its setting is fixed later."""
    fields = {dimension.name: dimension.field for dimension in space.dimensions}
    found: list[dict[str, Value]] = []
    problems: list[str] = []
    for place, entry in tries:
        strange = [name for name in entry if name not in (*DEFAULTS, *fields, *STUDY_FIELDS)]
        if strange:
            problems += [f"{place}: {unknown_setting(name, fields)}" for name in strange]
            continue
        settings = {fields.get(name, name): value for name, value in entry.items()}
        try:
            dataclasses.replace(space, try_first=(settings,))
            complete_settings(space, entry)
        except ConfigError as error:
            problems.append(f"{place}: {error}")
        found.append(settings)
    if problems:
        raise ConfigError("; ".join(problems))
    return tuple(found)
