"""The words between finding a dataset and using it: what was asked for, what was found, what it holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How a file is read; the built-in datasets take none."""

    text_column: str | None = None
    """None to find it by its name."""
    label_column: str | None = None
    """None to find it by its name."""
    split_column: str | None = None
    """None if the file has no split of its own."""
    encoding: str | None = None
    """Of a text file; None to detect it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Sentences with labels, in the source's order."""

    texts: list[str]
    labels: NDArray[np.int64]
    """(n,) places in `classes`."""
    classes: tuple[str, ...]
    split_values: list[str] | None = None
    """(n,) the split column's cells; None without one."""
    notes: Mapping[str, Any]
    """What reading found out, as JSON can hold it: the licence; columns chosen; rows dropped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedDataset:
    """A dataset that is found and identified; it is read only if the cache lacks what is made from it."""

    inputs: Mapping[str, Any]
    """Everything that decides what `read` returns; part of the cache key."""
    read: Callable[[], Dataset]
