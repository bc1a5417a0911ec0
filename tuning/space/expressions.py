"""Ranges of search spaces, read by hand and never evaluated as code.

int(1, 3)   int(32, 256, log)   int(32, 256, step=32)        whole numbers, both ends included
float(0, 0.5)   float(0, 0.5, step=0.1)   log(1e-4, 1e-2)    real numbers; log(a, b) is float(a, b, log)
choice(last, max)   choice(none, 1.0)                        one of these
128   0.5   true   none   mean+max                           a plain value, see tuning.space.values
"""

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from core.errors import ConfigError
from tuning.space.values import EXPRESSIONS, Value, is_number, parse_value, shorten, show_value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MOST_STEPS = 1_000_000

_CALL = re.compile(r"(\w+)\s*\((.*)\)", re.ASCII | re.DOTALL)


def parse_expression(text: str) -> "BaseDistribution | Value":
    """Read a range, a choice or a plain value.

    Raises:
        ConfigError: in one line, what is wrong and what could stand there.
    """
    call = _CALL.fullmatch(text.strip())
    if call is None:
        return parse_value(text)
    kind, inside = call.groups()
    if kind not in ("int", "float", "log", "choice"):
        raise ConfigError(f"cannot read {shorten(text)}: {kind} is not known; write one of {EXPRESSIONS}")
    arguments = [argument.strip() for argument in inside.split(",")]
    if kind == "choice":
        if "" in arguments:
            raise ConfigError(f"{shorten(text)} has an empty choice; write none for no value")
        return choice([parse_value(argument) for argument in arguments])
    return _range(kind, arguments, text)


def choice(values: list[Value]) -> "BaseDistribution":
    """One of `values`.

    Raises:
        ConfigError: there is none, or one stands twice.
    """
    from optuna.distributions import CategoricalDistribution

    if not values:
        raise ConfigError("a choice needs at least one value")
    # Plain ==, because Optuna cannot tell 1, 1.0 and true apart.
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise ConfigError(f"{show_value(twice[0])} stands twice in one choice; name each value once")
    return CategoricalDistribution(values)


def _range(kind: str, arguments: list[str], text: str) -> "BaseDistribution":
    from optuna.distributions import FloatDistribution, IntDistribution

    log, step = kind == "log", None
    for option in arguments[2:]:
        key, _, value = option.partition("=")
        if option == "log" and kind != "log":
            log = True
        elif key.strip() == "step" and kind != "log" and step is None:
            step = _number(value, kind, text)
        else:
            raise ConfigError(f"cannot read {shorten(option)} in {shorten(text)}; write one of {EXPRESSIONS}")
    if len(arguments) < 2:
        raise ConfigError(f"{shorten(text)} needs a lowest and a highest value; write one of {EXPRESSIONS}")
    low, high = (_number(argument, kind, text) for argument in arguments[:2])
    problem = _range_problem(low, high, log, step)
    if problem:
        raise ConfigError(f"{shorten(text)}: {problem}")
    if kind == "int":
        return IntDistribution(int(low), int(high), log=log, step=1 if step is None else int(step))
    return FloatDistribution(low, high, log=log, step=step)


def _number(text: str, kind: str, whole: str) -> int | float:
    value = parse_value(text)
    if not is_number(value) or (kind == "int" and not isinstance(value, int)):
        rule = "a whole number" if kind == "int" else "a number"
        raise ConfigError(f"{shorten(whole)}: {shorten(text)} must be {rule}")
    return value


def _range_problem(low: float, high: float, log: bool, step: float | None) -> str | None:
    if low > high:
        return f"the lowest value must come first, got {low:g} and {high:g}"
    if log and low <= 0:
        return f"a log scale must start above 0, got {low:g}"
    if log and step is not None:
        return "log and step cannot be joined; leave one out"
    if step is not None and step <= 0:
        return f"step must be above 0, got {step:g}"
    if step is not None and (high - low) / step > MOST_STEPS:
        return f"step {step:g} is too small; at most {MOST_STEPS:,} steps fit"
    if step is not None and (rest := (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step))):
        return f"steps of {step:g} from {low:g} do not reach {high:g}; end at {Decimal(str(high)) - rest:g}"
    return None


def show_distribution(distribution: "BaseDistribution") -> str:
    """The text that `parse_expression` reads back as an equal distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

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
