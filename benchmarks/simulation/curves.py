"""Recorded learning curves, and larger tables that are drawn from them."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from benchmarks.results import REFERENCE
from benchmarks.simulation.recording import read_recording
from core.config import TrialConfig
from core.training.result import EpochResult
from tuning.space.space import Space

CURVES = REFERENCE / "curves.json.gz"
"""File of benchmarks.simulation.record_curves."""
JITTER = 1e-6
"""Maximum that `many` adds to an accuracy, so that no two curves are equal."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One recorded trial."""

    config: Mapping[str, Any]
    params: Mapping[str, Any]
    epochs: tuple[EpochResult, ...]

    @property
    def seconds(self) -> float:
        """Seconds of an epoch."""
        return self.epochs[0].seconds

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """Best accuracy of the first epochs, by number of epochs from 1."""
        return tuple(accumulate((epoch.val_accuracy for epoch in self.epochs), max))


@dataclass(frozen=True, kw_only=True)
class Table:
    """The recorded trials of one space; the first has the baseline."""

    space: Space
    epochs: int
    """Number of epochs of a trial that is trained in full."""
    curves: tuple[Curve, ...]
    """Each with at least that many epochs."""

    @property
    def best(self) -> float:
        """Highest accuracy in the table."""
        return max(curve.scores[self.epochs - 1] for curve in self.curves)


def read_table(path: Path, space_name: str) -> Table:
    """Read one space's curves from a file of benchmarks.simulation.record_curves, without those that became NaN."""
    content = read_recording(path)
    space = Space.from_dict(content["spaces"][space_name])
    curves = []
    for trial in content["curves"]:
        if trial["space"] == space_name and len(trial["curve"]) == content["epochs"]:
            curves.append(to_curve(space, trial["config"], trial["curve"], trial["seconds"]))
    return Table(space=space, epochs=content["epochs"], curves=tuple(curves))


def to_curve(space: Space, config: Mapping[str, Any], epochs: Sequence[Sequence[float]], seconds: float) -> Curve:
    """Return a curve of a recording, whose epochs begin with validation accuracy and validation loss."""
    found = tuple(
        EpochResult(epoch=i, train_loss=0.0, val_loss=loss, val_accuracy=accuracy, score=accuracy, seconds=seconds)
        for i, (accuracy, loss, *_) in enumerate(epochs, 1)
    )
    return Curve(config=config, params=space.to_params(TrialConfig.from_dict(dict(config))), epochs=found)


def many(table: Table, count: int, *, spread: float = 0.0) -> Table:
    """Return a table of `count` curves, drawn from the table after its first curve.

    Args:
        table: At least two curves.
        count: Number of curves.
        spread: Standard deviation of a number that is added to all accuracies of a curve.
    """
    draw = np.random.default_rng(0)
    places = [0, *draw.integers(1, len(table.curves), size=count - 1).tolist()]
    curves = []
    for place, shift in zip(places, draw.normal(0, spread, size=count).tolist(), strict=True):
        curve = table.curves[place]
        added = (shift + draw.uniform(0, JITTER, size=len(curve.epochs))).tolist()
        epochs = tuple(
            dataclasses.replace(epoch, val_accuracy=epoch.val_accuracy + more)
            for epoch, more in zip(curve.epochs, added, strict=True)
        )
        curves.append(Curve(config=curve.config, params=curve.params, epochs=epochs))
    return dataclasses.replace(table, curves=tuple(curves))


class Places:
    """Places of configurations in a space, for their distance to another one."""

    def __init__(self, space: Space, params: Sequence[Mapping[str, Any]]) -> None:
        self.space = space
        self._choices = np.array([isinstance(d.distribution, CategoricalDistribution) for d in space.dimensions])
        self._rows = np.array([self._coordinates(each) for each in params])  # (n, D)

    def distances(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the sum of the distances over dimensions, (n,).

        A numeric dimension counts as a fraction of its range, on a log scale if it has one. A different choice, or a
        dimension that only one of the two has, counts as 1.
        """
        other = self._coordinates(params)  # (D,)
        apart = np.abs(self._rows - other)  # (n, D)
        apart = np.where(self._choices, apart > 0, apart)
        lacks, other_lacks = np.isnan(self._rows), np.isnan(other)
        apart = np.where(lacks | other_lacks, lacks != other_lacks, apart)
        return np.asarray(apart.sum(axis=1))

    def _coordinates(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the place in each dimension (D,): from 0 to 1, the index of a choice, or NaN if it is absent."""
        found = []
        for dimension in self.space.dimensions:
            values: Any = dimension.distribution
            if dimension.name not in params:
                found.append(math.nan)
            elif isinstance(values, CategoricalDistribution):
                found.append(float(values.choices.index(params[dimension.name])))
            elif values.high == values.low:
                found.append(0.0)
            else:
                scale = math.log if values.log else float
                low, high, value = (scale(each) for each in (values.low, values.high, params[dimension.name]))
                found.append((value - low) / (high - low))
        return np.array(found)
