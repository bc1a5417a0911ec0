"""A search space as a table for people."""

import io
import sys

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuning.space.space import Space


def space_table(space: Space) -> str:
    """Every setting with its values and its condition, as wide as the terminal; what is fixed and what is tried first
    below."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("setting", "values", "when", "kind"):
        table.add_column(title, overflow="fold")
    for row in space.describe():
        table.add_row(*(Text(row[name]) for name in ("setting", "values", "when", "kind")))
    out = io.StringIO()
    console = Console(file=out, force_terminal=sys.stdout.isatty())
    console.print(Text(f"space {space.name}: {len(space.dimensions)} settings are searched"))
    console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")
