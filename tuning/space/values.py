"""Plain values of settings, as text says them: 128, 0.5, true, none, mean+max."""

import re
from typing import Any, TypeGuard

from core.errors import ConfigError

Value = bool | int | float | str | None
"""What a setting can hold."""

LARGEST_WHOLE = 2**53
"""Optuna keeps parameters as float64, which holds whole numbers exactly up to here."""
LONGEST_NUMBER = 40

_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "none": None, "null": None, "~": None, "": None}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
EXPRESSIONS = "int(1, 3), int(32, 256, log), float(0, 0.5), float(0, 0.5, step=0.1), log(1e-4, 1e-2), choice(a, b)"


def parse_value(text: str) -> Value:
    """Read a number, true, false, none or a word.

    Raises:
        ConfigError: the number is too large, or the text is an expression.
    """
    text = text.strip()
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    if not _NUMBER.fullmatch(text):
        if re.search(r"[(),=<>\s]", text):
            raise ConfigError(f"cannot read {shorten(text)}; write a plain value or one of {EXPRESSIONS}")
        return text
    number = float(text)
    if len(text) > LONGEST_NUMBER or abs(number) > LARGEST_WHOLE:
        raise ConfigError(f"{shorten(text)} is too large; numbers go up to 2**53, in {LONGEST_NUMBER} characters")
    return int(text) if _WHOLE.fullmatch(text) else number


def same(left: Value, right: Value) -> bool:
    """Equal, where true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def is_number(value: Any) -> TypeGuard[int | float]:
    """A number, where true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def show_value(value: Value) -> str:
    """The text that `parse_value` reads back as `value`."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def shorten(text: str, limit: int = 60) -> str:
    """`text` in quotes, cut and on one line, so that a message stays one line."""
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")
