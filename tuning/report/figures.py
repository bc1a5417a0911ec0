"""The charts of a study that can be drawn, notes on the others, their images, and StudyCharts for Python users."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

from core.calibration import MIN_MISTAKES, MIN_SENTENCES, describe_errors
from core.errors import UserError
from core.io.atomic import atomic_write
from tuning.analysis.random_search_curve import random_search_curve
from tuning.analysis.ranking import AssessedStudy, read_assessed
from tuning.console import in_callers_terms
from tuning.journal.records import TestEvaluation, evaluations_on_test
from tuning.report import charts
from tuning.report.chart_data import (
    ChartData,
    calibrated_evaluation,
    chart_data,
    default_results,
    searched_trials,
)

MIN_TRIALS = 8
"""With fewer trials, no importances are computed."""
FEW_TRIALS = 30
"""Number of trials below which importances are mostly due to chance."""
WIDEST_CHART = 40
"""Maximum number of classes in the chart of confusions."""
CHARTS: Mapping[str, Callable[[ChartData], charts.AnyChart]] = {
    draw.__name__: draw
    for draw in (
        *(charts.history, charts.curves, charts.losses, charts.importances),
        *(charts.expected, charts.timeline, charts.parallel, charts.slices, charts.calibration, charts.confusion),
    )
}
"""Functions of the charts in the page's order. A function's name is its anchor in the page and the name of its images.
The page has a table instead of the last one."""


class Figure(NamedTuple):
    """One chart, or the reason why there is none."""

    chart: charts.AnyChart | None
    note: str | None
    """A warning, or the reason why there is no chart."""


def figures(data: ChartData) -> dict[str, Figure]:
    """Return a figure for each entry of CHARTS."""
    why, notes = reasons(data), dict[str, str]()
    if (own := len(searched_trials(data.study))) < FEW_TRIALS:
        few = f"With {own} ended trials in the searched ranges, fewer than {FEW_TRIALS},"
        notes["importances"] = f"{few} such shares are mostly due to chance."
    if (evaluation := calibrated_evaluation(data.study)) is not None:
        notes["calibration"] = _calibration_note(evaluation)
    notes |= why
    with debug_mode(False):  # checking each part of a chart takes as long as making it
        return {name: Figure(None if name in why else draw(data), notes.get(name)) for name, draw in CHARTS.items()}


def reasons(data: ChartData, retrain: str = "sentune retrain or ensemble") -> dict[str, str]:
    """Return the reason why a chart cannot be drawn, by its name; empty if all can.

    Args:
        data: The study.
        retrain: Command or call that measures a calibrated model.
    """
    study = data.study
    there = {
        "curves": any(each.epochs for each in study.records),
        "timeline": any(row["segments"] for row in data.rows),
    }
    why = {name: "No trial has ended with a value yet." for name in CHARTS if not there.get(name, bool(study.ranked))}
    if "slices" not in why and not charts.sliced(data):
        why["slices"] = "No ended trial has a value in its searched range yet."
    try:
        random_search_curve(study.records)
    except UserError as error:
        why["expected"] = in_callers_terms(str(error))
    if calibrated_evaluation(study) is None:
        why["calibration"] = _why_not_calibrated(study, retrain)
    own = [row.val_metric for row, _ in searched_trials(study)]
    some = f"{len(own)} ended trial{'s' * (len(own) != 1)} in the searched ranges"
    if len(own) < MIN_TRIALS:
        why["importances"] = f"{some} {'is' if len(own) == 1 else 'are'} too few to compute importances."
    elif len(set(own)) == 1:
        why["importances"] = f"All {some} have the same {data.metric.title}; there are no differences."
    if "confusion" not in why:
        results = default_results(study)
        if results is None:
            why["confusion"] = "The study has no predictions of this trial on the validation split."
        elif len(results.scores) > WIDEST_CHART:
            why["confusion"] = f"{len(results.scores)} classes are too many for a matrix."
    return why


def _why_not_calibrated(study: AssessedStudy, retrain: str) -> str:
    """Return why there is no calibrated model, and what to run only if that helps."""
    if study.test_split is None:
        return "There is no test split on which the calibration of a model could be measured."
    none = "No calibrated model was evaluated on the test split"
    own = (each for each in evaluations_on_test(study.attributes) if each["split"] == study.test_split)
    saved = any(each["verb"] == "retrain" or "members" in each for each in own)
    if saved or (study.assessment.sentences or 0) < MIN_SENTENCES:
        needed = f"at least {MIN_SENTENCES} validation sentences with {MIN_MISTAKES} mistakes"
        return f"{none}: calibration needs {needed}."
    return f"{none} yet; run {retrain}."


def _calibration_note(evaluation: TestEvaluation) -> str:
    """Return the model of the diagram, and its error before and after calibration."""
    errors = describe_errors(*(evaluation["calibration"][state]["error"] for state in ("before", "after")))
    trial = "" if evaluation["trial"] is None else f" of trial {evaluation['trial']}"
    about = f"Model{trial} by {evaluation['verb']}, trained on {evaluation['on']}"
    return f"{about}: expected calibration error {errors}."


def specification(chart: charts.AnyChart) -> dict[str, Any]:
    """Return the Vega-Lite specification of a chart, whatever theme and data transformer this process uses."""
    with alt.theme.enable("default"), alt.data_transformers.enable("default", consolidate_datasets=True):
        found: dict[str, Any] = chart.to_dict(validate=False)
    return found


def write_images(drawn: Mapping[str, Figure], folder: Path) -> None:
    """Write each chart as KEY.svg and KEY.png.

    Raises:
        UserError: A file cannot be written.
    """
    for key, figure in drawn.items():
        if figure.chart is not None:
            config = charts.CONFIG | {"background": "white"}
            svg = vl_convert.vegalite_to_svg(specification(figure.chart), vl_version=charts.VEGA_LITE, config=config)
            atomic_write(folder / f"{key}.svg", svg.encode())
            atomic_write(folder / f"{key}.png", vl_convert.svg_to_png(svg, scale=2))


class StudyCharts:
    """Charts of a study: a method for each entry of CHARTS, such as `history()`, which returns an Altair chart."""

    def __init__(self, folder: Path, call: Callable[[str], AbstractContextManager[Any]]) -> None:
        """Refer to the study in `folder`, which is read at each call, within `call(NAME)`."""
        self._folder, self._call = folder, call

    def __dir__(self) -> list[str]:
        return list(CHARTS)

    def __repr__(self) -> str:
        return f"charts of study {self._folder.name!r}: {', '.join(f'{name}()' for name in CHARTS)}"

    def __getattr__(self, name: str) -> Callable[[], charts.AnyChart]:
        if name not in CHARTS:
            raise AttributeError(f"there is no chart {name!r}; choose from {', '.join(CHARTS)}")
        method = partial(self._draw, name)
        method.__doc__ = CHARTS[name].__doc__
        return method

    def _draw(self, name: str) -> charts.AnyChart:
        """Return a chart; raise UserError with the reason if there is nothing to draw yet."""
        with self._call(f"charts.{name}"):
            data = chart_data(read_assessed(self._folder, ensemble_size=0))
            if why := reasons(data, "study.retrain()").get(name):
                raise UserError(f"there is no chart {name} of study {self._folder.name!r}: {why}")
            return CHARTS[name](data)
