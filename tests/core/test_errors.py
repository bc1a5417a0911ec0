"""The check that reports all broken rules together."""

import re

import pytest

from core.errors import ConfigError, check_rules


def test_every_broken_rule_is_named_with_its_value() -> None:
    message = "epochs must be at least 1, got 0; pooling must be one of last, max, got 'min'"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        check_rules(
            {
                "epochs": (0, "at least 1", False),
                "threads": (1, "at least 1", True),
                "pooling": ("min", "one of last, max", False),
            }
        )


def test_a_long_value_is_shown_by_its_beginning() -> None:
    with pytest.raises(ConfigError, match=r"^name must be short, got '(x{296})\.\.\.$"):
        check_rules({"name": ("x" * 5000, "short", False)})
