"""Plots of accuracy against the settings: parallel coordinates, slices and importances."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from markupsafe import Markup
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from tuning.report.axes import Axis, CategoryAxis, NumericAxis, axis_over
from tuning.report.facts import Figure, ReportData
from tuning.report.svg import ACCURACY, NOTHING, Panel, draw_marks, drawing, element, line, text
from tuning.space.space import Dimension, midpoint

SHADES = 7
"""Classes q0 (worst) to q6 of the page's colours."""
MIN_TRIALS = 30
"""With fewer trials, shares are mostly chance."""
MIN_IMPORTANCE = 8
"""With fewer trials, no shares are shown."""
TREES, DEPTH = 16, 8
"""Of the forest that explains the accuracies. On 1,000 trials in 18 settings Optuna's 64 levels took seven times as
long and changed no share by more than 0.02."""


def importances(facts: ReportData) -> dict[str, float]:
    """Share of the accuracies' variance that each setting explains by itself, the largest first; they add up to 1.

    A setting that plays no part in a trial counts at the middle of its range, a stopped trial with the accuracy that it
    had. Trials that repeat another one are left out.

    Source: Hutter, Hoos and Leyton-Brown 2014, An Efficient Approach for Assessing Hyperparameter Importance (ICML).

    Returns:
        Empty below LEAST trials, and where all accuracies are the same.
    """
    own = sorted((row.trial, row.val_accuracy, record.params) for row, record in facts.ranked if row.copy_of is None)
    if len(own) < MIN_IMPORTANCE or len({accuracy for _, accuracy, _ in own}) == 1:
        return {}
    distributions = {dimension.name: dimension.distribution for dimension in facts.space.dimensions}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for _, accuracy, params in own:
        params = fill_params(params, distributions)
        study.add_trial(create_trial(params=params, distributions=distributions, value=accuracy))
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=0))
    return dict(sorted(((name, float(share)) for name, share in found.items()), key=lambda pair: (-pair[1], pair[0])))


