"""Initial trials of a study, before the sampler's suggestions: the baseline and the space's `try_first`."""

from collections.abc import Mapping
from typing import Any

from core.config import TrialConfig
from core.errors import ConfigError
from tuning.space.expressions import Value, equal, show_value
from tuning.space.space import DEFAULTS, STUDY_FIELDS, Dimension, Space, midpoint

NOTEBOOK = {name: value for name, value in TrialConfig.notebook().to_dict().items() if name not in STUDY_FIELDS}


def initial_trials(space: Space, baseline: bool = True) -> tuple[dict[str, Any], ...]:
    """Return complete settings, each once: every TrialConfig field except those of the study (STUDY_FIELDS).

    Args:
        space: Source of `try_first`.
        baseline: Whether the baseline comes first. It need not be in the space.
    """
    found = [dict(NOTEBOOK)] if baseline else []
    for entry in space.try_first:
        settings = complete_settings(space, entry)
        if settings not in found:
            found.append(settings)
    return tuple(found)


def complete_settings(space: Space, entry: Mapping[str, Value]) -> dict[str, Any]:
    """Return the complete settings for partial ones.

    A missing setting that is not searched, or not active, gets the space's fixed value; an active dimension gets
    `_usual_value`.

    Args:
        space: The search space.
        entry: Values by parameter or field name.

    Raises:
        ConfigError: A parameter is unknown, or not active with these settings.
    """
    settings = {**DEFAULTS, **space.fixed, **{name: value for name, value in entry.items() if name in DEFAULTS}}

    def value_of(dimension: Dimension) -> Value:
        name = dimension.name if dimension.name in entry else dimension.field
        if name not in entry:
            return _usual_value(dimension)
        return dimension.nearest(entry[name]) if dimension.contains(entry[name]) else entry[name]  # 0.0 for 0

    values = space.resolve(value_of, settings)
    for name in entry:
        if name not in DEFAULTS and name not in values:
            shown = ", ".join(f"{name} {show_value(value)}" for name, value in values.items())
            raise ConfigError(f"{name} is not searched with {shown}; leave it out")
    return settings | {d.field: values[d.name] for d in space.dimensions if d.name in values}


def fit_settings(space: Space, entry: Mapping[str, Value]) -> dict[str, Any] | None:
    """Return the complete settings for partial ones, with values in the space.

    Numbers are clipped to their ranges. A value that is not active, or that an override fixes, is ignored.

    Args:
        space: The search space.
        entry: Values by field name.

    Returns:
        Complete settings; None if the space lacks a choice, or itself fixes a setting at another value.
    """
    fixed = {**DEFAULTS, **space.fixed}
    free = {dimension.field for dimension in space.dimensions} | space.overridden
    if not all(name in free or equal(value, fixed[name]) for name, value in entry.items()):
        return None

    def value_of(dimension: Dimension) -> Value:
        if dimension.field not in entry or (dimension.name in space.overridden and dimension.distribution.single()):
            return _usual_value(dimension)
        return dimension.nearest(entry[dimension.field])

    values = space.resolve(value_of)
    active = [dimension for dimension in space.dimensions if dimension.name in values]
    if not all(dimension.contains(values[dimension.name]) for dimension in active):
        return None
    return fixed | {dimension.field: values[dimension.name] for dimension in active}


def override_entry(entry: Mapping[str, Value], written: Space, space: Space) -> dict[str, Value]:
    """Return an entry of try_first with the values that `--set` gives or allows.

    Args:
        entry: Values by field name, in the space as it is written.
        written: The space without overrides.
        space: The space with them; numbers are moved into its overridden ranges.
    """
    fixed = {
        **DEFAULTS,
        **space.fixed,
        **{name: value for name, value in entry.items() if name not in space.overridden},
    }
    # An entry's learning rate is one for its optimizer.
    active = written.resolve(lambda d: entry.get(d.field, _usual_value(d)), {**DEFAULTS, **written.fixed, **entry})

    def value_of(dimension: Dimension) -> Value:
        if dimension.field not in entry:
            return _usual_value(dimension)
        if dimension.name not in space.overridden:
            only = [each.field for each in written.dimensions].count(dimension.field) == 1
            own = dimension.name in active or (only and dimension.name == dimension.field)
            return entry[dimension.field] if own else _usual_value(dimension)
        value = dimension.nearest(entry[dimension.field])
        return value if dimension.contains(value) else _usual_value(dimension)

    values = space.resolve(value_of, fixed)
    searched = {d.field: values[d.name] for d in space.dimensions if d.name in values}
    lost = space.overridden.union(dimension.field for dimension in written.dimensions if dimension.name in active)
    return {name: searched.get(name, value) for name, value in entry.items() if name in searched or name not in lost}


def _usual_value(dimension: Dimension) -> Value:
    """Return TrialConfig's default if the dimension contains it, else the baseline's value, else the midpoint."""
    usual = (DEFAULTS[dimension.field], NOTEBOOK[dimension.field])
    return next(filter(dimension.contains, usual), midpoint(dimension.distribution))
