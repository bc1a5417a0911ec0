"""The page's colours can be told from what lies behind them, in both schemes (WCAG 2.2: 4.5 for text, 3 for marks)."""

import re
from importlib.resources import files

import pytest

CSS = (files("tuning.report") / "assets" / "page.css").read_text()
LIGHT, DARK = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in CSS.split("@media")[:2])
TEXT = [
    *[(text, behind) for text in ("ink", "muted", "accent") for behind in ("paper", "card")],
    *[("ink", shade) for shade in ("q0", "q1", "q2")],
    *[("strong", shade) for shade in ("q4", "q5", "q6")],
    ("warn-ink", "warn"),
]
MARKS = [(kind, "card") for kind in ("done", "stopped", "failed", "winner", "notebook", "running")]


def luminance(colour: str) -> float:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "behind", "least"), [(*p, 4.5) for p in TEXT] + [(*p, 3.0) for p in MARKS])
def test_contrast(scheme: dict[str, str], front: str, behind: str, least: float) -> None:
    dim, bright = sorted((luminance(scheme[front]), luminance(scheme[behind])))
    assert (bright + 0.05) / (dim + 0.05) >= least
