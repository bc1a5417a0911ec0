"""Every error that sentune raises on purpose, and the check that reports all broken rules together.

UserError               the user can fix it: one line, exit code 2
├── ConfigError         a setting, an option or a search space breaks a rule
├── DataError           a dataset, a split or a vectors file cannot be used as it is
└── CorruptionError     something that sentune wrote earlier is damaged: a cache entry, a checkpoint, a model

TrainingError           one trial cannot continue (its loss is not a number); the study continues without it
StopTraining            raised by a `report` callable to end training cleanly; not an error

SentenceEstimator also raises scikit-learn's ValueError and NotFittedError. An unknown argument is a TypeError. If CUDA
does not start, torch's RuntimeError is passed on. Any other exception that escapes is a bug in sentune.
"""

from collections.abc import Mapping
from numbers import Real
from typing import TypeGuard

MAX_VALUE = 300
"""Number of characters of a value that a message shows."""


class UserError(Exception):
    """Say in one line what is wrong, where, and what to do about it."""


class ConfigError(UserError):
    """A setting breaks a rule; the message names every field, its rule and its value."""


class DataError(UserError):
    """A user's data cannot be used; the message names the file and the place in it, if there are any."""


class CorruptionError(UserError):
    """A file is not as sentune wrote it; the message names it and says how to rebuild it."""


class TrainingError(Exception):
    """Training cannot continue; if a loss or metric is no number, the message names the epoch and the settings."""


class StopTraining(Exception):  # noqa: N818 - a request, not an error
    """Raised from `report` to end training after the epoch just reported."""


def in_range(value: float | None, low: float, high: float, why: str = "") -> tuple[object, str, bool]:
    """Return the rule for `check_rules` that a number is in a range; None is not given, and passes.

    Args:
        value: The number.
        low: Lower bound, included.
        high: Upper bound, included.
        why: End of the rule's text.
    """
    holds = value is None or (isinstance(value, Real) and not isinstance(value, bool) and low <= value <= high)
    return value, f"from {low:,} to {high:,}{why}", holds


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number of Python; true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object, low: int, high: int) -> bool:
    """Return whether a value is an int of Python, which JSON can hold, no truth value, from `low` to `high`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def whole(value: object, low: int, high: int) -> tuple[object, str, bool]:
    """Return the rule for `check_rules` that a value is a whole number in a range."""
    return value, f"a whole number from {low} to {high}", is_whole(value, low, high)


def check_rules(rules: Mapping[str, tuple[object, str, bool]]) -> None:
    """Report all broken rules in one error.

    Args:
        rules: Name to its value, the rule that it must obey, such as "at least 1", and whether the rule holds.

    Raises:
        ConfigError: A rule does not hold; the message has "NAME must be RULE, got VALUE" for each.
    """
    problems = [
        f"{name} must be {rule}, got {short_repr(value)}" for name, (value, rule, ok) in rules.items() if not ok
    ]
    if problems:
        raise ConfigError("; ".join(problems))


def short_repr(value: object) -> str:
    """Return the representation of a value, shortened; a message must not fail because of what it quotes."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of more than 4,300 digits"
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 3]}..."
