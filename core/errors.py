"""Every error that sentune raises on purpose.

UserError               the person at the keyboard can mend it: one line, exit code 2
├── ConfigError         a setting, an option or a search space breaks a rule
├── DataError           a dataset, a split or a vectors file cannot be used as it is
└── CorruptionError     something that we wrote earlier is damaged: a cache entry, a checkpoint, a model

TrainingError           one trial cannot go on (its loss is not a number); the study goes on without it
StopTraining            raised by a `report` callable to end training cleanly; not an error

Anything else that escapes is a fault of ours.
"""

from collections.abc import Mapping


class UserError(Exception):
    """What is wrong, where, and what to do about it, in one line."""


class ConfigError(UserError):
    """A setting breaks a rule; the message names every field, its rule and its value."""


class DataError(UserError):
    """Data from outside cannot be used; the message names the file and the place in it."""


class CorruptionError(UserError):
    """A file of ours is not what was written; the message names it and says how to rebuild it."""


class TrainingError(Exception):
    """Training cannot go on; the message names the epoch, the step and the settings."""


class StopTraining(Exception):  # noqa: N818 - a request, not an error
    """Raise it from `report` to end training after the epoch just reported."""


def check_rules(rules: Mapping[str, tuple[object, str, bool]]) -> None:
    """Raise one ConfigError for all broken rules.

    Args:
        rules: field name -> (value, rule in words, whether the value keeps it).

    Raises:
        ConfigError: at least one value breaks its rule; the message names each such field, its rule and its value.
    """
    problems = [f"{name} must be {rule}, got {value!r}" for name, (value, rule, ok) in rules.items() if not ok]
    if problems:
        raise ConfigError("; ".join(problems))
