"""Charts of a study: each function returns an Altair chart. A click on a trial selects it in all charts of a page."""

import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import altair as alt
from optuna.distributions import CategoricalDistribution, IntDistribution
from rich.cells import cell_len

from core.io.text import printable
from tuning.analysis.random_search_curve import random_search_curve
from tuning.report.chart_data import ChartData, calibrated_evaluation, default_results, plain, setting_importances
from tuning.scheduling.asha import Asha
from tuning.space.space import Dimension

AnyChart = alt.Chart | alt.LayerChart | alt.ConcatChart
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.split(".")[:2])
"""Version for which Altair writes charts."""
SIZE = {"width": 640, "height": 300}
INK, MUTED, RULE, CARD = "#1c1f24", "#59606b", "#e2e4e8", "#ffffff"
GREEN, BLUE, BROWN, BAND = "#0a7a48", "#3b74b9", "#9a6a1f", "#9db7d8"
WIDEST_LABELS = 30
"""Number of characters that fit below a slice, which the page makes 240 pixels wide."""
WIDEST_WORKER = 24
"""Maximum number of characters of a worker's name in the timeline."""
SHADES = ("#103d74", "#2b5c9a", "#3f70ad", "#7ba0cd", "#9db7d8", "#bccbe0", "#d5dce6")
"""Colours of ranks, from the best to the last seventh."""
KINDS = {
    "failed": ("#b3261e", "triangle-down", 4),
    "running": ("#8a8f98", "triangle-up", 16),
    "paused": ("#a8327e", "square", 12),
    "stopped": (BROWN, "cross", 9),
    "done": (BLUE, "circle", 16),
    "baseline": ("#7a3fb0", "diamond", 16),
    "best": (GREEN, "M0,-1.6L.4,-.5L1.5,-.5L.6,.2L.95,1.3L0,.6L-.95,1.3L-.6,.2L-1.5,-.5L-.4,-.5Z", 16),
}
"""Kind of a trial -> colour, shape, and height of its bars in pixels, so that the kinds differ without colour."""
LABELS = {"labelColor": INK, "titleColor": MUTED, "titleFontWeight": "normal"}
CONFIG = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {**LABELS, "gridColor": RULE, "domainColor": MUTED, "tickColor": MUTED, "labelLimit": 120},
    "legend": LABELS,
    "text": {"color": INK},
    "rule": {"color": MUTED, "strokeDash": [4, 4]},
}
"""Style of the page's charts and of the images; the page replaces each colour by a variable of its style."""
CLOCK = {
    **dict.fromkeys(("year", "quarter", "month", "week", "date"), "%b %d"),
    **dict.fromkeys(("hours", "minutes"), "%H:%M"),
    "seconds": "%H:%M:%S",
}
"""Format of a tick by the largest unit that begins there; Vega's own has 12 hours without am or pm."""
SELECTED = alt.selection_point(name="trial", fields=["trial"], on="click", toggle=False)
OUTLINE = alt.StrokeValue(None, condition={"param": "trial", "empty": False, "value": INK})
TOOLTIP = alt.TooltipValue(alt.ExprRef("datum.shown"))
LEGEND = alt.Legend(orient="top", columns=4, symbolSize=60, symbolOpacity=1)


def history(data: ChartData) -> alt.LayerChart:
    """Draw each trial's metric by its number, and the best so far. Failed trials are on the lower edge."""
    shown = [row["trial"] for row in data.rows if row["rank"] or row["kind"] == "failed"]
    x, y = _x("trial", whole=range(min(shown, default=0), max(shown, default=0) + 1)), _metric(data)
    ranked = _trials(data).transform_filter("isValid(datum.rank)").encode(x=x, y=y)
    extreme = "max" if data.metric.higher_is_better else "min"
    best = ranked.transform_window(best=f"{extreme}(val_metric)", sort=[alt.SortField("trial")])
    line = best.mark_line(interpolate="step-after", color=GREEN, strokeWidth=1.5).encode(y=_metric(data, "best"))
    failed = _trials(data).transform_filter("datum.kind == 'failed'").encode(x=x, y=alt.value(SIZE["height"] - 5))
    # A layer without marks makes Vega warn of an infinite extent.
    below = [_marks(data, failed)] if any(row["kind"] == "failed" for row in data.rows) else []
    return alt.layer(line, *below, _marks(data, ranked).add_params(SELECTED)).properties(**SIZE)


