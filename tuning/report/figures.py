"""The charts of a study that can be drawn, notes on the others, and their images."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import vl_convert

from core.calibration import describe_errors
from core.errors import UserError
from core.io.atomic import atomic_write
from tuning.analysis.random_search_curve import random_search_curve
from tuning.journal.records import TestEvaluation
from tuning.report import charts
from tuning.report.chart_data import MIN_TRIALS, ChartData
from tuning.report.facts import calibrated_evaluation

FEW_TRIALS = 30
"""With fewer trials, importances are mostly chance."""
CHARTS: Sequence[Callable[[ChartData], charts.AnyChart]] = (
    *(charts.history, charts.curves, charts.losses, charts.importances),
    *(charts.expected, charts.timeline, charts.parallel, charts.slices, charts.calibration),
)
"""In the page's order; a function's name is its anchor in the page and the name of its images."""


class Figure(NamedTuple):
    """One chart, or why there is none."""

    chart: charts.AnyChart | None
    note: str | None
    """A warning, or why there is no chart."""


def figures(data: ChartData) -> dict[str, Figure]:
    """Return a figure for each entry of CHARTS."""
    facts, named = data.facts, {draw.__name__: draw for draw in CHARTS}
    there = {
        "curves": any(each.epochs for each in facts.records),
        "timeline": any(row["segments"] for row in data.rows),
    }
    why = {key: "No trial has ended an epoch yet." for key in named if not there.get(key, bool(facts.ranked))}
    try:
        random_search_curve(facts.records)
    except UserError as error:
        why["expected"] = str(error)
    evaluation = calibrated_evaluation(facts)
    if evaluation is None:
        why["calibration"] = "No calibrated model was evaluated on the test split yet: use sentune retrain or ensemble."
    own = [row.val_metric for row, _ in facts.ranked if row.copy_of is None]
    hint = f"Of {len(own)} ended trials, fewer than {FEW_TRIALS}, such shares are mostly chance: take them as a hint."
    if len(own) < MIN_TRIALS:
        why["importances"] = f"{len(own)} ended trials are too few to tell."
    elif len(set(own)) == 1:
        why["importances"] = f"All {len(own)} ended trials have the same {data.metric.title}: nothing to explain."
    found = {key: Figure(None if key in why else draw(data), why.get(key)) for key, draw in named.items()}
    if len(own) < FEW_TRIALS and found["importances"].chart is not None:
        found["importances"] = found["importances"]._replace(note=hint)
    if evaluation is not None:
        found["calibration"] = found["calibration"]._replace(note=_calibration_note(evaluation))
    return found


def _calibration_note(evaluation: TestEvaluation) -> str:
    """Return whose diagram it is, and the error before and after."""
    errors = describe_errors(*(evaluation["calibration"][state]["error"] for state in ("before", "after")))
    trial = "" if evaluation["trial"] is None else f" of trial {evaluation['trial']}"
    about = f"Model{trial} by {evaluation['verb']}, trained on {evaluation['on']}"
    return f"{about}: expected calibration error {errors}."


def write_images(drawn: Mapping[str, Figure], folder: Path) -> None:
    """Write each chart as KEY.svg and KEY.png.

    Raises:
        UserError: a file cannot be written.
    """
    for key, figure in drawn.items():
        if figure.chart is not None:
            config = charts.CONFIG | {"background": "white"}
            svg = vl_convert.vegalite_to_svg(figure.chart.to_dict(), vl_version=charts.VEGA_LITE, config=config)
            atomic_write(folder / f"{key}.svg", svg.encode())
            atomic_write(folder / f"{key}.png", vl_convert.svg_to_png(svg, scale=2))
