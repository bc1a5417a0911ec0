"""The places of the values in JSON, for tests that put other values there."""

from collections.abc import Iterator
from typing import Any

Place = tuple[str | int, ...]
"""Keys of objects and numbers in lists, from the outermost on."""


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    """Yield the place of each value below a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*above, key)
        yield from places(inner, (*above, key))


def container(value: Any, place: Place) -> Any:
    """Return the object or the list that has a place as its own key or number."""
    for key in place[:-1]:
        value = value[key]
    return value
