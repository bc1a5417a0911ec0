"""When a setting is searched: `n_layers > 1`, `optimizer == adam and not freeze_embedding`, `batch_size in (16, 32)`.

Conditions are read by hand and never evaluated as code.
"""

import operator
import re
from dataclasses import dataclass

from core.errors import ConfigError
from tuning.space.values import Value, is_number, parse_value, same, shorten, show_value

_CLAUSES = (
    re.compile(r"(?P<negated>not\s+)?(?P<name>[a-z_]\w*)", re.ASCII),
    re.compile(r"(?P<name>[a-z_]\w*)\s*(?P<operator>==|!=|<=|>=|<|>)\s*(?P<values>[^\s,=<>()]+)", re.ASCII),
    re.compile(r"(?P<name>[a-z_]\w*)\s+(?P<operator>in)\s*\((?P<values>[^()]*)\)", re.ASCII),
)
_ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_WHEN_FORMS = "n_layers > 1, optimizer == adam, batch_size in (16, 32), not freeze_embedding; join them with `and`"


@dataclass(frozen=True, slots=True)
class Condition:
    """One clause of a `when`: the setting `name` compared with `values`."""

    name: str
    operator: str
    """One of == != in < <= > >=."""
    values: tuple[Value, ...]
    """Several for `in`, else one."""

    def allows(self, value: Value) -> bool:
        """Whether the clause holds for this value of the setting; an order never holds for what is not a number."""
        if self.operator in ("==", "in"):
            return any(same(value, each) for each in self.values)
        if self.operator == "!=":
            return not same(value, self.values[0])
        bound = self.values[0]
        return is_number(value) and is_number(bound) and bool(_ORDERS[self.operator](value, bound))

    def __str__(self) -> str:
        if self.operator == "in":
            return f"{self.name} in ({', '.join(map(show_value, self.values))})"
        value = self.values[0]
        if self.operator == "==" and isinstance(value, bool):
            return self.name if value else f"not {self.name}"
        return f"{self.name} {self.operator} {show_value(value)}"


def parse_when(text: str) -> tuple[Condition, ...]:
    """Read a condition: clauses that must all hold.

    Raises:
        ConfigError: naming the clause and the forms that can be read.
    """
    return tuple(_clause(clause) for clause in " ".join(text.split()).split(" and "))


def _clause(text: str) -> Condition:
    match = next((match for form in _CLAUSES if (match := form.fullmatch(text))), None)
    found = match.groupdict() if match else {}
    if not found or found["name"] in ("and", "in", "not", "or"):
        raise ConfigError(f"cannot read the condition {shorten(text)}; write for example {_WHEN_FORMS}")
    if "operator" not in found:
        return Condition(found["name"], "==", (found["negated"] is None,))
    values = found["values"].split(",")
    if not all(value.strip() for value in values):
        raise ConfigError(f"cannot read the condition {shorten(text)}: a value is missing")
    sign, parsed = found["operator"], tuple(map(parse_value, values))
    if sign in _ORDERS and not is_number(parsed[0]):
        raise ConfigError(f"cannot read the condition {shorten(text)}: {sign} needs a number on its right")
    return Condition(found["name"], sign, parsed)
