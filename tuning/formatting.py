"""Plain text for values, sizes and times; tables as text, Markdown or CSV; a page's security policy."""

import base64
import csv
import hashlib
import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from rich.cells import cell_len, set_cell_size

from core.config import SHORT_NAMES
from core.io.text import escape_markdown, printable

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
MAX_NAME = 20
"""Maximum number of terminal cells of a class name in a text table. A Chinese character takes two."""
MAX_SIMILAR_NAME = 80
"""The same for a name that would look like another one."""


def format_settings(settings: Mapping[str, Any]) -> str:
    """Return settings as `n_layers=2 hidden_dim=128 learning_rate=0.25`."""
    return " ".join(f"{name}={format_value(value)}" for name, value in settings.items())


def by_importance(names: Iterable[str]) -> list[str]:
    """Return the names of settings, each once; those that usually matter most come first."""
    given = dict.fromkeys(names)
    return [*(name for name in SHORT_NAMES if name in given), *(name for name in given if name not in SHORT_NAMES)]


def brief_settings(settings: Mapping[str, Any]) -> list[str]:
    """Return settings with short names, by importance: `["lr=0.25", "hidden=128", "layers=2"]`."""
    return [f"{SHORT_NAMES.get(name, name)}={format_value(settings[name])}" for name in by_importance(settings)]


def format_value(value: Any) -> str:
    """Return a setting in few characters: three significant digits, `yes`, `no` and `none`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:.3g}" if isinstance(value, float) else printable(str(value), 100)


def markdown_table(titles: Sequence[str], cells: Sequence[Sequence[str]], below: Sequence[str]) -> str:
    """Return a Markdown table, and a paragraph for each line below it."""
    lines = [titles, ["---"] * len(titles), *cells]
    table = ["| " + " | ".join(map(escape_markdown, line)) + " |" for line in lines]
    return "\n".join([*table, *(f"\n{escape_markdown(line)}" for line in below)])


def html_table(titles: Sequence[str], cells: Sequence[Sequence[str]], below: Sequence[str]) -> str:
    """Return an HTML table, and the lines below it; markup and control characters in the cells are escaped."""
    head, *rows = (
        "".join(f"<{tag}>{html.escape(printable(cell))}</{tag}>" for cell in line)
        for tag, line in (("th", titles), *(("td", line) for line in cells))
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    lines = "<br>".join(html.escape(printable(line)) for line in below)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{lines}</p>"


def align_columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return one line for each row, with the cells right-aligned in columns two spaces apart."""
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(" " * (n - cell_len(cell)) + cell for cell, n in zip(line, widths, strict=True)) for line in lines
    ]


def left_align(column: Sequence[str]) -> list[str]:
    """Return the cells of a column, filled with spaces to the width of the widest one."""
    width = max(map(cell_len, column))
    return [set_cell_size(cell, width) for cell in column]


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return each class name as a text table shows it: cut, but longer if it would look like another one."""
    short = {name: brief_text(name, MAX_NAME) for name in names}
    count = Counter(short.values())
    return {name: cut if count[cut] == 1 else brief_text(name, MAX_SIMILAR_NAME) for name, cut in short.items()}


def brief_text(text: str, width: int) -> str:
    """Return `printable` text, cut to at most `width` characters and terminal cells."""
    return truncate(printable(text, width), width)


def text_table(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the titles, a rule and the rows."""
    title, *lines = align_columns([titles, *cells])
    return [title, "-" * cell_len(title), *lines]


def csv_table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return CSV without a line break at the end."""
    return csv_text([titles, *rows]).rstrip("\n")


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV. A cell with a carriage return is quoted, as its line terminator would be in Python 3.11."""
    lines: list[str] = []
    writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    writer.writerows(rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def format_duration(seconds: float) -> str:
    """Return a duration as a text: 5400 -> '1h30m'."""
    left, shown = round(seconds), ""
    for unit, size in UNITS.items():
        count, left = divmod(left, int(size))
        shown += f"{count}{unit}" if count else ""
    return shown or "0s"


def format_gigabytes(count: float) -> str:
    """Return a number of bytes in gigabytes: 1,234,567,890 -> '1.23 GB'."""
    return f"{count / 1e9:.2f} GB"


def format_megabytes(count: int) -> str:
    """Return a number of bytes in megabytes: 123,456,789 -> '123.5 MB'."""
    return f"{count / 1e6:,.1f} MB"


def enumerated(noun: str, names: Iterable[object]) -> str:
    """Return names with a noun: `trial 3` or `trials 3, 1 and 4`."""
    *most, last = map(str, names)
    return f"{noun}s {', '.join(most)} and {last}" if most else f"{noun} {last}"


def truncate(line: str, width: int) -> str:
    """Shorten a line to at most `width` terminal cells."""
    return line if cell_len(line) <= width else set_cell_size(line, max(width - 3, 0)) + "..."[:width]


def format_clock(seconds: float) -> str:
    """Return a duration as a clock shows it: 3725 -> '1:02:05'; 65 -> '1:05'."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def content_policy(css: str, *scripts: str) -> str:
    """Return a Content-Security-Policy for a page that loads nothing and runs only this style and these scripts.

    A browser recognizes them by their SHA-256 digests.
    """
    digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (css, *scripts)]
    style, *rest = (f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; style-src {style}; script-src {' '.join(rest)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
