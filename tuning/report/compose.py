"""Rendering of the page: one file that loads no other."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from core.class_report import class_report
from core.data.audit import audit_sections
from core.io.text import printable
from tuning.analysis.assessment import StudyAssessment
from tuning.analysis.ranking import STATES
from tuning.formatting import content_policy, format_value
from tuning.report.facts import MARKS, Figure, ReportData, sample_trials, sampling_note
from tuning.report.headline import cards, remarks
from tuning.report.mistakes import Mistake, Predictions
from tuning.report.setting_plots import SHADES, importance_bars, parallel, slices
from tuning.report.svg import drawing, mark
from tuning.report.table import report_table
from tuning.report.timeline_plot import draw_bar, last_moment, timeline
from tuning.report.trial_plots import budget, curves, history, losses
from tuning.scheduling.study import spec_notes

WIDEST_MATRIX = 15
"""Maximum number of classes in a confusion matrix; with more, the page lists the confusions."""
MAX_CONFUSIONS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class MistakesSection:
    """The section about the winner's mistakes."""

    answers: Predictions | None
    mistakes: Sequence[Mistake]
    notes: Sequence[str]
    """What is missing there, and why."""


def render_page(
    facts: ReportData,
    assessment: StudyAssessment,
    wrong: MistakesSection,
    *,
    made: datetime,
    command: str,
    running: bool,
    every_seconds: int | None,
) -> bytes:
    """Return the page as UTF-8.

    Args:
        facts: The study.
        assessment: Assessment of the same study.
        wrong: Mistakes of its winner.
        made: Time at which the journal was read.
        command: The user's command line.
        running: Whether the study runs, so that trials that have not ended are being trained.
        every_seconds: Interval at which the page reloads itself; None for never.
    """
    css, js = _asset("page.css"), _asset("page.js")
    few = sample_trials(facts)
    columns, table_rows = report_table(few.rows)
    states = Counter(record.state for record in facts.records)
    words = {**STATES, "RUNNING": "not ended"}
    counts = [f"{states[state]} {word}" for state, word in words.items() if states[state]]
    context = {
        "facts": facts,
        "policy": content_policy(css, js),
        "css": Markup(css),
        "js": Markup(js),
        "rows_json": safe_json([row.to_dict() for row in few.rows]),
        "every_seconds": every_seconds,
        "made": f"{made:%Y-%m-%d %H:%M:%S}",
        "version": version("sentune"),
        "state_counts": ", ".join(counts) or "no trial yet",
        "cards": cards(facts, assessment),
        "notes": [*remarks(facts, assessment), *spec_notes(facts.spec)],
        "left_out": sampling_note(few),
        "columns": columns,
        "table_rows": table_rows,
        "figures": figures(facts, few, made if running else last_moment(facts.records)),
        "legend": MARKS,
        "audit": audit_sections(facts.attributes["audit"]) if "audit" in facts.attributes else [],
        "command": facts.attributes.get("command"),
        "typed": command,
        "about": about(facts.spec),
        **_mistakes_context(wrong),
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    # `shown` escapes what is invisible, or would reverse the text.
    environment.filters |= {"shown": printable, "setting": format_value, "legend_mark": _legend_mark}
    return environment.from_string(_asset("page.html")).render(context).encode()


def figures(facts: ReportData, few: ReportData, now: datetime) -> list[Figure]:
    """Return all plots, in the page's order.

    Args:
        facts: The study.
        few: The study with the trials that plots show one by one.
        now: End of the bars of trials that have not ended.
    """
    of_all = [plot(facts) for plot in (losses, importance_bars, budget)]
    return [history(few), curves(few), *of_all, timeline(few, now), parallel(few), slices(few)]


def safe_json(value: Any) -> Markup:
    r"""Return JSON that cannot end a script element: `<`, `>`, `&` and all but ASCII are written as escapes."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def about(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the study's options as names and values."""
    # The spec has the width of the word vectors, the option is for random ones only.
    options = {name: value for name, value in spec["data"].items() if name not in ("allow_leak", "embedding_dim")}
    rest = {
        name: spec.get(name)
        for name in ("embedding_dim", "epochs", "patience", "precision", "parallelism", "lag", "threads", "device")
    }
    listed = {**options, **rest, "seed": spec["seed"], "data fingerprint": spec["fingerprint"]}
    nested = {name: spec.get(name) for name in ("stopping", "sampler", "warm_start", "versions")}
    said = {name: ", ".join(f"{k} {v}" for k, v in (value or {}).items()) for name, value in nested.items()}
    return [
        (name.replace("_", " "), str(value)) for name, value in {**listed, **said}.items() if value not in (None, "")
    ]


def _mistakes_context(wrong: MistakesSection) -> dict[str, Any]:
    answers = wrong.answers
    counts = None if answers is None else answers.counts
    confident = bool(wrong.mistakes) and wrong.mistakes[0].confidence is not None
    return {
        "answers": answers,
        "class_scores": class_report(answers.counts, answers.classes) if answers is not None else [],
        "counts": add_shades(counts) if counts is not None and len(counts) <= WIDEST_MATRIX else None,
        "confusions": confusions(answers) if answers is not None else [],
        "mistakes": wrong.mistakes,
        "mistakes_title": "Most confident mistakes" if confident else "Mistakes that most trials share",
        "mistake_notes": wrong.notes,
    }


def add_shades(counts: NDArray[np.int64]) -> list[list[tuple[int, int]]]:
    """Pair each count with its shade, 0 to SHADES - 1, by its share of the sentences of its class."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shades = np.ceil(shares * (SHADES - 1)).astype(int)
    return [list(zip(row, shade, strict=True)) for row, shade in zip(counts.tolist(), shades.tolist(), strict=True)]


def confusions(answers: Predictions) -> list[tuple[str, str, int]]:
    """Return right class, answer and count of the most frequent confusions."""
    found = answers.counts
    mixed = [
        (answers.classes[right], answers.classes[said], int(found[right, said]))
        for right, said in zip(*np.nonzero(found), strict=True)
        if right != said
    ]
    return sorted(mixed, key=lambda each: (-each[2], each[:2]))[:MAX_CONFUSIONS]


def _legend_mark(kind: str, bars: bool) -> Markup:
    sample = draw_bar((2.0, 8.0), 12.0, 12.0, kind, None) if bars else mark((8.0, 8.0), kind, None)
    return drawing(MARKS[kind], sample, width=16, height=16)


def _asset(name: str) -> str:
    return (files("tuning.report") / "assets" / name).read_text(encoding="utf-8")
