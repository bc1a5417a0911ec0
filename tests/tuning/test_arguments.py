"""tuning.arguments: a value of the declared type, or one line that names the argument."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError
from tuning.arguments import as_type, checked_arguments


@pytest.mark.parametrize(
    ("value", "kind", "converted"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (0.5, str, "0.5"),
        (Path("a"), str, "a"),
        ("a", Path, Path("a")),
        (None, int | None, None),
        (3, int | str, 3),
        ("best", int | str, "best"),
        (True, bool, True),
        (["a", "b"], str | Sequence[str], ["a", "b"]),
        ((text for text in "ab"), str | Sequence[str], ["a", "b"]),
        (Path("a"), str | os.PathLike[str], "a"),
    ],
)
def test_a_value_is_converted_to_the_declared_type(value: Any, kind: Any, converted: Any) -> None:
    found = as_type("x", value, kind)
    assert (found, type(found)) == (converted, type(converted))


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (1.5, int, "x must be a whole number, got 1.5"),
        (True, int | None, "x must be a whole number, got True"),
        (None, int, "x must be a whole number, got None"),
        (10**400, float, "x must be a number, got 1000"),
        ("0.5", float, "x must be a number, got '0.5'"),
        (1, bool, "x must be True or False, got 1"),
        ([1], str | Sequence[str], r"x must be a text or a list of texts, got \[1\]"),
        (b"a", str, "x must be a text, got b'a'"),
        (["a"], str, r"x must be a text, got \['a'\]"),
        ("a\0b", str | None, r"x must be a text, got 'a.x00b'"),
        ("\ud800", Path, r"x must be a path, got '.ud800'"),
        (3, Path, "x must be a path, got 3"),
    ],
)
def test_a_value_of_another_type_is_refused(value: Any, kind: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        as_type("x", value, kind)


def test_each_argument_of_a_function_is_checked() -> None:
    @checked_arguments
    def join(parts: Sequence[str], *, times: int = 1) -> str:
        return "".join(parts) * times

    assert join(["a", "b"], times=2) == "abab"
    with pytest.raises(ConfigError, match=r"^times must be a whole number, got '2'$"):
        join(["a"], times="2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword argument 'time'"):
        join(["a"], time=2)  # type: ignore[call-arg]
