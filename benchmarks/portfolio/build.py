"""Choose the portfolio: settings of which one is good on each dataset.

    python -m benchmarks.portfolio.build             write tuning/space/portfolio.json
    python -m benchmarks.portfolio.build --print     only print what each choice gains

The settings are chosen one after another from the recorded configurations (benchmarks.portfolio.record), as in TabRepo
(Salinas and Erickson 2024, "TabRepo: A Large Scale Repository of Tabular Model Evaluations and its AutoML
Applications"): each choice makes the mean over sets of the gap between the set's best configuration and the best chosen
one as small as possible. The baseline counts as chosen, because each study trains it first. If no further
configuration makes a gap smaller, a new round begins without those chosen before.

A gap is 0 for the best configuration of a set and 1 for its median and all below. So a set on which settings matter
little, or whose few test sentences make scores noisy, does not decide by its spread, as it would in points.

The file first lists the choices among all configurations. Those among the configurations that the space `quick` holds
follow, without repeats.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.portfolio.curves import BASELINE, Recording, read_curves
from benchmarks.results import new_parser
from core.io.atomic import atomic_write
from tuning.space.initial_trials import fit_settings
from tuning.space.load import load_space
from tuning.space.space import Space

COUNT = 8
"""Maximum number of settings of each of the two lists."""
PORTFOLIO_FILE = Path(__file__).parents[2] / "tuning/space/portfolio.json"


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--print", action="store_true", help="Write no file.")
    only_print = parser.parse_args().print
    recording = read_curves()
    first, quick = choose_all(recording, COUNT)
    gaps = normalised_gaps(recording.scores)
    common = [number for number in first if holds(load_space("quick"), recording, number)]
    lists = (("all configurations", [BASELINE], first), ("the space `quick`", [BASELINE, *common], quick))
    for title, before, chosen in lists:
        others = len(before) - 1
        print(f"{title}: mean gap of the baseline and {others} others {gaps[:, before].min(axis=1).mean():.3f}")
        for k in range(1, len(chosen) + 1):
            reached = gaps[:, [*before, *chosen[:k]]].min(axis=1)
            print(f"  {k:2} configuration {chosen[k - 1]:3}: {reached.mean():.3f}")
    if not only_print:
        made = {
            "command": "python -m benchmarks.portfolio.build",
            "sets": list(recording.sets),
            "curves": recording.scores.size,
        }
        entries = [entry(recording, number) for number in (*first, *quick)]
        atomic_write(PORTFOLIO_FILE, to_text(made, entries).encode())
        print(f"wrote {len(entries)} settings to {PORTFOLIO_FILE}")


def choose_all(recording: Recording, count: int) -> tuple[list[int], list[int]]:
    """Return `count` configurations at most among all, and others among those that the space `quick` holds."""
    everything = [number for number in range(len(recording.settings)) if number != BASELINE]
    first = choose(recording, everything, count)
    held = [number for number in everything if holds(load_space("quick"), recording, number)]
    common = [number for number in first if number in held]
    others = [number for number in held if number not in first]
    return first, choose(recording, others, count - len(common), common)


def choose(recording: Recording, candidates: Sequence[int], count: int, before: Sequence[int] = ()) -> list[int]:
    """Return `count` candidates at most, in the order of choice; the baseline and `before` are chosen before them."""
    return greedy(normalised_gaps(recording.scores), candidates, [BASELINE, *before], count)


def normalised_gaps(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance to a set's best, where the set's median and all below count as 1.

    Args:
        scores: (S, N) of S sets and N configurations.
    """
    best, middle = scores.max(axis=1, keepdims=True), np.median(scores, axis=1, keepdims=True)
    width = np.where(best > middle, best - middle, 1.0)
    return np.minimum((best - scores) / width, 1.0)


def greedy(gaps: NDArray[np.float64], candidates: Sequence[int], start: Sequence[int], count: int) -> list[int]:
    """Return the candidates (`count` at most) in the order in which they are chosen.

    Args:
        gaps: (S, N) from `normalised_gaps`.
        candidates: numbers of configurations.
        start: numbers that are chosen before.
        count: maximum number of choices.
    """
    left, chosen = list(candidates), list[int]()
    reached = gaps[:, start].min(axis=1)  # (S,)
    while left and len(chosen) < count:
        means = np.minimum(reached[:, None], gaps[:, left]).mean(axis=0)
        if means.min() >= reached.mean():  # a new round
            reached = np.ones_like(reached)
            means = gaps[:, left].mean(axis=0)
        chosen.append(left.pop(int(means.argmin())))
        reached = np.minimum(reached, gaps[:, chosen[-1]])
    return chosen


def holds(space: Space, recording: Recording, number: int) -> bool:
    """Return whether a space holds a configuration, perhaps clipped."""
    return fit_settings(space, entry(recording, number)) is not None


def entry(recording: Recording, number: int) -> dict[str, Any]:
    """Return the searched settings of a configuration; numbers have three significant digits."""
    fields = {dimension.field for space in recording.spaces.values() for dimension in space.dimensions}
    return {name: _round(value) for name, value in recording.settings[number].items() if name in fields}


def _round(value: Any) -> Any:
    return float(f"{value:.3g}") if isinstance(value, float) else value


def to_text(made: dict[str, Any], entries: Sequence[dict[str, Any]]) -> str:
    """Return the file: JSON with one line per setting, so that a change of one is a change of one line."""
    rows = ",\n".join(f"    {json.dumps(each)}" for each in entries)
    return f'{{\n  "made": {json.dumps(made)},\n  "settings": [\n{rows}\n  ]\n}}\n'


if __name__ == "__main__":
    main()
