"""Space: what a study searches. It talks to Optuna trials on one side and makes TrialConfigs on the other."""

import itertools
import json
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self

from core.config import TrialConfig
from core.errors import ConfigError, CorruptionError
from tuning.space.expressions import Condition, Value, equal, is_number, show_distribution, show_value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

STUDY_FIELDS = ("epochs", "epoch_sentences", "patience", "metric", "precision", "seed")
"""TrialConfig fields that belong to the run: the same for all its trials, never part of a space."""
DEFAULTS: Mapping[str, Any] = {
    name: value for name, value in TrialConfig().to_dict().items() if name not in STUDY_FIELDS
}
"""TrialConfig field -> value, where a space says nothing."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,59}", re.ASCII)
"""Of a dimension: short enough for a table, and safe to show."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One searched setting."""

    name: str
    """Of the parameter, in Optuna and in the table."""
    field: str
    """TrialConfig's field; not `name` where a field has several ranges, as learning_rate_adam has."""
    distribution: "BaseDistribution"
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    """(name, allowed values) of earlier dimensions or settings that are not searched; active where all hold."""

    def active(self, known: Mapping[str, Value]) -> bool:
        """Whether all conditions hold. One on a dimension that is not active, so not `known`, does not."""
        return all(name in known and any(equal(known[name], v) for v in allowed) for name, allowed in self.when)

    def contains(self, value: Value) -> bool:
        """Whether Optuna could suggest `value`."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return any(equal(value, choice) for choice in distribution.choices)
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        if not (is_number(value) and distribution.low <= value <= distribution.high):
            return False
        if isinstance(distribution, IntDistribution) and not isinstance(value, int):
            return False
        steps = (value - distribution.low) / distribution.step if distribution.step else 0
        return abs(steps - round(steps)) < 1e-8

    def nearest(self, value: Value) -> Value:
        """Return the number that Optuna could suggest nearest to `value`, or its equal choice; else `value`."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

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

    def suggest(self, trial: "Trial") -> Value:
        """Ask `trial` for a value."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return trial.suggest_categorical(self.name, d.choices)
        if isinstance(d, IntDistribution):
            return trial.suggest_int(self.name, d.low, d.high, step=d.step, log=d.log)
        assert isinstance(d, FloatDistribution)
        return trial.suggest_float(self.name, d.low, d.high, step=d.step, log=d.log)

    def to_dict(self) -> dict[str, Any]:
        """Every field, as JSON can hold it."""
        from optuna.distributions import distribution_to_json

        return {
            "name": self.name,
            "field": self.field,
            "distribution": json.loads(distribution_to_json(self.distribution)),
            "when": [[name, list(allowed)] for name, allowed in self.when],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Dimension":
        """The inverse of `to_dict`; what it did not write raises KeyError, TypeError or ValueError."""
        from optuna.distributions import json_to_distribution

        return cls(
            name=content["name"],
            field=content["field"],
            distribution=json_to_distribution(json.dumps(content["distribution"])),
            when=tuple((name, tuple(allowed)) for name, allowed in content["when"]),
        )

    def describe(self) -> dict[str, str]:
        """One row for people: `setting`, `values` (as a space file would say it), `when` and `kind`."""
        clauses = [Condition(name, "==" if len(allowed) == 1 else "in", allowed) for name, allowed in self.when]
        return _row(self.name, show_distribution(self.distribution), "searched", when=" and ".join(map(str, clauses)))


def _row(setting: str, values: str, kind: str, when: str = "") -> dict[str, str]:
    return {"setting": setting, "values": values, "when": when, "kind": kind}


def validate(
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


def unknown_setting(name: str, parameters: Iterable[str] = ()) -> str:
    """Say that `name` is not a setting, and which field of TrialConfig or which parameter may have been meant."""
    known = list(dict.fromkeys([*DEFAULTS, *parameters]))
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"there is no setting {name!r}; {hint}"


def _field_problems(name: str, values: Sequence[Any]) -> Iterator[str]:
    if name in STUDY_FIELDS:
        yield f"{name} is the same for all trials of a study and not part of a space; give it to the run"
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
        name == other and not any(equal(a, b) for a in allowed for b in allowed_other)
        for name, allowed in left.when
        for other, allowed_other in right.when
    )


def midpoint(distribution: "BaseDistribution") -> Value:
    """The middle of a range, of its logarithm where it is one, and on its grid where it has steps; the first choice."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    value = math.sqrt(low * high) if distribution.log else (low + high) / 2
    if step is not None:
        value = low + step * round((value - low) / step)
    return int(value) if isinstance(distribution, IntDistribution) else value


