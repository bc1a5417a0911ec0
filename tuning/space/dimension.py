"""Dimension: one searched setting, its Optuna distribution and the conditions under which it is searched."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.config import TrialConfig
from tuning.space.conditions import Condition
from tuning.space.expressions import show_distribution
from tuning.space.values import Value, is_number, same

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

RUN_FIELDS = ("epochs", "patience", "precision", "seed")
"""TrialConfig fields that belong to the run: the same for all its trials, never part of a space."""

DEFAULTS: Mapping[str, Any] = {name: value for name, value in TrialConfig().to_dict().items() if name not in RUN_FIELDS}
"""TrialConfig field -> value, where a space says nothing."""


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
        return all(name in known and any(same(known[name], v) for v in allowed) for name, allowed in self.when)

    def contains(self, value: Value) -> bool:
        """Whether Optuna could suggest `value`."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return any(same(value, choice) for choice in distribution.choices)
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        if not (is_number(value) and distribution.low <= value <= distribution.high):
            return False
        if isinstance(distribution, IntDistribution) and not isinstance(value, int):
            return False
        steps = (value - distribution.low) / distribution.step if distribution.step else 0
        return abs(steps - round(steps)) < 1e-8

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
        return {
            "setting": self.name,
            "values": show_distribution(self.distribution),
            "when": " and ".join(map(str, clauses)),
            "kind": "searched",
        }


def middle(distribution: "BaseDistribution") -> Value:
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
