"""Which settings matter, and which ranges have no good configuration?

    python -m benchmarks.portfolio.spaces    print both tables, draw docs/images/importances.svg

Both tables are made from the recorded configurations of the space `default` (benchmarks.portfolio.record). A
configuration's score on a set is the mean of validation and test accuracy.

- Ranges: for each setting and each part of its range (an eighth, on a log scale if it has one; or one choice), the
  share of the configurations there that are in the best quarter of their set. The mean over sets is 25% if the setting
  has no effect. `cut` marks a part without any on any set, and `few` one with at most four configurations, which shows
  nothing.
- Importances: PED-ANOVA (Watanabe, Bansal and Hutter 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter
  Importance in Arbitrary Subspaces", IJCAI) of being in the best quarter, in the form of Optuna for conditional
  settings. They add up to 100% on each set.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import altair as alt
import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from benchmarks.portfolio.curves import BASELINE, Recording, read_curves
from benchmarks.results import new_parser, table_head, table_row
from tuning.space.expressions import show_value
from tuning.space.space import Dimension

PICTURE = Path(__file__).parents[2] / "docs/images/importances.svg"
QUARTER = 0.25
"""Fraction of a set's configurations that count as good."""
PARTS = 8
"""Number of equal parts of a numeric range."""
MAX_FEW = 4
"""Number of configurations in a part up to which nothing is concluded."""
RATES = (1e-4, 3e-4, 1e-3, 2e-3, 1e-2)
"""Ends of parts of the learning rates of Adam, AdamW and RMSprop, which are of one size."""


def main() -> None:
    new_parser(__doc__).parse_args()
    recording = read_curves()
    print("\n".join(range_rows(recording, "default")))
    found = importances(recording, "default")
    print("\n" + "\n".join(importance_rows(found)))
    picture(found).save(PICTURE)
    print(f"\nwrote {PICTURE}")


def good(recording: Recording, numbers: Sequence[int]) -> NDArray[np.bool_]:
    """Return (S, n) whether each of n configurations is in the best quarter of them on each set."""
    scores = recording.scores[:, numbers]
    return np.asarray(scores >= np.quantile(scores, 1 - QUARTER, axis=1, keepdims=True))


def random_configurations(recording: Recording, space: str) -> list[int]:
    """Return the configurations that were drawn from a space."""
    return [number for number in recording.numbers(space) if number != BASELINE]


def parts_of(dimension: Dimension) -> list[str]:
    """Return the name of each part of a dimension's range."""
    values = dimension.distribution
    if isinstance(values, CategoricalDistribution):
        return [show_value(choice) for choice in values.choices]
    assert isinstance(values, IntDistribution | FloatDistribution)
    if isinstance(values, IntDistribution) and values.high - values.low < PARTS:
        return [str(value) for value in range(values.low, values.high + 1)]
    ends = np.linspace(*_ends(values), PARTS + 1)
    return [f"{low:.3g} to {high:.3g}" for low, high in pairwise(np.exp(ends) if values.log else ends)]


def part_of(dimension: Dimension, value: Any) -> int:
    """Return the number of the part with a value."""
    values = dimension.distribution
    if isinstance(values, CategoricalDistribution):
        return values.choices.index(value)
    assert isinstance(values, IntDistribution | FloatDistribution)
    if isinstance(values, IntDistribution) and values.high - values.low < PARTS:
        return int(value) - values.low
    low, high = _ends(values)
    place = ((math.log(value) if values.log else value) - low) / (high - low)
    return min(int(place * PARTS), PARTS - 1)


def _ends(values: IntDistribution | FloatDistribution) -> tuple[float, float]:
    return (math.log(values.low), math.log(values.high)) if values.log else (values.low, values.high)


def range_rows(recording: Recording, space: str) -> Iterator[str]:
    """Yield the table of the ranges."""
    numbers = random_configurations(recording, space)
    best = good(recording, numbers)
    configs = [recording.config(number) for number in numbers]
    params = [recording.spaces[space].to_params(config) for config in configs]
    yield f"Space `{space}`: {len(numbers)} configurations, {len(recording.sets)} sets.\n"
    shares = ("in the best quarter: mean over sets", "highest set")
    yield from table_head(("setting", "part", "configurations", *shares, ""))
    for dimension in recording.spaces[space].dimensions:
        places = [part_of(dimension, each[dimension.name]) if dimension.name in each else None for each in params]
        for part, name in enumerate(parts_of(dimension)):
            yield range_row(best, dimension.name, name, [place == part for place in places])
    rates = [0.0 if config.optimizer == "adadelta" else config.learning_rate for config in configs]
    for low, high in pairwise(RATES):
        there = [low <= rate < high or rate == high == RATES[-1] for rate in rates]
        yield range_row(best, "learning_rate (adam, adamw, rmsprop)", f"{low:g} to {high:g}", there)


def range_row(best: NDArray[np.bool_], setting: str, part: str, there: Sequence[bool]) -> str:
    """Return the row of the table of ranges for the configurations that are in a part."""
    count = sum(there)
    shares = best[:, there].mean(axis=1) if count else np.zeros(len(best))
    remark = "few" if count <= MAX_FEW else "cut" if not shares.any() else ""
    return f"| {setting} | {part} | {count} | {shares.mean():.0%} | {shares.max():.0%} | {remark} |"


def importances(recording: Recording, space: str) -> dict[str, dict[str, float]]:
    """Return by set and setting the share of a setting in what decides whether a configuration is good."""
    searched, numbers = recording.spaces[space], random_configurations(recording, space)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = {}
    for name, recorded in recording.sets.items():
        study = optuna.create_study(direction="maximize")
        for number in numbers:
            params = searched.to_params(recording.config(number))
            value = float(recorded.scores[number])
            study.add_trial(create_trial(params=params, distributions=searched.distributions(params), value=value))
        evaluator = PedAnovaImportanceEvaluator(target_quantile=QUARTER)
        found[name] = {key: float(value) for key, value in get_param_importances(study, evaluator=evaluator).items()}
    return found


def means(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean importance of each setting over the sets, the highest first."""
    names = next(iter(found.values()))
    shares = {name: fmean(each[name] for each in found.values()) for name in names}
    return dict(sorted(shares.items(), key=lambda pair: (-pair[1], pair[0])))


def importance_rows(found: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield the table of the importances."""
    yield from table_head(("setting", "mean", *found))
    for name, mean in means(found).items():
        yield table_row((name, f"{mean:.0%}", *(f"{each[name]:.0%}" for each in found.values())))


def picture(found: Mapping[str, Mapping[str, float]]) -> alt.LayerChart:
    """Return a bar for the mean importance of each setting, and a point for each set."""
    order = list(means(found))
    bars = [{"setting": name, "share": share} for name, share in means(found).items()]
    points = [
        {"setting": name, "share": share, "set": which} for which, each in found.items() for name, share in each.items()
    ]
    y = alt.Y("setting:N", sort=order, title=None)
    x = alt.X("share:Q", title="share of the importance", axis=alt.Axis(format="%"))
    mean = alt.Chart(alt.Data(values=bars)).mark_bar(color="#c6dbef").encode(x=x, y=y)
    each = alt.Chart(alt.Data(values=points)).mark_point(filled=True, size=30, opacity=0.8)
    return alt.layer(mean, each.encode(x=x, y=y, color=alt.Color("set:N", title="set"))).properties(
        width=520, background="#fff"
    )


if __name__ == "__main__":
    main()