def curves(data: ChartData) -> alt.LayerChart:
    """Draw every trial's metric by epoch. The label of a rung counts the trials that were promoted there."""
    spec = data.study.spec
    lengths = [len(record.epochs) for record in data.study.records if record.copy_of is None]
    rule = spec["stopping"] and Asha(grace=spec["stopping"]["grace"], reduction=spec["stopping"]["reduction"])
    rungs = {
        rung: f"rung {rung}: {sum(n > rung for n in lengths)} of {sum(n >= rung for n in lengths)}"
        for rung in (rule.rungs(spec["epochs"]) if rule else ())
    }
    x = _x("epoch", whole=range(1, spec["epochs"] + 1), domain=[1, spec["epochs"]])
    points = _trials(data).transform_flatten(["curve"], as_=["score"])
    points = points.transform_window(epoch="row_number()", groupby=["trial"]).encode(x=x, y=_metric(data, "score"))
    notable = "datum.kind == 'best' || datum.kind == 'baseline'"
    lines = points.mark_line().encode(
        detail=alt.Detail("trial:N"),
        color=_color(data),
        strokeOpacity=_faded(0.5, alt.StrokeOpacityValue),
        strokeWidth=_width(notable),
        tooltip=TOOLTIP,
    )
    ends = _marks(data, points.transform_filter("datum.epoch == length(datum.curve)"))
    return alt.layer(*_rules(x, rungs), lines.add_params(SELECTED), ends).properties(**SIZE)


def losses(data: ChartData) -> alt.LayerChart:
    """Draw the best trial's training and validation loss by epoch."""
    winner = data.study.winner
    record = data.study.records[winner.trial] if winner else None
    rows = [
        {"epoch": epoch.epoch, "split": split, "loss": plain(loss)}
        for epoch in (record.epochs if record else ())
        for split, loss in (("train", epoch.train_loss), ("validation", epoch.val_loss))
    ]
    epochs = data.study.spec["epochs"]
    x = _x("epoch", whole=range(1, epochs + 1), domain=[1, epochs])
    y = _y("loss", "mean cross-entropy (nats)")
    splits = ["train", "validation"]
    color = alt.Color("split:N", scale=alt.Scale(domain=splits, range=[BROWN, BLUE]), title=None, legend=LEGEND)
    dash = alt.StrokeDash("split:N", scale=alt.Scale(domain=splits, range=[[], [6, 4]]), title=None)
    lines = alt.Chart(_source(rows)).mark_line(point=True)
    lines = lines.encode(x=x, y=y, color=color, strokeDash=dash, tooltip=["epoch:Q", "split:N", "loss:Q"])
    best = {record.best.epoch: "best epoch"} if record and record.best else {}
    side = "right" if max(best, default=0) > epochs / 2 else "left"
    return alt.layer(*_rules(x, best, align=side), lines).properties(**SIZE)


def importances(data: ChartData) -> alt.LayerChart:
    """Draw the share of the differences in the metric that each setting explains."""
    shares = setting_importances(data.study)
    rows = [{"setting": name, "share": share} for name, share in shares.items()]
    scale = alt.Scale(domain=[0, 1.3 * max(shares.values())])  # room for the text of the longest bar
    x = alt.X("share:Q", axis=alt.Axis(format="%"), scale=scale)
    bars = alt.Chart(_source(rows)).encode(x=x, y=alt.Y("setting:N", title=None, sort=None))
    text = bars.mark_text(align="left", dx=4).encode(text=alt.Text("share:Q", format=".1%"))
    return alt.layer(bars.mark_bar(color=BLUE), text).properties(width=SIZE["width"], height=26 * len(rows))


def expected(data: ChartData) -> alt.LayerChart:
    """Draw the curve of `best --expected`.

    Raises:
        UserError: The study has fewer than two trials that were drawn at random.
    """
    budgets = random_search_curve(data.study.records).budgets
    names = ("trials", "plugin", "unbiased", "low", "high")
    title = f"trials (of {budgets[0].epochs:.1f} epochs each)"
    x = _x("trials", title, whole=range(1, len(budgets) + 1))
    base = alt.Chart(_source({name: getattr(step, name) for name in names} for step in budgets))
    base = base.encode(x=x, tooltip=[alt.Tooltip(f"{name}:Q", format=".4~f") for name in names])
    title = f"expected best validation {data.metric.title}"
    low, unbiased, plugin = (base.encode(y=_y(name, title)) for name in names[3:0:-1])
    band = low.mark_area(color=BAND, opacity=0.35).encode(y2=alt.Y2("high:Q"))
    lines = unbiased.mark_line(color=BLUE), plugin.mark_line(color=BLUE, strokeDash=[6, 4])
    return alt.layer(band, *lines).properties(**SIZE)


