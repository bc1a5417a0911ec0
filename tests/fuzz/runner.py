"""Runs cases one after the other, in a place of this process. (A process that `spawn` starts imports no `__main__`.)"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.cases import case, read_template
from tests.fuzz.oracle import Ended
from tests.fuzz.place import Place, make_place

_places: list[Place] = []
"""That of this process."""


def run_cases(place: Place, seed: int, numbers: Sequence[int], seconds: float) -> dict[int, tuple[str, str, Ended]]:
    """Run cases one after the other; return the verb, the text and the end of each."""
    read_template(place)
    found = {}
    for number in numbers:
        place.reset()
        each = case(seed, number)
        found[number] = (each.verb, each.text, each.run(place, seconds))
    return found


def run_chunk(task: tuple[int, Sequence[int], float]) -> dict[int, tuple[str, str, Ended]]:
    """Run some cases, given as the arguments of `run_cases` after the place."""
    return run_cases(_places[0], *task)


def begin() -> None:
    """Make the place of this process."""
    import torch

    torch.set_num_threads(1)
    _places.append(make_place(Path(tempfile.mkdtemp(prefix="sentune-fuzz-"))))
