"""How long a test waits: until something has happened, or for so long that only what hangs takes longer."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 500
"""For one step of a test, even where other programs take the processor."""
T = TypeVar("T")


def wait_until(happened: Callable[[], T], what: str | Callable[[], str], pause: float = 0.02) -> T:
    """Return what `happened` returns when it is no longer false or empty.

    Args:
        happened: Called again and again.
        what: What did not happen, for the error.
        pause: Seconds between two calls.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while not (found := happened()):
        assert time.monotonic() < until, what if isinstance(what, str) else what()
        time.sleep(pause)
    return found