def fill_params(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Add the midpoint of its range for each inactive setting."""
    return {name: params[name] if name in params else midpoint(each) for name, each in distributions.items()}


def parallel(facts: ReportData) -> Figure:
    """Parallel coordinates: every trial a line through its settings, ending at its accuracy."""
    ranked = facts.ranked
    fields = list(ranked[0][0].params) if ranked else []
    axes = {field: _axis(facts, field, [row.params[field] for row, _ in ranked]) for field in fields}
    axes[ACCURACY] = NumericAxis.over((row.val_accuracy or 0.0 for row, _ in ranked), margin=0.03)
    places = {name: 70.0 + 96 * at for at, name in enumerate(axes)}
    strands, worst = [], max((row.rank or 1 for row, _ in ranked), default=1)
    for row, _ in reversed(ranked):  # the best on top
        values = {**row.params, ACCURACY: row.val_accuracy}
        points = [(places[name], 280 - 230 * axis.position(values[name])) for name, axis in axes.items()]
        shade = SHADES - 1 - ((row.rank or 1) - 1) * SHADES // worst
        strands.append(line(points, class_=f"strand q{shade}" if row.rank != 1 else "strand winner", data_t=row.trial))
    uprights = [_upright(name, axis, places[name], at % 2) for at, (name, axis) in enumerate(axes.items())]
    label = f"parallel coordinates of {len(ranked)} trials over {', '.join(fields)}"
    width = 70.0 + 96 * (len(axes) - 1) + 60
    return Figure(
        key="parallel",
        title="Parallel coordinates",
        says=f"A line for each trial through its settings to its {ACCURACY}: the stronger its colour, the better its "
        "rank; the best trial is the thick one. A setting without a part in a trial stands at the value it would have.",
        drawings=(drawing(label, *strands, *uprights, width=width, height=296),) if ranked else (),
        notes=() if ranked else (NOTHING,),
    )


def slices(facts: ReportData) -> Figure:
    """Accuracy against each searched setting, of the trials in which it plays a part."""
    drawings = [_slice(facts, dimension) for dimension in facts.space.dimensions] if facts.ranked else []
    return Figure(
        key="slices",
        title="Slices",
        says=f"{ACCURACY.capitalize()} against each setting, of the trials in which it plays a part, over the range "
        "that is searched. Names stand in columns; within a column, sideways means nothing.",
        drawings=tuple(drawings),
        legend=("winner", "baseline", "done", "stopped"),
        notes=() if drawings else (NOTHING,),
    )


def importance_bars(facts: ReportData) -> Figure:
    """Draw how much of the differences in accuracy each setting explains."""
    shares = importances(facts)
    trials = sum(row.copy_of is None for row, _ in facts.ranked)
    step, left = 26.0, 190.0
    largest = max(shares.values(), default=1.0) or 1.0
    bars = []
    for at, (name, share) in enumerate(shares.items()):
        y = 14 + at * step
        long = share / largest * (640 - left - 70)
        bars.append(element("rect", x=left, y=y, width=max(long, 1.0), height=step - 8, class_="bar"))
        bars.append(text(name, left - 8, y + 13, "end"))
        bars.append(text(f"{share:.1%}", left + long + 6, y + 13))
    spoken = "importances: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    notes = []
    if not shares and trials < MIN_IMPORTANCE:
        notes.append(f"{trials} ended trials are too few to tell.")
    elif not shares:
        notes.append(f"All {trials} ended trials have the same accuracy: there is nothing to explain.")
    elif trials < MIN_TRIALS:
        notes.append(
            f"Only {trials} trials have ended: below {MIN_TRIALS} such shares are mostly chance. Take them for a hint."
        )
    return Figure(
        key="importances",
        title="Importances",
        says="The share of the differences in accuracy that each setting explains by itself (fANOVA, Hutter et al. "
        "2014, as Optuna computes it, over done and stopped trials; shares add up to 100%). It says that a setting "
        "mattered, not which value is good.",
        drawings=(drawing(spoken, *bars, height=20 + step * len(shares)),) if shares else (),
        notes=tuple(notes),
    )


def _axis(facts: ReportData, field: str, values: Sequence[Any]) -> Axis:
    searched = [dimension.distribution for dimension in facts.space.dimensions if dimension.field == field]
    return axis_over(
        values,
        log=any(getattr(distribution, "log", False) for distribution in searched),
        named=all(isinstance(distribution, CategoricalDistribution) for distribution in searched),
        margin=0.03,
    )


def _upright(name: str, axis: Axis, x: float, level: int) -> Markup:
    """Draw one axis of the parallel coordinates; names are on two levels, so that long ones fit."""
    ticks = [text(tick, x - 5, 284 - 230 * place, "end tick") for place, tick in axis.ticks(6)]
    return Markup("").join(
        [line([(x, 280), (x, 50)], class_="upright"), *ticks, text(name, x, 18 + 16 * level, "middle axis")]
    )


def _slice(facts: ReportData, dimension: Dimension) -> Markup:
    distribution = dimension.distribution
    held = [(row, record) for row, record in facts.ranked if dimension.name in record.params]
    if isinstance(distribution, CategoricalDistribution):
        x: Axis = axis_over(distribution.choices, named=True)
    else:
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        x = axis_over([distribution.low, distribution.high], log=distribution.log, margin=0.04)
    y = NumericAxis.over((row.val_accuracy or 0.0 for row, _ in facts.ranked), margin=0.06)
    panel = Panel(x=x, y=y, left=48, right=292, top=10, bottom=152)
    marks = []
    for row, record in held:
        at = panel.at(record.params[dimension.name], row.val_accuracy)
        if isinstance(x, CategoryAxis):  # spread over the column of a name, by the number: the same every time
            column = (panel.right - panel.left) / len(x.values)
            at = at[0] + (row.trial * 0.618034 % 1 - 0.5) * 0.6 * column, at[1]
        marks.append((facts.kind(record), at, row.trial))
    label = f"{ACCURACY} against {dimension.name}, {len(held)} trials"
    frame = panel.frame(dimension.name, "", x_ticks=5, y_ticks=4)
    return drawing(label, frame, *draw_marks(marks, radius=2.5), width=300, height=200)
