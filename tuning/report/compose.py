"""Rendering of the page: one file that loads no other."""

import functools
import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import vl_convert
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from core.config import SHORT_NAMES
from core.data.audit import audit_sections
from core.io.text import last_part, printable, without_folders
from tuning.analysis.ranking import MAIN, STATES, AssessedStudy, TrialRow
from tuning.formatting import content_policy, format_value
from tuning.journal.predictions import DAMAGE, journal_damage
from tuning.report.chart_data import ChartData
from tuning.report.charts import CONFIG, VEGA_LITE
from tuning.report.figures import Figure, specification
from tuning.report.headline import cards, page_verdict, remarks
from tuning.report.mistakes import MistakesSection
from tuning.scheduling.study_config import spec_notes

FLEXIBLE = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
"""Width of a chart that fills its place in the page."""


def render_page(
    data: ChartData,
    drawn: Mapping[str, Figure],
    wrong: MistakesSection,
    *,
    command: str,
    every_seconds: int | None,
) -> bytes:
    """Return the page as UTF-8.

    Args:
        data: The study.
        drawn: Its figures by name.
        wrong: Section about the mistakes of the recommended trial.
        command: The user's command line.
        every_seconds: Interval at which the page reloads itself; None for never.
    """
    study = data.study
    drawn = {key: each for key, each in drawn.items() if key != "confusion"}  # the page has a table instead
    css, vega, js = _asset("page.css"), vega_bundle(), _asset("page.js")
    states = Counter(record.state for record in study.records)
    words = STATES | {"RUNNING": "not ended"}  # a killed search has such trials, too
    counts = [f"{states[state]} {word}" for state, word in words.items() if states[state]]
    charts, datasets = specifications({key: each.chart for key, each in drawn.items() if each.chart})
    hidden = ["metric", "params", *(["val_metric", "test_metric"] if data.metric.name == "accuracy" else [])]
    main = [name for name in MAIN if name not in hidden]
    more = [name for name in TrialRow.__slots__ if name not in (*hidden, *MAIN)]
    # The page hides what follows the settings on paper, and columns that are empty.
    table = {"columns": [*main, *data.settings, *more], "more": more, "rows": _columns(json.loads(data.text))}
    table["short"] = {SHORT_NAMES[name]: name for name in data.settings if name in SHORT_NAMES}
    table["words"] = {"true": "yes", "false": "no", **STATES}  # of JSON, which a filter may have, as in the cells
    context = {
        "study": study,
        "name": shlex.quote(study.name),
        "policy": content_policy(css, vega, js),
        "css": Markup(css),
        "scripts": [Markup(vega), Markup(js)],
        "data": Markup(page_data({"charts": charts, "config": CONFIG}, {"datasets": datasets, **table}, css)),
        "every_seconds": every_seconds,
        "made": f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}",
        "version": version("sentune"),
        "state_counts": ", ".join(counts) or "no trial yet",
        "verdict": page_verdict(study),
        "default_trial": study.default_trial,
        "cards": cards(study),
        "notes": [*remarks(study), *spec_notes(study.spec)],
        "shown": len(data.rows),
        "figures": drawn,
        "parts": list(charts),
        "audit": _audit(study),
        "command": without_folders(study.attributes["command"]),
        "typed": without_folders(command),
        "about": about(study.spec),
        "wrong": wrong,
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    # `shown` escapes what is invisible, or would reverse the text.
    environment.filters |= {"shown": printable, "setting": format_value}
    return environment.from_string(_asset("page.html")).render(context).encode()


def _audit(study: AssessedStudy) -> list[tuple[str, list[str]]]:
    """Return the lines of the data's audit by heading."""
    try:
        return audit_sections(study.attributes["audit"], study.spec["metric"])
    except DAMAGE as error:
        raise journal_damage("the audit of the study", error) from error


@functools.cache
def vega_bundle() -> str:
    """Return the scripts that draw charts, which load no other file. Takes about two seconds, once."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)


def specifications(charts: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the Vega-Lite specification of each chart, and the data sets by name, which charts share.

    The page places the parts of a concatenated chart one by one.
    """
    parts: dict[str, Any] = {}
    datasets: dict[str, Any] = {}
    for key, chart in charts.items():
        whole = specification(chart)
        own = whole.pop("datasets")
        whole.pop("resolve", None)  # is for parts that are drawn together
        datasets |= {name: _columns(json.loads(text)) for name, text in own.items()}
        for at, part in enumerate(whole.pop("concat", [{}])):
            spec = {**whole, **part, "datasets": list(own)}
            fixed = isinstance(spec["width"], dict)  # a step for each value
            parts[f"{key}-{at}"] = spec if fixed else spec | FLEXIBLE
    return parts, datasets


def page_data(styled: Mapping[str, Any], plain: Mapping[str, Any], css: str) -> str:
    r"""Return JSON that cannot end a script element: `<`, `>`, `&` and all but ASCII are written as escapes.

    In `styled`, colours become the variables of the page's style, which has them for light and dark mode.
    """
    dump = functools.partial(json.dumps, allow_nan=False, separators=(",", ":"))
    style = dump(styled)
    for name, colour in re.findall(r"--([\w-]+): (#\w{6})", css.split("@media")[0]):
        style = style.replace(f'"{colour}"', f'"var(--{name})"')
    text = f"[{style},{dump(plain)}]"
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _columns(rows: list[dict[str, Any]]) -> list[list[Any]]:
    """Return the names of the columns, then the values of each row."""
    return [list(rows[0]), *(list(row.values()) for row in rows)] if rows else [[]]


def about(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the study's options as names and values."""
    listed = {**spec["data"], **{name: value for name, value in spec.items() if name not in ("data", "space")}}
    nested = {name: value for name, value in listed.items() if isinstance(value, Mapping)}
    listed |= {name: ", ".join(f"{key} {each}" for key, each in value.items()) for name, value in nested.items()}
    return [
        (name.replace("_", " "), without_folders(last_part(str(value))))
        for name, value in listed.items()
        if value not in (None, "")
    ]


def _asset(name: str) -> str:
    return (files("tuning.report") / "assets" / name).read_text(encoding="utf-8")
