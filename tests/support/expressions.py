"""Ranges, values and words of search spaces for Hypothesis, and invalid ones."""

from collections.abc import Callable

from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from core.errors import ConfigError, UserError

numbers = st.floats(-1e15, 1e15, allow_nan=False).map(lambda x: x + 0.0)
words = st.from_regex(r"[a-z][a-z+_]{0,12}", fullmatch=True).filter(
    lambda w: w not in ("true", "false", "none", "null")
)
values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | words


def refusal(read: Callable[..., object], *args: object, kind: type[UserError] = ConfigError) -> str:
    """The message with which `read` refuses what it is given; nothing where it does not."""
    try:
        read(*args)
    except kind as error:
        return str(error)
    return ""


@st.composite
def distributions(draw: st.DrawFn) -> BaseDistribution:
    kind = draw(st.sampled_from(["int", "int log", "int step", "float", "log", "step", "choice"]))
    if kind == "choice":
        return CategoricalDistribution(draw(st.lists(values, min_size=1, max_size=5, unique_by=lambda v: (v == v, v))))
    if kind.startswith("int"):
        low, span = draw(st.integers(1, 10**6)), draw(st.integers(0, 1000))
        step = draw(st.integers(1, 50)) if kind == "int step" else 1
        return IntDistribution(low, low + span * step, log=kind == "int log", step=step)
    if kind == "step":
        return FloatDistribution(0, draw(st.integers(0, 20)) / 4, step=0.25)
    low, high = sorted([draw(st.floats(1e-9, 1e9)), draw(st.floats(1e-9, 1e9))])
    return FloatDistribution(low, high, log=kind == "log")
