"""A parsed page, and the data from which it is made."""

import html.parser
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuning.analysis.ranking import read_assessed
from tuning.report.chart_data import ChartData, chart_data
from tuning.report.command import page


def chart_data_of(folder: Path) -> ChartData:
    """Of a study."""
    return chart_data(read_assessed(folder))


@dataclass
class Page(html.parser.HTMLParser):
    """What a browser makes of it: elements, and the text between them."""

    source: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""
    raw: dict[str, str] = field(default_factory=dict)
    """Content of style and script elements: `style`, `script`, and by id."""

    def __post_init__(self) -> None:
        super().__init__()
        self.inside: str | None = None
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = (dict(attrs).get("id") or tag) if tag in ("style", "script") else None

    def handle_endtag(self, tag: str) -> None:
        self.inside = None

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.raw[self.inside] = self.raw.get(self.inside, "") + data
        else:
            self.text += data

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The trials, best first."""
        names, *rows = json.loads(self.raw["json"])[1]["rows"]
        return [dict(zip(names, row, strict=True)) for row in reversed(rows)]

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements with a name."""
        return [attributes for name, attributes in self.elements if name == tag]


def made(folder: Path, **options: Any) -> Page:
    """The page of a study."""
    settings: dict[str, Any] = {
        "cache_dir": folder,
        "command": "sentune report s",
        "every_seconds": None,
    }
    return Page(page(folder, **(settings | options))[0].decode())
