"""Inline SVG: elements from Python values, and the frame that plots share. All text is escaped."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from tuning.report.axes import Axis, CategoryAxis

WIDTH, HEIGHT = 640.0, 320.0
CROWDED = 4
"""From this number on, names below a plot are on two levels."""
PlotPoint = tuple[float, float]
ACCURACY = "validation accuracy"
NOTHING = "No trial has ended with an accuracy yet."
_LAYERS = ("failed", "running", "paused", "stopped", "done", "baseline", "winner")
"""Kinds of trials in drawing order; later ones are on top."""


def element(name: str, *inside: str, **attributes: object) -> Markup:
    """One element. `class_` is written class, `stroke_width` stroke-width; what is None is left out.

    Args:
        name: such as circle.
        inside: Markup is kept as it is, other text is escaped.
        attributes: floats are written with one decimal, everything is escaped.
    """
    written = Markup("")
    for key, value in attributes.items():
        if value is not None:
            shown = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
            written += Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), shown)
    if not inside:
        return Markup("<{}{}/>").format(name, written)
    return Markup("<{}{}>{}</{}>").format(name, written, Markup("").join(inside), name)


def text(content: str, x: float, y: float, class_: str | None = None) -> Markup:
    """Return a line of text; its class sets its alignment at x."""
    return element("text", content, x=x, y=y, class_=class_)


def line(points: Iterable[PlotPoint], **attributes: object) -> Markup:
    """Return a line through the points."""
    return element("path", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points), **attributes)


def drawing(label: str, *inside: Markup, width: float = WIDTH, height: float = HEIGHT) -> Markup:
    """Return the whole picture; `label` describes it for screen readers."""
    size = {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return element("svg", *inside, role="img", aria_label=label, **size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """A rectangle with a horizontal and a vertical axis, in the drawing's units."""

    x: Axis
    y: Axis
    left: float = 60.0
    right: float = WIDTH - 14.0
    top: float = 14.0
    bottom: float = HEIGHT - 48.0

    def at(self, x: object, y: object) -> PlotPoint:
        """Return the position of a point of the data."""
        return self.across(self.x.position(x)), self.bottom - self.y.position(y) * (self.bottom - self.top)

    def across(self, place: float) -> float:
        """The horizontal place of a place on the x axis."""
        return self.left + place * (self.right - self.left)

    def frame(self, x_label: str, y_label: str, x_ticks: int = 8, y_ticks: int = 6) -> Markup:
        """Grid lines, what the axes are, and the values along them."""
        parts = []
        marks = self.x.ticks(x_ticks)
        for at, (place, name) in enumerate(marks):
            x = self.across(place)
            lower = 11 * (at % 2) if isinstance(self.x, CategoryAxis) and len(marks) >= CROWDED else 0
            parts += [self._upright(x, "grid"), text(name, x, self.bottom + 15 + lower, "middle")]
        for place, name in self.y.ticks(y_ticks):
            y = self.bottom - place * (self.bottom - self.top)
            parts += [line([(self.left, y), (self.right, y)], class_="grid"), text(name, self.left - 6, y + 4, "end")]
        parts.append(text(x_label, (self.left + self.right) / 2, self.bottom + 41, "middle axis"))
        turned = f"translate(14 {(self.top + self.bottom) / 2:.1f}) rotate(-90)"
        return Markup("").join([*parts, element("text", y_label, transform=turned, class_="middle axis")])

    def rule(self, value: object, class_: str, name: str) -> Markup:
        """A vertical line at a value of the x axis, with its name."""
        x = self.across(self.x.position(value))
        return Markup("").join([self._upright(x, class_), text(name, x + 4, self.top + 10, class_)])

    def _upright(self, x: float, class_: str) -> Markup:
        return line([(x, self.top), (x, self.bottom)], class_=class_)


def mark(at: PlotPoint, kind: str, trial: int | None, radius: float = 3.5) -> Markup:
    """A trial in a plot: its shape says its kind too, so that no one needs the colour.

    Args:
        at: where.
        kind: a cross for `stopped` and `failed`, a diamond for `baseline`, a star for `winner`, else a dot.
        trial: its number, by which the page finds it; None in a legend.
        radius: in the drawing's units.
    """
    x, y = at
    if kind in ("stopped", "failed"):
        side = 2 * radius
        path = f"M{x - radius:.1f} {y - radius:.1f}l{side:g} {side:g}m{-side:g} 0l{side:g} {-side:g}"
    elif kind in ("baseline", "winner"):
        corners, inner = (4, 0.7) if kind == "baseline" else (5, 0.42)
        turns = [(1 if step % 2 == 0 else inner, math.pi * (step / corners - 0.5)) for step in range(2 * corners)]
        tips = [(x + 2 * radius * r * math.cos(turn), y + 2 * radius * r * math.sin(turn)) for r, turn in turns]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in tips) + "z"
    else:
        return element("circle", cx=x, cy=y, r=radius, class_=f"mark {kind}", data_t=trial)
    return element("path", d=path, class_=f"mark {kind}", data_t=trial)


def draw_marks(marks: Iterable[tuple[str, PlotPoint, int]], radius: float = 3.5) -> list[Markup]:
    """Kind, place and number of trials as marks, the important ones on top."""
    ordered = sorted(marks, key=lambda each: _LAYERS.index(each[0]))
    return [mark(at, kind, number, radius) for kind, at, number in ordered]
