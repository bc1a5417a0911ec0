"""The curve of expected best validation accuracy as text, JSON, CSV or Markdown."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence

from tuning.analysis.random_search_curve import Expected, Point
from tuning.formatting import aligned, markdown

TITLES = ("random trials", "epochs", "expected best", "plug-in", "8 of 10 searches")
MOST_ROWS = 16
"""Of a table for people."""


def render_expected(expected: Expected, form: str) -> str:
    """As one of tuning.analysis.tables.FORMATS; JSON and CSV have every budget, the others some of them."""
    if form == "json":
        return json.dumps(dataclasses.asdict(expected), indent=2)
    if form == "csv":
        return _curve_csv(expected.budgets)
    cells = [
        [
            str(budget.trials),
            f"{budget.epochs:.1f}",
            f"{budget.unbiased:.4f}",
            f"{budget.plugin:.4f}",
            f"{budget.low:.4f}-{budget.high:.4f}",
        ]
        for budget in thinned(expected.budgets)
    ]
    if form == "md":
        return markdown(TITLES, cells, notes_on(expected))
    lines = aligned([TITLES, *cells])
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *notes_on(expected)])


def notes_on(expected: Expected) -> list[str]:
    """What the curve is made from, and by whose estimators."""
    failed = f", without the {expected.failed} that failed" if expected.failed else ""
    return [
        "best validation accuracy to expect of random search, from those trials of this",
        f"study alone that were drawn at random: {expected.random_trials}{failed}",
        "expected best: unbiased (Tang et al. 2020); plug-in: Dodge et al. 2019",
        "raw: the best of more trials is also chosen by more luck",
    ]


def thinned(budgets: Sequence[Point]) -> list[Point]:
    """The first and the last, and at most MOST_ROWS in all, further apart the larger they are."""
    if len(budgets) <= MOST_ROWS:
        return list(budgets)
    places = {round(len(budgets) ** (step / (MOST_ROWS - 1))) for step in range(MOST_ROWS)}
    return [budgets[place - 1] for place in sorted(places)]


def _curve_csv(budgets: Sequence[Point]) -> str:
    out = io.StringIO()
    names = [field.name for field in dataclasses.fields(Point)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(budget, name) for name in names] for budget in budgets)
    return out.getvalue().rstrip("\n")
