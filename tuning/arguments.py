"""Types of arguments in the Python API, and the paths of options: each value is converted, or refused in one line."""

import contextlib
import functools
import inspect
import operator
import os
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar, get_args, get_origin

from core.errors import ConfigError, short_repr
from core.io.atomic import expand_user
from core.io.text import one_line

P = ParamSpec("P")
T = TypeVar("T")
TITLES = {bool: "True or False", int: "a whole number", float: "a number", Path: "a path", Sequence: "a list of texts"}


def checked_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Convert each argument of a function to its annotation, as `as_type` does."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*given: P.args, **named: P.kwargs) -> T:
        bound = signature.bind(*given, **named)
        for name, value in bound.arguments.items():
            if (kind := signature.parameters[name].annotation) is not inspect.Parameter.empty:
                bound.arguments[name] = as_type(name, value, kind)
        return function(*bound.args, **bound.kwargs)

    return call


def as_type(name: str, value: Any, kind: Any) -> Any:
    """Return a value with a type, as Typer makes it from a command line.

    Args:
        name: Name of the argument, for the error.
        value: Any value. A number is accepted where a text is declared. A text has no null character
            and no half of a surrogate pair.
        kind: bool, int, float, str, a path, a sequence of texts, or a union of these and None.

    Raises:
        ConfigError: The value has another type.
    """
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    for each in kinds:
        with contextlib.suppress(TypeError, ValueError, OverflowError):  # such as float(10**400)
            return _convert(value, each)
    titles = [TITLES.get(get_origin(each) or each, "a text") for each in kinds if each is not NoneType]
    raise ConfigError(one_line(f"{name} must be {' or '.join(dict.fromkeys(titles))}, got {short_repr(value)}"))


def _convert(value: Any, kind: Any) -> Any:
    """Return a value with a type that is no union; raise TypeError if it has another one."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if kind is NoneType:
        fits, converted = value is None, None
    elif kind is bool:
        fits, converted = isinstance(value, bool), value
    elif kind is int:
        fits, converted = not isinstance(value, bool), operator.index(value)
    elif kind is float:
        fits, converted = is_number, float(value)
    elif kind is Path:
        text = os.fspath(value)
        fits, converted = _is_text(text) and text != "", expand_user(text)
    elif get_origin(kind) is Sequence:
        converted = list(value)  # an iterator can be read only once
        fits = not isinstance(value, str) and all(map(_is_text, converted))
    else:
        converted = str(value) if is_number else os.fspath(value)
        fits = _is_text(converted)
    if not fits:
        raise TypeError
    return converted


def path_option(text: str) -> Path:
    """Return the path of an option. A shell keeps the `~` of --out=~/model.

    Raises:
        ConfigError: It is empty, as from a variable without a value, or there is no such user.
    """
    if not text:
        raise ConfigError("a path is empty; pass a file or folder, or leave the option out")
    return expand_user(text)


def _is_text(value: object) -> bool:
    """Return whether a value is a text that a command line or a path can hold."""
    return isinstance(value, str) and "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
