"""What must hold for the dimensions and fixed settings of a space; every broken rule is found at once."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from core.config import TrialConfig
from core.errors import ConfigError
from tuning.space.dimension import DEFAULTS, RUN_FIELDS, Dimension
from tuning.space.values import Value, same

NAME = re.compile(r"[a-z][a-z0-9_]{0,59}", re.ASCII)
"""Of a dimension: short enough for a table, and safe to show."""


def problems_in(
    dimensions: Sequence[Dimension], fixed: Mapping[str, Value], try_first: Sequence[Mapping[str, Value]]
) -> list[tuple[str, str]]:
    """Check a whole space.

    Returns:
        (name, message) for each broken rule: the name of a dimension or fixed setting, or "try_first[i]".
    """
    found = [(d.name, message) for d in dimensions for message in _name_problems(d)]
    dimensions = [d for d in dimensions if not any(_name_problems(d))]  # the messages below show names as they are
    for name, value in fixed.items():
        found += [(name, text) for text in _field_problems(name, [value])]
    for index, dimension in enumerate(dimensions):
        found += [(dimension.name, text) for text in _dimension_problems(dimension, dimensions[:index], dimensions)]
    for left, right in itertools.combinations(dimensions, 2):
        if left.field == right.field and left.name != right.name and not _exclusive(left, right):
            message = f"{left.name} and {right.name} both set {left.field} and can be active together; "
            found.append((right.name, message + "give them conditions that exclude each other"))
    for index, entry in enumerate(try_first):
        place = f"try_first[{index}]"
        found += [(place, text) for name, value in entry.items() for text in _field_problems(name, [value])]
    return found


def _name_problems(dimension: Dimension) -> Iterator[str]:
    for name in (dimension.name, *(name for name, _ in dimension.when)):
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            yield f"{name!r} cannot be the name of a setting; use small letters, digits and _"


def unknown(name: str, known: Sequence[str]) -> str:
    """Say that `name` is not a setting, and which one may have been meant."""
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"there is no setting {name!r}; {hint}"


def _field_problems(name: str, values: Sequence[Any]) -> Iterator[str]:
    if name in RUN_FIELDS:
        yield f"{name} is the same for all trials of a study and not part of a space; give it to the run"
    elif name not in DEFAULTS:
        yield unknown(name, tuple(DEFAULTS))
    else:
        for value in values:
            try:
                TrialConfig(**{name: value})
            except ConfigError as error:
                yield str(error)


def _dimension_problems(
    dimension: Dimension, earlier: Sequence[Dimension], dimensions: Sequence[Dimension]
) -> Iterator[str]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    distribution = dimension.distribution
    assert isinstance(distribution, CategoricalDistribution | FloatDistribution | IntDistribution)
    if isinstance(distribution, CategoricalDistribution):
        values: list[Any] = list(distribution.choices)
    else:
        # TrialConfig allows intervals only, so the ends speak for what lies between them.
        values = sorted({distribution.low, distribution.high})
    yield from _field_problems(dimension.field, values)
    if dimension.name != dimension.field and dimension.name in DEFAULTS:
        yield f"{dimension.name} is a setting of its own and cannot name a range of {dimension.field!r}"
    if any(dimension.name == other.name for other in earlier):
        yield f"{dimension.name} stands twice in the space"
    names = {other.name for other in earlier} | (set(DEFAULTS) - {other.name for other in dimensions})
    for name, _ in dimension.when:
        if name not in names:
            yield f"{dimension.name} depends on {name}, which is no setting before it"


def _exclusive(left: Dimension, right: Dimension) -> bool:
    """Whether some setting would need two values at once for both to be active."""
    return any(
        name == other and not any(same(a, b) for a in allowed for b in allowed_other)
        for name, allowed in left.when
        for other, allowed_other in right.when
    )
