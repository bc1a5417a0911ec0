"""Ranges of search spaces, parsed and never evaluated as code.

int(1, 3)   int(32, 256, log)   int(32, 256, step=32)        whole numbers, both ends included
float(0, 0.5)   float(0, 0.5, step=0.1)   log(1e-4, 1e-2)    real numbers; log(a, b) is float(a, b, log)
choice(last, max)   choice(none, 1.0)   [last, max]          one of these
128   0.5   true   none   mean+max                           a plain value, see `parse_value`
"""

import operator
import re
from dataclasses import dataclass
from decimal import Decimal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from core.errors import ConfigError, is_number
from core.io.text import quoted

MAX_STEPS = 1_000_000
_CALL = re.compile(r"(\w+)\s*\((.*)\)", re.ASCII | re.DOTALL)
_LIST = re.compile(r"\[(.*)\]", re.DOTALL)
Value = bool | int | float | str | None
"""Value of a setting."""
MAX_INT = 2**53
"""Maximum of a whole number: Optuna stores parameters as float64, which is exact up to here."""
MAX_NUMBER_LENGTH = 40
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "none": None, "null": None, "~": None, "": None}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
EXPRESSIONS = "int(1, 3), int(32, 256, log), float(0, 0.5), float(0, 0.5, step=0.1), log(1e-4, 1e-2), choice(a, b)"
_CLAUSES = (
    re.compile(r"(?P<negated>not\s+)?(?P<name>[a-z_]\w*)", re.ASCII),
    re.compile(r"(?P<name>[a-z_]\w*)\s*(?P<operator>==|!=|<=|>=|<|>)\s*(?P<values>[^\s,=<>()]+)", re.ASCII),
    re.compile(r"(?P<name>[a-z_]\w*)\s+(?P<operator>in)\s*\((?P<values>[^()]*)\)", re.ASCII),
)
_ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_WHEN_FORMS = "n_layers > 1, optimizer == adam, batch_size in (16, 32), not freeze_embedding; join them with `and`"


def parse_value(text: str) -> Value:
    """Read a number, true, false, none or a word.

    Raises:
        ConfigError: The number is too large, or the text is an expression.
    """
    text = text.strip()
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    if not _NUMBER.fullmatch(text):
        if re.search(r"[(),=<>\s]", text):
            raise ConfigError(f"cannot read {quoted(text)}; write a plain value or one of {EXPRESSIONS}")
        return text
    number = float(text)
    if len(text) > MAX_NUMBER_LENGTH or abs(number) > MAX_INT:
        raise ConfigError(f"{quoted(text)} is too large; write at most 2**53, in {MAX_NUMBER_LENGTH} characters")
    return int(text) if _WHOLE.fullmatch(text) else number


def equal(left: Value, right: Value) -> bool:
    """Return whether two values are equal; true does not equal 1."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def show_value(value: Value) -> str:
    """Return the text that `parse_value` reads as `value`."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_expression(text: str) -> BaseDistribution | Value:
    """Read a range, a choice or a plain value.

    Raises:
        ConfigError: The text cannot be read; the message has the problem and the possible forms.
    """
    listed = _LIST.fullmatch(text.strip())
    call = _CALL.fullmatch(f"choice({listed[1]})" if listed else text.strip())
    if call is None:
        return parse_value(text)
    kind, inside = call.groups()
    if kind not in ("int", "float", "log", "choice"):
        raise ConfigError(f"cannot read {quoted(text)}: {kind} is unknown; write one of {EXPRESSIONS}")
    arguments = [argument.strip() for argument in inside.split(",")]
    if kind == "choice":
        if "" in arguments:
            raise ConfigError(f"{quoted(text)} has an empty choice; write none for no value")
        return choice([parse_value(argument) for argument in arguments])
    return _range(kind, arguments, text)


def choice(values: list[Value]) -> BaseDistribution:
    """Return the distribution of a choice of `values`.

    Raises:
        ConfigError: There is no value, or one occurs twice.
    """
    if not values:
        raise ConfigError("a choice needs at least one value; write none for no value")
    # Plain ==, because Optuna cannot distinguish 1, 1.0 and true.
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise ConfigError(f"{show_value(twice[0])} occurs twice in one choice; write each value once")
    return CategoricalDistribution(values)


