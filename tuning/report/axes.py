"""Axes of a drawing: a linear or logarithmic scale for numbers, or names in a row."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tuning.formatting import format_value
from tuning.space.expressions import equal, is_number

Tick = tuple[float, str]
"""Place in [0, 1], and what is written there."""
_SLACK = 1e-6
"""Rounding may put an end of a scale just outside it."""


class Axis(Protocol):
    """One side of a drawing."""

    def position(self, value: Any) -> float:
        """Return the position of `value`, from 0 at the low end to 1 at the high end."""

    def ticks(self, most: int) -> list[Tick]:
        """Return about `most` labels at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NumericAxis:
    """A scale from `low` to `high`, which is greater."""

    low: float
    high: float
    log: bool = False
    whole: bool = False
    """Between whole numbers nothing is written."""

    @classmethod
    def over(
        cls, values: Iterable[float], *, log: bool = False, whole: bool = False, margin: float = 0.0
    ) -> "NumericAxis":
        """Return a scale that covers all finite values.

        Args:
            values: none at all gives 0 to 1.
            log: logarithmic; the values must be above 0.
            whole: they are whole numbers.
            margin: room at each end, as a share of their range.
        """
        kept = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = (math.log(edge) if log else float(edge) for edge in (min(kept), max(kept)))
        if low == high:
            low, high = low - 0.5, high + 0.5
        room = margin * (high - low)
        low, high = low - room, high + room
        return cls(low=math.exp(low) if log else low, high=math.exp(high) if log else high, log=log, whole=whole)

    def position(self, value: float) -> float:
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[Tick]:
        marks = self._powers(most) if self.log else self._steps(most)
        places = ((self.position(mark), f"{mark:.6g}") for mark in marks)
        return [(place, name) for place, name in places if -_SLACK <= place <= 1 + _SLACK]

    def _steps(self, most: int) -> list[float]:
        """Multiples of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough * (1 - 1e-9))
        if self.whole:
            step = max(1.0, step)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(count * step, 12) for count in range(first, last + 1)]

    def _powers(self, most: int) -> list[float]:
        """Powers of ten, with their double and fivefold where there is room; on a short scale equal steps."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        fine = [nice * 10.0**power for power in range(first, last + 1) for nice in (1, 2, 5)]
        inside = [mark for mark in fine if -_SLACK <= self.position(mark) <= 1 + _SLACK]
        if len(inside) < 3:
            return self._steps(most)
        return inside if len(inside) <= most else [10.0**power for power in range(first, last + 1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoryAxis:
    """Values in a row, each at the middle of a part of its own."""

    values: tuple[Any, ...]

    def position(self, value: Any) -> float:
        at = next(at for at, each in enumerate(self.values) if equal(each, value))
        return (at + 0.5) / len(self.values)

    def ticks(self, most: int) -> list[Tick]:
        return [(self.position(value), format_value(value)) for value in self.values]


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenAxis:
    """A scale, and below it the values that are not on it: none, and zero on a logarithmic scale."""

    scale: NumericAxis
    values: tuple[Any, ...]

    def position(self, value: Any) -> float:
        low = 0.12 * len(self.values)
        at = next((at for at, each in enumerate(self.values) if equal(each, value)), None)
        return low + (1 - low) * self.scale.position(value) if at is None else 0.12 * at

    def ticks(self, most: int) -> list[Tick]:
        below = [(self.position(value), format_value(value)) for value in self.values]
        low = 0.12 * len(self.values)
        return below + [(low + (1 - low) * place, name) for place, name in self.scale.ticks(most)]


def axis_over(values: Sequence[Any], *, log: bool = False, named: bool = False, margin: float = 0.0) -> Axis:
    """A scale where all values are numbers, or none; else a row of names.

    Args:
        values: of one setting, in any order, with repeats.
        log: a logarithmic scale, of the values above 0; zero is placed below it.
        named: a row of names also for numbers.
        margin: as in `Numbers.over`.
    """
    distinct = {(isinstance(value, bool), value): value for value in values}.values()
    numbers = sorted(value for value in distinct if is_number(value))
    others = [value for value in distinct if not is_number(value)]
    if not named and others in ([], [None]) and (numbers or not others):
        log = log and any(value > 0 for value in numbers) and min(numbers) >= 0
        apart = [*others, *(value for value in numbers if log and value == 0)]
        on_scale = [value for value in numbers if not log or value > 0]
        whole = all(isinstance(value, int) for value in on_scale)
        scale = NumericAxis.over(on_scale, log=log, whole=whole, margin=margin)
        return BrokenAxis(scale=scale, values=tuple(apart)) if apart else scale
    return CategoryAxis(values=(*numbers, *sorted(others, key=str)))
