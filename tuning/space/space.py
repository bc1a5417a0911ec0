"""Space: what a study searches. It talks to Optuna trials on one side and makes TrialConfigs on the other."""

import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from core.config import TrialConfig
from core.errors import ConfigError, CorruptionError
from tuning.space.dimension import DEFAULTS, Dimension
from tuning.space.space_rules import problems_in
from tuning.space.values import Value, show_value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Space:
    """Dimensions in order, and everything that is not searched.

    Raises:
        ConfigError: naming every dimension or fixed setting that breaks a rule.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    """TrialConfig fields that differ from its defaults, where they are not searched or not active."""
    try_first: tuple[Mapping[str, Value], ...] = ()
    """TrialConfig fields to try before the sampler's own; an entry may be partial."""

    def __post_init__(self) -> None:
        problems = problems_in(self.dimensions, self.fixed, self.try_first)
        if problems:
            raise ConfigError("; ".join(message for _, message in problems))

    def suggest(self, trial: "Trial") -> dict[str, Value]:
        """Ask `trial` for the parameters of the active dimensions, in order."""
        return self.walk(lambda dimension: dimension.suggest(trial))

    def config(self, params: Mapping[str, Value], **changes: Any) -> TrialConfig:
        """The configuration that `params`, one for each active dimension, stand for, with `changes` on top.

        Raises:
            ConfigError: a parameter is missing or not active, or a value breaks TrialConfig's rules.
        """

        def given(dimension: Dimension) -> Value:
            if dimension.name not in params:
                raise ConfigError(f"space {self.name!r} needs a value for {dimension.name}, got {dict(params)}")
            return params[dimension.name]

        values = self.walk(given)
        extra = sorted(set(params) - set(values))
        if extra:
            raise ConfigError(f"space {self.name!r} does not search {', '.join(extra)} where {values}")
        searched = {d.field: values[d.name] for d in self.dimensions if d.name in values}
        settings: dict[str, Any] = {**self.fixed, **searched, **changes}
        return TrialConfig(**settings)

    def params_of(self, config: TrialConfig) -> dict[str, Value]:
        """The values that `config` gives to the active dimensions, those outside their distribution left out."""
        settings = config.to_dict()
        values = self.walk(lambda dimension: settings[dimension.field], settings)
        return {d.name: values[d.name] for d in self.dimensions if d.name in values and d.contains(values[d.name])}

    def distributions(self, params: Mapping[str, Value]) -> dict[str, "BaseDistribution"]:
        """The distributions of the active dimensions that `params` has a value for."""
        # A dimension without a value decides no condition: NaN equals nothing.
        values = self.walk(lambda dimension: params.get(dimension.name, math.nan))
        return {d.name: d.distribution for d in self.dimensions if d.name in values and d.name in params}

    def walk(
        self, value_of: Callable[[Dimension], Value], settings: Mapping[str, Value] | None = None
    ) -> dict[str, Value]:
        """Take a value for each active dimension, in order.

        Args:
            value_of: asked for active dimensions only.
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
            CorruptionError: the text is not one that `to_json` wrote.
            ConfigError: the space breaks a rule of this version.
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
        fixed = [
            {"setting": name, "values": show_value(value), "when": "", "kind": "fixed"}
            for name, value in sorted(self.fixed.items())
        ]
        tried = [
            {
                "setting": f"trial {number}",
                "values": ", ".join(f"{name}: {show_value(value)}" for name, value in entry.items()),
                "when": "",
                "kind": "tried first",
            }
            for number, entry in enumerate(self.try_first, 1)
        ]
        return [*(dimension.describe() for dimension in self.dimensions), *fixed, *tried]
