"""Space: the search space of a study, between Optuna's trials and TrialConfigs."""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Self

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import Trial

from core.config import TrialConfig
from core.errors import ConfigError, CorruptionError, UserError, is_number
from core.io.text import error_summary, printable
from tuning.space.expressions import Condition, Value, equal, show_distribution, show_value

STUDY_FIELDS = ("epochs", "epoch_sentences", "patience", "metric", "precision", "seed")
"""TrialConfig fields that are the same for all trials of a study, and never part of a space."""
DEFAULTS: Mapping[str, Any] = {
    name: value for name, value in TrialConfig().to_dict().items() if name not in STUDY_FIELDS
}
"""TrialConfig field -> value, unless a space defines it."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,59}", re.ASCII)
"""Pattern of a dimension's name: short enough for a table, and safe to show."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One searched setting."""

    name: str
    """Name of the parameter, in Optuna and in the table."""
    field: str
    """TrialConfig's field; not `name` if a field has several ranges, such as learning_rate_adam."""
    distribution: BaseDistribution
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    """(name, allowed values) of earlier dimensions or of settings that are not searched; all must hold."""

    def active(self, known: Mapping[str, Value]) -> bool:
        """Return whether all conditions hold. A condition on an inactive dimension, not in `known`, does not hold."""
        return all(name in known and any(equal(known[name], v) for v in allowed) for name, allowed in self.when)

    def contains(self, value: Value) -> bool:
        """Return whether Optuna could suggest `value`."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return any(equal(value, choice) for choice in d.choices)
        fits = isinstance(value, int) or not isinstance(d, IntDistribution)
        return is_number(value) and fits and d._contains(value)

    def values(self) -> Sequence[Value]:
        """Return all possible values in order; none for a range of real numbers."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return d.choices
        return range(d.low, d.high + 1, d.step) if isinstance(d, IntDistribution) else ()

    def nearest(self, value: Value) -> Value:
        """Return the possible number that is nearest to `value`, or its equal choice; else `value`."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return next((choice for choice in d.choices if equal(value, choice)), value)
        assert isinstance(d, IntDistribution | FloatDistribution)
        if not is_number(value):
            return value
        number = min(max(value, d.low), d.high)
        if d.step is not None:
            number = min(d.low + d.step * round((number - d.low) / d.step), d.high)
        return round(number) if isinstance(d, IntDistribution) else float(number)

    def suggest(self, trial: Trial) -> Value:
        """Return a value that `trial` suggests."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return trial.suggest_categorical(self.name, d.choices)
        if isinstance(d, IntDistribution):
            return trial.suggest_int(self.name, d.low, d.high, step=d.step, log=d.log)
        assert isinstance(d, FloatDistribution)
        # For 0 on a range with steps, gp returns 7e-18: as another number, a repeated configuration would be trained.
        return self.nearest(trial.suggest_float(self.name, d.low, d.high, step=d.step, log=d.log))

    def to_dict(self) -> dict[str, Any]:
        """Return every field, for JSON."""
        return {
            "name": self.name,
            "field": self.field,
            "distribution": json.loads(distribution_to_json(self.distribution)),
            "when": [[name, list(allowed)] for name, allowed in self.when],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Dimension":
        """Return the inverse of `to_dict`; other content raises KeyError, TypeError or ValueError."""
        distribution = json_to_distribution(json.dumps(content["distribution"]))
        if json.loads(distribution_to_json(distribution)) != content["distribution"]:  # such as a rounded range
            raise ValueError("a range is not one that Optuna stores")
        return cls(
            name=content["name"],
            field=content["field"],
            distribution=distribution,
            when=tuple((name, tuple(allowed)) for name, allowed in content["when"]),
        )

    def describe(self) -> tuple[str, str, str, str]:
        """Return a row for the user: setting, values (as in a space file), condition and kind."""
        few = [(name, shown if len(shown) <= 8 else (*shown[:2], "...", shown[-1])) for name, shown in self.when]
        clauses = [Condition(name, "==" if len(allowed) == 1 else "in", allowed) for name, allowed in few]
        return self.name, show_distribution(self.distribution), " and ".join(map(str, clauses)), "searched"


def validate(
    dimensions: Sequence[Dimension], fixed: Mapping[str, Value], try_first: Sequence[Mapping[str, Value]]
) -> list[tuple[str, str]]:
    """Check a whole space.

    Returns:
        (name, message) for each broken rule: the name of a dimension or fixed setting, or "try_first[i]".
    """
    found = [(d.name, message) for d in dimensions for message in _name_problems(d)]
    dimensions = [d for d in dimensions if not any(_name_problems(d))]  # the messages below contain names
    for name, value in fixed.items():
        found += [(name, text) for text in field_problems(name, [value])]
    for index, dimension in enumerate(dimensions):
        found += [(dimension.name, text) for text in _dimension_problems(dimension, dimensions[:index], dimensions)]
    for index, right in enumerate(dimensions):
        others = (left for left in dimensions[:index] if left.field == right.field and left.name != right.name)
        if left := next((left for left in others if not _exclusive(left, right)), None):
            message = f"{left.name} and {right.name} both set {left.field} and can be active together; "
            found.append((right.name, message + "write conditions that exclude each other"))
    for index, entry in enumerate(try_first):
        place = f"try_first[{index}]"
        found += [(place, text) for name, value in entry.items() for text in field_problems(name, [value])]
    return found


def _name_problems(dimension: Dimension) -> Iterator[str]:
    for name in (dimension.name, *(name for name, _ in dimension.when)):
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            yield f"{name!r} cannot be the name of a setting; choose lower-case letters, digits and _"


def unknown_setting(name: str, parameters: Iterable[str] = ()) -> str:
    """Return a message that `name` is no setting, with a similar field of TrialConfig or parameter."""
    known = list(dict.fromkeys([*DEFAULTS, *parameters]))
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
    return f"there is no setting {name!r}; {hint}"


def field_problems(name: str, values: Sequence[Any]) -> Iterator[str]:
    """Yield why a setting does not exist, or cannot have some of the values."""
    if name in STUDY_FIELDS:
        yield f"{name} is the same for all trials of a study and not part of a space; pass it as an option of run"
    elif name not in DEFAULTS:
        yield unknown_setting(name)
    else:
        for value in values:
            try:
                TrialConfig(**{name: value})
            except ConfigError as error:
                yield str(error)


def _dimension_problems(
    dimension: Dimension, earlier: Sequence[Dimension], dimensions: Sequence[Dimension]
) -> Iterator[str]:
    distribution = dimension.distribution
    assert isinstance(distribution, CategoricalDistribution | FloatDistribution | IntDistribution)
    if isinstance(distribution, CategoricalDistribution):
        values: list[Any] = list(distribution.choices)
    else:
        # TrialConfig allows only intervals, so it suffices to check the ends.
        values = sorted({distribution.low, distribution.high})
    yield from field_problems(dimension.field, values)
    if dimension.name != dimension.field and dimension.name in DEFAULTS:
        yield f"{dimension.name} is another setting and cannot name a range of {dimension.field!r}; choose another name"
    if any(dimension.name == other.name for other in earlier):
        yield f"{dimension.name} occurs twice in the space; remove one"
    names = {other.name for other in earlier} | (set(DEFAULTS) - {other.name for other in dimensions})
    for name, _ in dimension.when:
        if name not in names:
            yield f"{dimension.name} depends on {name}, which is no earlier setting; fix its condition"


def _exclusive(left: Dimension, right: Dimension) -> bool:
    """Return whether two dimensions are never active together, because a setting would need two values."""
    return any(
        name == other and not any(equal(a, b) for a in allowed for b in allowed_other)
        for name, allowed in left.when
        for other, allowed_other in right.when
    )


def midpoint(distribution: BaseDistribution) -> Value:
    """Return the middle of a range (of its logarithm on a log scale, on its grid with steps), or the first choice."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    value = math.sqrt(low * high) if distribution.log else (low + high) / 2
    if step is not None:
        value = min(low + step * round((value - low) / step), high)  # 0.27 + 0.03 is above 0.3
    return int(value) if isinstance(distribution, IntDistribution) else value


@dataclass(frozen=True, kw_only=True)
class Space:
    """Dimensions in order, and everything that is not searched.

    Raises:
        ConfigError: A dimension or fixed setting breaks a rule; the message names all of them.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    """TrialConfig fields that differ from its defaults if they are not searched or not active."""
    try_first: tuple[Mapping[str, Value], ...] = ()
    """Values of TrialConfig fields to try before the sampler's suggestions; an entry may be partial."""
    overridden: frozenset[str] = frozenset()
    """Names that `--set` gives, and those of RANDOM_VECTORS. First trials take their fixed values."""

    def __post_init__(self) -> None:
        problems = validate(self.dimensions, self.fixed, self.try_first)
        if problems:
            raise ConfigError("; ".join(message for _, message in problems))

    @property
    def searched_fields(self) -> list[str]:
        """The TrialConfig fields of the dimensions, in order, each once."""
        return list(dict.fromkeys(dimension.field for dimension in self.dimensions))

    def ordered_as(self, other: Self) -> Self:
        """Return the space in the order and with the numbers (5 for 5.0) of `other` if they are equal.

        Draws follow the order, and the digest of the first trials the numbers.
        """
        same = self.equals_in_any_order(other)
        return dataclasses.replace(self, dimensions=other.dimensions, fixed=other.fixed) if same else self

    def equals_in_any_order(self, other: "Space") -> bool:
        """Return whether the dimensions and the fixed settings are equal, in whatever order."""
        one, two = ({each.name: each for each in space.dimensions} for space in (self, other))
        return one == two and dict(self.fixed) == dict(other.fixed)

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """Return the parameters of the active dimensions that `trial` suggests, in order."""
        return self.resolve(lambda dimension: dimension.suggest(trial))

    def to_config(self, params: Mapping[str, Value], **changes: Any) -> TrialConfig:
        """Return the configuration of `params`, one for each active dimension, with `changes`.

        Raises:
            ConfigError: A value breaks TrialConfig's rules.
        """
        searched = {d.field: params[d.name] for d in self.dimensions if d.name in params}
        settings: dict[str, Any] = {**self.fixed, **searched, **changes}
        return TrialConfig(**settings)

    def to_params(self, config: TrialConfig) -> dict[str, Value]:
        """Return the values of the active dimensions in `config`, except those outside their distribution."""
        settings = config.to_dict()
        values = self.resolve(lambda dimension: settings[dimension.field], settings)
        return {d.name: values[d.name] for d in self.dimensions if d.name in values and d.contains(values[d.name])}

    def distributions(self, params: Mapping[str, Value]) -> dict[str, BaseDistribution]:
        """Return the distributions of the dimensions with a value in `params`."""
        return {d.name: d.distribution for d in self.dimensions if d.name in params}

    def resolve(
        self, value_of: Callable[[Dimension], Value], settings: Mapping[str, Value] | None = None
    ) -> dict[str, Value]:
        """Return a value for each active dimension, in order.

        Args:
            value_of: Called with each active dimension; returns its value.
            settings: TrialConfig fields for conditions on settings that are not searched; None for the fixed ones.

        Returns:
            Parameter name -> value.
        """
        searched = {dimension.name for dimension in self.dimensions}
        outside = {**DEFAULTS, **self.fixed} if settings is None else settings
        known = {name: value for name, value in outside.items() if name not in searched}
        values: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.active(known):
                values[dimension.name] = known[dimension.name] = value_of(dimension)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return the content for JSON, with sorted names: equal spaces have equal texts."""
        content = {
            "name": self.name,
            "dimensions": [dimension.to_dict() for dimension in self.dimensions],
            "fixed": dict(self.fixed),
            "try_first": [dict(entry) for entry in self.try_first],
        }
        ordered: dict[str, Any] = json.loads(json.dumps(content, sort_keys=True, allow_nan=False))
        return ordered

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the inverse of `to_dict`.

        Raises:
            CorruptionError: `to_dict` did not return the content.
            UserError: Another version of sentune has written the content.
        """
        try:
            return cls(
                name=content["name"],
                dimensions=tuple(Dimension.from_dict(each) for each in content["dimensions"]),
                fixed=dict(content["fixed"]),
                try_first=tuple(dict(entry) for entry in content["try_first"]),
            )
        except ConfigError as error:
            raise UserError(
                f"another version of sentune has written the study's search space ({error}); install the version that "
                "made the study"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, Warning) as error:
            reason = printable(error_summary(error, 100))
            raise CorruptionError(
                f"the study's search space cannot be read ({reason}); restore a copy of the journal, or start a new "
                "study with another --name"
            ) from error

    def describe(self) -> list[tuple[str, str, str, str]]:
        """Return rows for the user: setting, values, condition, and as kind searched, fixed or tried first."""
        rows = [dimension.describe() for dimension in self.dimensions]
        rows += [(name, show_value(value), "", "fixed") for name, value in sorted(self.fixed.items())]
        for number, entry in enumerate(self.try_first, 1):
            values = ", ".join(f"{name}: {show_value(value)}" for name, value in entry.items())
            rows.append((f"try_first {number}", values, "", "tried first"))
        return rows