def timeline(data: ChartData) -> alt.Chart:
    """Draw a bar for each period in which a worker trained a trial."""
    workers = {segment[0] for row in data.rows for segment in row["segments"]}
    heights = {kind: height for kind, (_, _, height) in KINDS.items()}
    bars = _trials(data).transform_flatten(["segments"], as_=["segment"])
    bars = bars.transform_calculate(worker="datum.segment[0]", start="datum.segment[1]", end="datum.segment[2]")
    bars = bars.transform_calculate(height=f"{heights}[datum.kind]").mark_bar()
    # Workers of one host differ at the end of their names.
    label = f"length(datum.label) > {WIDEST_WORKER} ? '...' + slice(datum.label, {3 - WIDEST_WORKER}) : datum.label"
    axis = alt.Axis(labelExpr=label, labelLimit=0)
    bars = bars.encode(
        x=alt.X("start:T", title="time", axis=alt.Axis(format=CLOCK)),
        x2=alt.X2("end:T"),
        y=alt.Y("worker:N", title=None, sort=alt.EncodingSortField("start", "min"), axis=axis),
        size=alt.Size("height:Q", scale=None, legend=None),
        color=_color(data),
        stroke=OUTLINE,
        opacity=_faded(1),
        tooltip=TOOLTIP,
    )
    return bars.add_params(SELECTED).properties(width=SIZE["width"], height=20 * max(1, len(workers)))


def parallel(data: ChartData) -> alt.LayerChart:
    """Draw parallel coordinates: a line for each trial through its settings, with evenly spaced values."""
    axes = [*data.settings, "val_metric"]
    base = _trials(data).transform_filter("isValid(datum.rank)").transform_fold(axes, as_=["setting", "value"])
    base = base.transform_calculate(number="isNumber(datum.value) ? datum.value : -1e300")
    order = [alt.SortField("number"), alt.SortField("value")]
    base = base.transform_window(place="dense_rank()", groupby=["setting"], sort=order)
    base = base.transform_joinaggregate(top="max(place)", groupby=["setting"])
    base = base.transform_calculate(height="datum.top > 1 ? (datum.place - 1) / (datum.top - 1) : 0.5")
    header = alt.Axis(orient="top", labelAngle=0, labelPadding=10, domain=False, ticks=False)
    base = base.encode(x=alt.X("setting:N", sort=axes, title=None, axis=header), y=alt.Y("height:Q", axis=None))
    worst = max((row["rank"] or 1 for row in data.rows), default=1)
    scale = alt.Scale(type="quantize", domain=[1, worst], range=SHADES)
    color = alt.when("datum.rank == 1").then(alt.value(GREEN)).otherwise(alt.Color("rank:Q", legend=None, scale=scale))
    lines = base.mark_line().encode(
        detail=alt.Detail("trial:N"),
        color=color,
        strokeWidth=_width("datum.rank == 1"),
        strokeOpacity=_faded(0.75, alt.StrokeOpacityValue),
        tooltip=TOOLTIP,
    )
    ticks = base.transform_aggregate(groupby=["setting", "value", "place", "top", "height"])
    ticks = ticks.transform_filter("(datum.place - 1) % ceil(datum.top / 7) == 0")
    number = "format(datum.value, datum.value < 1000 ? '.3~g' : 'd')"  # 1024, not 1.02e+3
    ticks = ticks.transform_calculate(text=f"isNumber(datum.value) ? {number} : datum.value")
    halo = {"stroke": CARD, "strokeWidth": 3}
    texts = [
        ticks.encode(text=alt.Text("text:N")).mark_text(align="right", dx=-4, fontSize=10, **each)
        for each in (halo, {})
    ]
    axis = ticks.mark_line(color=MUTED, strokeWidth=1).encode(detail=alt.Detail("setting:N"))
    return alt.layer(axis, lines.add_params(SELECTED), *texts).properties(width=alt.Step(116), height=SIZE["height"])