@dataclass(frozen=True, kw_only=True)
class Space:
    """Dimensions in order, and everything that is not searched.

    Raises:
        ConfigError: NAMING every dimension or fixed setting that breaks a rule.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    """TrialConfig fields that differ from its defaults, where they are not searched or not active."""
    try_first: tuple[Mapping[str, Value], ...] = ()
    """TrialConfig fields to try before the sampler's own; an entry may be partial."""

    def __post_init__(self) -> None:
        problems = validate(self.dimensions, self.fixed, self.try_first)
        if problems:
            raise ConfigError("; ".join(message for _, message in problems))

    def suggest(self, trial: "Trial") -> dict[str, Value]:
        """Ask `trial` for the parameters of the active dimensions, in order."""
        return self.resolve(lambda dimension: dimension.suggest(trial))

    def to_config(self, params: Mapping[str, Value], **changes: Any) -> TrialConfig:
        """The configuration that `params`, one for each active dimension, stand for, with `changes` on top.

        Raises:
            ConfigError: A parameter is missing or not active, or a value breaks TrialConfig's rules.
        """

        def given(dimension: Dimension) -> Value:
            if dimension.name not in params:
                raise ConfigError(f"space {self.name!r} needs a value for {dimension.name}, got {dict(params)}")
            return params[dimension.name]

        values = self.resolve(given)
        extra = sorted(set(params) - set(values))
        if extra:
            raise ConfigError(f"space {self.name!r} does not search {', '.join(extra)} where {values}")
        searched = {d.field: values[d.name] for d in self.dimensions if d.name in values}
        settings: dict[str, Any] = {**self.fixed, **searched, **changes}
        return TrialConfig(**settings)

    def to_params(self, config: TrialConfig) -> dict[str, Value]:
        """The values that `config` gives to the active dimensions, those outside their distribution left out."""
        settings = config.to_dict()
        values = self.resolve(lambda dimension: settings[dimension.field], settings)
        return {d.name: values[d.name] for d in self.dimensions if d.name in values and d.contains(values[d.name])}

    def distributions(self, params: Mapping[str, Value]) -> dict[str, "BaseDistribution"]:
        """The distributions of the active dimensions that `params` has a value for."""
        # A dimension without a value decides no condition: NaN equals nothing.
        values = self.resolve(lambda dimension: params.get(dimension.name, math.nan))
        return {d.name: d.distribution for d in self.dimensions if d.name in values and d.name in params}

    def resolve(
        self, value_of: Callable[[Dimension], Value], settings: Mapping[str, Value] | None = None
    ) -> dict[str, Value]:
        """Take a value for each active dimension, in order.

        Args:
            value_of: Asked for active dimensions only.
            settings: TrialConfig fields that decide conditions on what is not searched; the fixed ones if None.

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

    def to_json(self) -> str:
        """One canonical line: equal spaces give equal text."""
        content = {
            "name": self.name,
            "dimensions": [dimension.to_dict() for dimension in self.dimensions],
            "fixed": dict(self.fixed),
            "try_first": [dict(entry) for entry in self.try_first],
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`.

        Raises:
            CorruptionError: The text is not one that `to_json` wrote.
            ConfigError: The space breaks a rule of this version.
        """
        try:
            with warnings.catch_warnings(action="error"):  # Optuna warns where it would mend what we did not write
                content = json.loads(text)
                return cls(
                    name=content["name"],
                    dimensions=tuple(Dimension.from_dict(each) for each in content["dimensions"]),
                    fixed=dict(content["fixed"]),
                    try_first=tuple(dict(entry) for entry in content["try_first"]),
                )
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, Warning) as error:
            raise CorruptionError(f"the study's search space cannot be read ({error!r}); start a new study") from error

    def describe(self) -> list[dict[str, str]]:
        """Rows for people: `setting`, `values`, `when`, and as `kind` searched, fixed or tried first."""
        rows = [dimension.describe() for dimension in self.dimensions]
        rows += [_row(name, show_value(value), "fixed") for name, value in sorted(self.fixed.items())]
        for number, entry in enumerate(self.try_first, 1):
            values = ", ".join(f"{name}: {show_value(value)}" for name, value in entry.items())
            rows.append(_row(f"trial {number}", values, "tried first"))
        return rows
