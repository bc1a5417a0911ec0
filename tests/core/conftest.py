"""Fixtures of all tests of `core`."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads, and several test runs at once would fight for cores."""
    from core.nn.runtime import torch_threads

    with torch_threads(1):
        yield