def _range(kind: str, arguments: list[str], text: str) -> BaseDistribution:
    log, step = kind == "log", None
    for option in arguments[2:]:
        key, _, value = option.partition("=")
        if option == "log" and kind != "log":
            log = True
        elif key.strip() == "step" and kind != "log" and step is None:
            step = _number(value, kind, text)
        else:
            raise ConfigError(f"cannot read {quoted(option)} in {quoted(text)}; write one of {EXPRESSIONS}")
    if len(arguments) < 2:
        raise ConfigError(f"{quoted(text)} needs a lowest and a highest value; write one of {EXPRESSIONS}")
    low, high = (_number(argument, kind, text) for argument in arguments[:2])
    problem = _range_problem(low, high, log, step)
    if problem:
        raise ConfigError(f"{quoted(text)}: {problem}")
    if kind == "int":
        return IntDistribution(int(low), int(high), log=log, step=1 if step is None else int(step))
    return FloatDistribution(low, high, log=log, step=step)


def _number(text: str, kind: str, whole: str) -> int | float:
    value = parse_value(text)
    if not is_number(value) or (kind == "int" and not isinstance(value, int)):
        rule = "a whole number" if kind == "int" else "a number"
        raise ConfigError(f"{quoted(whole)}: {quoted(text)} must be {rule}")
    return value


def _range_problem(low: float, high: float, log: bool, step: float | None) -> str | None:
    if low > high:
        return f"the lowest value must come first, got {low:g} and {high:g}"
    if log and low <= 0:
        return f"a log scale must start above 0, got {low:g}"
    if log and step is not None:
        return "log and step cannot be combined; leave one out"
    if step is not None and step <= 0:
        return f"step must be above 0, got {step:g}"
    if step is not None and (high - low) / step > MAX_STEPS:
        return f"step {step:g} is too small; choose at most {MAX_STEPS:,} steps"
    if step is not None and (rest := (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step))):
        return f"steps of {step:g} from {low:g} do not reach {high:g}; end at {Decimal(str(high)) - rest:g}"
    return None


def show_distribution(distribution: BaseDistribution) -> str:
    """Return the text that `parse_expression` reads as an equal distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return f"choice({', '.join(show_value(value) for value in distribution.choices)})"
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    whole = isinstance(distribution, IntDistribution)
    ends = f"{_short(distribution.low)}, {_short(distribution.high)}"
    if distribution.log:
        return f"int({ends}, log)" if whole else f"log({ends})"
    step = distribution.step
    plain = step is None or (whole and step == 1)
    return f"{'int' if whole else 'float'}({ends}{'' if plain else f', step={_short(step)}'})"


def _short(number: float | None) -> str:
    return repr(number).removesuffix(".0")


@dataclass(frozen=True, slots=True)
class Condition:
    """One clause of a `when`: the setting `name` compared with `values`."""

    name: str
    operator: str
    """Operator: == != in < <= > >=."""
    values: tuple[Value, ...]
    """Values: several for `in`, else one."""

    def allows(self, value: Value) -> bool:
        """Return whether the clause holds for a value of the setting; < <= > >= hold only for numbers."""
        if self.operator in ("==", "in"):
            return any(equal(value, each) for each in self.values)
        if self.operator == "!=":
            return not equal(value, self.values[0])
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
        ConfigError: A clause cannot be read; the message names it and the possible forms.
    """
    return tuple(_clause(clause) for clause in " ".join(text.split()).split(" and "))


def _clause(text: str) -> Condition:
    match = next((match for form in _CLAUSES if (match := form.fullmatch(text))), None)
    found = match.groupdict() if match else {}
    if not found or found["name"] in ("and", "in", "not", "or"):
        raise ConfigError(f"cannot read the condition {quoted(text)}; write for example {_WHEN_FORMS}")
    if "operator" not in found:
        return Condition(found["name"], "==", (found["negated"] is None,))
    values = found["values"].split(",")
    if not all(value.strip() for value in values):
        raise ConfigError(f"cannot read the condition {quoted(text)}; write a value on its right")
    sign, parsed = found["operator"], tuple(map(parse_value, values))
    if sign in _ORDERS and not is_number(parsed[0]):
        raise ConfigError(f"cannot read the condition {quoted(text)}; write a number after {sign}")
    return Condition(found["name"], sign, parsed)
