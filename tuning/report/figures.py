"""The charts of a study that can be drawn, notes on the others, and their images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import vl_convert

from core.errors import UserError
from core.io.atomic import atomic_write
from tuning.analysis.random_search_curve import random_search_curve
from tuning.report import charts
from tuning.report.chart_data import MIN_TRIALS, ChartData

FEW_TRIALS = 30
"""With fewer trials, importances are mostly chance."""
CHARTS: Mapping[str, Callable[[ChartData], charts.AnyChart]] = {
    "history": charts.history,
    "curves": charts.curves,
    "losses": charts.losses,
    "importances": charts.importance_bars,
    "expected": charts.expected_best_curve,
    "timeline": charts.timeline,
    "parallel": charts.parallel,
    "slices": charts.slices,
}
"""Function of each chart, by its anchor in the page, which is also the name of its images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One chart, or why there is none."""

    chart: charts.AnyChart | None
    note: str | None
    """A warning, or why there is no chart."""


def figures(data: ChartData) -> dict[str, Figure]:
    """Return a figure for each entry of CHARTS."""
    facts, hint = data.facts, None
    why: dict[str, str | None] = dict.fromkeys(
        CHARTS, None if facts.ranked else "No trial has ended with an accuracy yet."
    )
    why["curves"] = None if any(record.epochs for record in facts.records) else "No epoch has ended yet."
    why["timeline"] = None if any(row["segments"] for row in data.rows) else "No trial has begun yet."
    try:
        random_search_curve(facts.records)
    except UserError as error:
        why["expected"] = str(error)
    own = [row.val_metric for row, _ in facts.ranked if row.copy_of is None]
    if len(own) < MIN_TRIALS:
        why["importances"] = f"{len(own)} ended trials are too few to tell."
    elif len(set(own)) == 1:
        why["importances"] = (
            f"All {len(own)} ended trials have the same {data.metric.title}: there is nothing to explain."
        )
    elif len(own) < FEW_TRIALS:
        hint = (
            f"Only {len(own)} trials have ended: below {FEW_TRIALS} such shares are mostly chance. Take them as a hint."
        )
    found = {key: Figure(chart=None if why[key] else draw(data), note=why[key]) for key, draw in CHARTS.items()}
    return found | ({"importances": Figure(chart=found["importances"].chart, note=hint)} if hint else {})


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
