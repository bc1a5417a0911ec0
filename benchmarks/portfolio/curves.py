"""The recording of benchmarks.portfolio.record: scores of the configurations on each set, and tables for replays."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.portfolio.record import OUT
from benchmarks.simulation.curves import Curve, Table, to_curve
from benchmarks.simulation.recording import read_recording
from core.config import TrialConfig
from core.training.result import EpochResult, best_epoch
from tuning.space.space import Space

BASELINE = 0
"""Number of the configuration with the baseline."""
SAME_SENTENCES = frozenset({"mr", "snippets"})
"""Sets of the same sentences: nearly all snippets are in MR, 97% of these with the same label."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedSet:
    """The curves of one set, by configuration."""

    epochs: int
    """Number of epochs of a training that did not diverge."""
    curves: Sequence[Curve]
    """Without epochs if the training diverged."""
    test: Sequence[Sequence[float]]
    """Test accuracy of each epoch, by configuration."""

    def best(self, number: int) -> tuple[float, float]:
        """Return validation and test accuracy at the best validation epoch; 0 if the training diverged."""
        epochs = self.curves[number].epochs
        if not epochs:
            return 0.0, 0.0
        found = best_epoch(epochs)
        return found.val_accuracy, self.test[number][found.epoch - 1]

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """(N,) mean of validation and test accuracy at the best validation epoch.

        The mean of two splits has half the noise of one. benchmarks.portfolio.search evaluates a portfolio on a set
        that it was not chosen on; other measurements with the shipped one must say that it was chosen on these sets.
        """
        return np.array([np.mean(self.best(number)) for number in range(len(self.curves))])


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """All curves of a file."""

    spaces: Mapping[str, Space]
    """The spaces that configurations were drawn from, by name."""
    settings: Sequence[Mapping[str, Any]]
    """TrialConfig fields of each configuration, without those of a study."""
    drawn_from: Sequence[str | None]
    """Name of the space of each configuration; None for the baseline."""
    sets: Mapping[str, RecordedSet]

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """(S, N) of each set and configuration."""
        return np.array([recorded.scores for recorded in self.sets.values()])

    def config(self, number: int) -> TrialConfig:
        """Return a configuration; the fields of a study have their defaults."""
        return TrialConfig(**self.settings[number])

    def without(self, name: str) -> "Recording":
        """Return the recording of the sets with other sentences."""
        same = SAME_SENTENCES if name in SAME_SENTENCES else {name}
        return dataclasses.replace(self, sets={key: each for key, each in self.sets.items() if key not in same})

    def numbers(self, space: str) -> list[int]:
        """Return the baseline and the configurations that were drawn from a space."""
        return [BASELINE, *(number for number, name in enumerate(self.drawn_from) if name == space)]

    def table(self, name: str, space: str, *, pooled: bool = False) -> tuple[Table, list[int]]:
        """Return a set's curves of the baseline and of one space, without those that diverged, and their numbers.

        Args:
            name: of the set.
            space: name of the space.
            pooled: whether an accuracy is the mean of validation and test accuracy, which has half the noise.
        """
        recorded, searched = self.sets[name], self.spaces[space]
        numbers = [number for number in self.numbers(space) if recorded.curves[number].epochs]
        curves = []
        for number in numbers:
            curve, test = recorded.curves[number], recorded.test[number]
            params = searched.to_params(self.config(number))
            epochs = tuple(map(_pool, curve.epochs, test)) if pooled else curve.epochs
            curves.append(dataclasses.replace(curve, params=params, epochs=epochs))
        return Table(space=searched, epochs=recorded.epochs, curves=tuple(curves)), numbers


def _pool(epoch: EpochResult, test: float) -> EpochResult:
    mean = (epoch.val_accuracy + test) / 2
    return dataclasses.replace(epoch, val_accuracy=mean, score=mean)


def read_curves(path: Path = OUT) -> Recording:
    """Read a file of benchmarks.portfolio.record."""
    content = read_recording(path)
    spaces = {name: Space.from_dict(each) for name, each in content["spaces"].items()}
    configurations = content["configurations"]
    by_key = {(each["set"], each["number"]): each for each in content["curves"]}
    sets = {}
    for name, facts in content["sets"].items():
        curves, test = [], []
        for number, configuration in enumerate(configurations):
            found = by_key[name, number]
            whole = found["curve"] if len(found["curve"]) == facts["epochs"] else []
            space = spaces[configuration["space"] or "default"]
            curves.append(to_curve(space, configuration["settings"], whole, found["seconds"]))
            test.append([epoch[2] for epoch in whole])
        sets[name] = RecordedSet(epochs=facts["epochs"], curves=curves, test=test)
    return Recording(
        spaces=spaces,
        settings=[each["settings"] for each in configurations],
        drawn_from=[each["space"] for each in configurations],
        sets=sets,
    )