def setting_slice(data: ChartData, dimension: Dimension) -> alt.Chart:
    """Draw the metric by one searched setting over its range, for the trials in which it is active."""
    searched, name = dimension.distribution, dimension.name
    chart = _trials(data).encode(y=_metric(data)).properties(width=280, height=150)
    place = data.study.space.dimensions.index(dimension)
    chart = chart.transform_filter(f"isValid(datum.rank) && indexof(datum.idle, {place}) < 0")
    if isinstance(searched, CategoricalDistribution):
        # The number of the trial spreads the marks over the column of a value.
        chart = chart.transform_calculate(spread="(datum.trial * 0.618034) % 1").encode(xOffset=alt.XOffset("spread:Q"))
        choices = [plain(choice) for choice in searched.choices]
        # If the longest labels may not fit next to each other, every second one is a line lower. Of many, some show.
        last, wide = len(choices) - 1, len(choices) * max(len(str(choice)) for choice in choices) > WIDEST_LABELS
        step = -(-sum(len(str(choice)) for choice in choices) // (2 * WIDEST_LABELS))
        at = f"round(datum.index * {last}) / {step}"
        label = f"{at} % 1 ? '' : {at} % 2 ? ['', datum.label] : datum.label" if wide else "datum.label"
        axis = alt.Axis(labelAngle=0, labelExpr=label)
        x = alt.X(f"{dimension.field}:N", title=name, scale=alt.Scale(domain=choices), axis=axis)
    else:
        ends = [searched.low, searched.high]  # type: ignore[attr-defined]
        whole = range(ends[0], ends[1] + 1, searched.step) if isinstance(searched, IntDistribution) else range(0)
        x = _x(dimension.field, name, whole=whole, domain=ends, type="log" if searched.log else "linear")  # type: ignore[attr-defined]
    return _marks(data, chart.encode(x=x), size=20, legend=None).add_params(SELECTED)


def sliced(data: ChartData) -> list[Dimension]:
    """Return the searched settings that are active in at least one ranked trial."""
    ranked = [row["idle"] for row in data.rows if row["rank"]]
    dimensions = enumerate(data.study.space.dimensions)
    return [dimension for place, dimension in dimensions if any(place not in idle for idle in ranked)]


def slices(data: ChartData) -> alt.ConcatChart:
    """Draw the metric by each searched setting that is active in a trial."""
    parts = [setting_slice(data, dimension) for dimension in sliced(data)]
    with warnings.catch_warnings():
        # The parts share their selection on purpose.
        warnings.filterwarnings("ignore", "Automatically deduplicated selection parameter")
        # Each part has columns of its own width.
        return alt.concat(*parts, columns=3).resolve_scale(xOffset="independent")


def calibration(data: ChartData) -> alt.LayerChart:
    """Draw the reliability diagram of the last calibrated model, before and after calibration."""
    evaluation = calibrated_evaluation(data.study)
    diagrams: Mapping[str, Any] = evaluation["calibration"] if evaluation else {}
    rows = [{"state": state, **each} for state, part in diagrams.items() for each in part["bins"]]
    scale = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("confidence:Q", title="mean probability of the predicted class", scale=scale)
    y = alt.Y("accuracy:Q", title="share of correct predictions", scale=scale)
    states = ["before", "after"]
    color = alt.Color("state:N", scale=alt.Scale(domain=states, range=[BROWN, BLUE]), title=None, legend=LEGEND)
    base = alt.Chart(_source(rows)).encode(x=x, y=y, color=color)
    tooltip = [
        "state:N",
        alt.Tooltip("confidence:Q", format=".3f"),
        alt.Tooltip("accuracy:Q", format=".3f"),
        "sentences:Q",
    ]
    marks = base.mark_point(filled=True).encode(
        size=alt.Size("sentences:Q", legend=None, scale=alt.Scale(range=[20, 200])),
        shape=alt.Shape("state:N", title=None, scale=alt.Scale(domain=states, range=["square", "circle"])),
        tooltip=tooltip,
    )
    equal = alt.Chart(_source([{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}])).encode(x=x, y=y)
    diagonal = equal.mark_line(color=MUTED, strokeDash=[4, 4], strokeWidth=1)
    return alt.layer(diagonal, base.mark_line(), marks).properties(**SIZE)


def confusion(data: ChartData) -> alt.LayerChart:
    """Draw the recommended trial's confusions on validation: numbers of sentences, shaded by share of the label."""
    results = default_results(data.study)
    names = [printable(name) for name in data.study.attributes["validation"]["classes"]]
    rows = [
        {"label": label, "answer": answer, "sentences": count, "share": plain(count / max(1, sum(line)))}
        for label, line in zip(names, results.confusion.tolist() if results else [], strict=False)
        for answer, count in zip(names, line, strict=True)
    ]
    fits = max(map(cell_len, names)) <= 10  # in a column of 64 pixels
    x = alt.X("answer:N", sort=names, axis=alt.Axis(orient="top", labelAngle=0 if fits else -45))
    base = alt.Chart(_source(rows)).encode(x=x, y=alt.Y("label:N", sort=names))
    scale = alt.Scale(domain=[0, 1], range=[CARD, BLUE], interpolate="rgb")
    tooltip = ["label:N", "answer:N", "sentences:Q", alt.Tooltip("share:Q", format=".1%")]
    cells = base.mark_rect().encode(color=alt.Color("share:Q", scale=scale, legend=None), tooltip=tooltip)
    ink = alt.when("datum.share > 0.6").then(alt.value(CARD)).otherwise(alt.value(INK))
    size = {"width": alt.Step(64), "height": alt.Step(32)}
    return alt.layer(cells, base.mark_text().encode(text=alt.Text("sentences:Q"), color=ink)).properties(**size)


def _source(rows: Iterable[Mapping[str, Any]] | str) -> alt.InlineData:
    """Return rows as one text, so that Altair neither copies nor checks each row again for each chart."""
    text = rows if isinstance(rows, str) else json.dumps(list(rows))
    return alt.InlineData(values=text, format=alt.JsonDataFormat(type="json"))


def _trials(data: ChartData) -> alt.Chart:
    shown = ", ".join(f"{name}: datum.{name}" for name in ("trial", "kind", "val_metric", *data.settings))
    return alt.Chart(_source(data.text)).transform_calculate(shown=f"{{{shown}}}")


def _x(field: str, title: str | None = None, *, whole: range = range(0), **scale: Any) -> alt.X:
    """Return a horizontal axis for numbers, or for these whole numbers."""
    # Vega puts halves between two or three numbers, despite tickMinStep.
    ticks = {"values": list(whole)} if len(whole) < 4 else {"tickMinStep": 1}
    axis = alt.Axis(format="d", **ticks) if whole else alt.Axis()
    scale |= {"nice": False, "padding": 10} | ({} if scale.get("type") == "log" else {"zero": False})
    return alt.X(f"{field}:Q", title=title or field, axis=axis, scale=alt.Scale(**scale))


def _y(field: str, title: str) -> alt.Y:
    """Return a vertical axis for numbers."""
    # Vega rounds the label of a single number to a whole one.
    label = "abs(toNumber(datum.label) - datum.value) < 1e-9 ? datum.label : format(datum.value, '~g')"
    scale = alt.Scale(zero=False, nice=False, padding=10)
    return alt.Y(f"{field}:Q", title=title, axis=alt.Axis(labelExpr=label), scale=scale)


def _metric(data: ChartData, field: str = "val_metric") -> alt.Y:
    return _y(field, f"validation {data.metric.title}")


def _rules(x: alt.X, texts: Mapping[int, str], align: str = "left") -> tuple[alt.Chart, alt.Chart]:
    """Return a vertical line with a text at each of some epochs; every second text is a line lower."""
    rows = [{"epoch": epoch, "text": "\n" * (at % 2) + text} for at, (epoch, text) in enumerate(texts.items())]
    base = alt.Chart(_source(rows)).encode(x=x)
    text = base.mark_text(align=align, dx=4 if align == "left" else -4, dy=8, color=MUTED, lineBreak="\n")
    return base.mark_rule(), text.encode(text=alt.Text("text:N"), y=alt.value(0))


def _kinds(data: ChartData, part: int) -> alt.Scale:
    found = {row["kind"] for row in data.rows}
    kinds = [kind for kind in KINDS if kind in found]
    return alt.Scale(domain=kinds, range=[KINDS[kind][part] for kind in kinds])


def _color(data: ChartData, legend: alt.Legend | None = LEGEND) -> alt.Color:
    return alt.Color("kind:N", title=None, scale=_kinds(data, 0), legend=legend)


def _marks(data: ChartData, chart: alt.Chart, *, size: int = 50, legend: alt.Legend | None = LEGEND) -> alt.Chart:
    """Draw a mark for each row."""
    shape = alt.Shape("kind:N", title=None, scale=_kinds(data, 1), legend=legend)
    return chart.mark_point(filled=True, size=size).encode(
        color=_color(data, legend), shape=shape, stroke=OUTLINE, opacity=_faded(1), tooltip=TOOLTIP
    )


def _faded(usual: float, channel: Callable[..., Any] = alt.OpacityValue) -> Any:
    """Return the opacity of a trial, which is low if another one is selected.

    Lines need alt.StrokeOpacityValue: each line with an opacity made a PNG of 300 trials take 0.1 s longer.
    """
    return channel(0.12, condition={"param": "trial", "value": usual})


def _width(notable: str) -> alt.StrokeWidthValue:
    """Return the width of a line, which is greater if it is selected or `notable` holds."""
    selected = {"param": "trial", "empty": False, "value": 3}
    return alt.StrokeWidthValue(1, condition=[selected, {"test": notable, "value": 2.5}])
