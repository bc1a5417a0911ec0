"""A made-up recording on three sets: less output dropout is better, and each set has its own best pooling."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.portfolio.curves import Recording, read_curves
from benchmarks.portfolio.record import SPACES, capped, configurations
from benchmarks.simulation.recording import write_recording

POOLINGS = {"one": "last", "two": "max", "three": "mean"}
EPOCHS = 4
DIVERGED = ("two", 3)
"""Set and number of a configuration whose training diverged."""


def accuracy(settings: dict[str, Any], pooling: str, epoch: int) -> float:
    """Return an accuracy that rises with the epochs."""
    return 0.5 + 0.1 * (settings["pooling"] == pooling) + 0.5 * (0.6 - settings["fc_dropout"]) + 0.01 * epoch


@cache
def drawn(count: int) -> list[dict[str, Any]]:
    """Return the configurations, which take longer to draw than all the rest."""
    return list(configurations(count, 256, cost=1.5, seed=1))


def write_curves(path: Path, count: int = 40) -> None:
    """Write the file as benchmarks.portfolio.record does."""
    found = drawn(count)
    noise = np.random.default_rng(0)
    curves = []
    for name, pooling in POOLINGS.items():
        for number, configuration in enumerate(found):
            rises = [accuracy(configuration["settings"], pooling, epoch) for epoch in range(EPOCHS)]
            curve = [[val, 1 - val, val + noise.normal(0, 0.005)] for val in rises]
            kept = curve[:2] if (name, number) == DIVERGED else curve
            curves.append({"set": name, "number": number, "curve": kept, "seconds": 1.0 + number % 3})
    content = {
        "sets": {name: {"epochs": EPOCHS} for name in POOLINGS},
        "spaces": {name: capped(name, 256).to_dict() for name in set(SPACES)},
        "configurations": found,
        "curves": curves,
    }
    write_recording(path, "tests", content)


def recording(folder: Path, count: int = 40) -> Recording:
    """Return the recording, read from a file in a folder."""
    write_curves(folder / "curves.json.gz", count)
    return read_curves(folder / "curves.json.gz")
