"""The table of a study's trials, best first."""

import csv
import io
import json
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.text import printable
from tuning.records import TrialRecord, copied_from

FORMATS = ("table", "json", "csv", "md")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One trial in the table."""

    rank: int | None
    """From 1; None for a trial that failed or has not ended."""
    trial: int
    val_accuracy: float | None
    best_epoch: int | None
    epochs: int
    """Epochs run."""
    seconds: float
    state: str
    notebook: bool
    """The notebook's own setting."""
    copy_of: int | None
    """The trial that had the same settings before and was trained for both; None for a trial of its own."""
    error: str | None
    params: Mapping[str, Any]
    """The searched TrialConfig fields, those too that play no part in this trial."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {name: getattr(self, name) for name in self.__slots__}


def ranking(records: Sequence[TrialRecord], searched: Sequence[str], top: int | None = None) -> list[Row]:
    """Rows by validation accuracy; ties by lower validation loss, then lower number. Failed trials come last.

    Args:
        records: a study's trials.
        searched: TrialConfig fields that the study's space searches, in order.
        top: how many ranked rows; the notebook's row and the failed trials are added in any case.
    """
    ended = [r for r in records if r.best is not None and r.state in ("COMPLETE", "PRUNED")]
    ended.sort(key=lambda r: (-r.best.val_accuracy, r.best.val_loss, r.number) if r.best else ())
    rows = [_row(record, searched, rank) for rank, record in enumerate(ended, 1)]
    shown = [row for row in rows if top is None or (row.rank or 0) <= top or row.notebook]
    return shown + [_row(record, searched, None) for record in records if record.state == "FAIL"]


def _row(record: TrialRecord, searched: Sequence[str], rank: int | None) -> Row:
    best = record.best
    return Row(
        rank=rank,
        trial=record.number,
        val_accuracy=best.val_accuracy if best else None,
        best_epoch=best.epoch if best else None,
        epochs=len(record.epochs),
        seconds=round(record.seconds, 3),
        state=record.state,
        notebook=record.origin == "notebook",
        copy_of=copied_from(record.origin),
        error=record.error,
        params={name: record.config[name] for name in searched},
    )


def settings_text(settings: Mapping[str, Any]) -> str:
    """`n_layers=2 hidden_dim=128 learning_rate=0.25`."""
    return " ".join(f"{name}={brief(value)}" for name, value in settings.items())


def brief(value: Any) -> str:
    """A setting in few characters: three significant digits, `yes` and `no`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def render(rows: Sequence[Row], form: str, width: int | None = None, notes: Sequence[str] = ()) -> str:
    """The rows as `table`, `json`, `csv` or `md`.

    Args:
        rows: from `ranking`.
        form: one of FORMATS.
        width: of a table, in characters; None for the terminal's.
        notes: lines below a table for people.
    """
    if form == "json":
        return json.dumps([row.to_dict() for row in rows], indent=2)
    if form == "csv":
        return _csv(rows)
    names = list(rows[0].params) if rows else []
    cells = [[*_head(row), *(brief(row.params[name]) for name in names)] for row in rows]
    if form == "md":
        titles = [*HEAD, *names]
        lines = [titles, ["---"] * len(titles), *cells]
        below = [f"\n{line}".replace("*", "\\*") for line in _footnotes(rows, notes)]
        table = (
            "| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in line) + " |" for line in lines
        )
        return "\n".join([*table, *below])
    return _table(rows, names, cells, width, _footnotes(rows, notes))


HEAD = ("rank", "trial", "val acc", "best", "epochs", "sec", "state")
NOTEBOOK = "the notebook's own setting"
STATES = {"COMPLETE": "done", "PRUNED": "stopped", "FAIL": "failed"}


def _head(row: Row) -> list[str]:
    return [
        "-" if row.rank is None else str(row.rank),
        f"{row.trial}*" if row.notebook else str(row.trial),
        "-" if row.val_accuracy is None else f"{row.val_accuracy:.4f}",
        "-" if row.best_epoch is None else str(row.best_epoch),
        str(row.epochs),
        f"{row.seconds:.1f}",
        STATES.get(row.state, row.state.lower()),
    ]


def _csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    names = [name for name in Row.__slots__ if name != "params"]
    params = list(rows[0].params) if rows else []
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, *params])
    for row in rows:
        writer.writerow([*(getattr(row, name) for name in names), *(row.params[name] for name in params)])
    return out.getvalue().rstrip("\n")


def _footnotes(rows: Sequence[Row], notes: Sequence[str]) -> list[str]:
    marked = [f"* {NOTEBOOK}"] if any(row.notebook for row in rows) else []
    copies = [f"trial {r.trial} repeats trial {r.copy_of}: not trained again" for r in rows if r.copy_of is not None]
    return [*marked, *copies, *notes]


def _table(
    rows: Sequence[Row],
    names: Sequence[str],
    cells: Sequence[Sequence[str]],
    width: int | None,
    footnotes: Sequence[str],
) -> str:
    """A column for each setting where that fits, else each trial's settings in the lines below it."""
    width = width or shutil.get_terminal_size().columns
    lines = _aligned([[*HEAD, *names], *cells])
    if max(map(len, lines)) > width:
        lines = _aligned([HEAD, *(line[: len(HEAD)] for line in cells)])
        below = {"width": width, "initial_indent": " " * 7, "subsequent_indent": " " * 7, "break_on_hyphens": False}
        for at, row in reversed(list(enumerate(rows, 1))):
            lines[at + 1 : at + 1] = textwrap.wrap(settings_text(row.params), **below)  # type: ignore[arg-type]
    lines.insert(1, "-" * min(width, max(map(len, lines))))
    if footnotes:
        lines += ["", *footnotes]
    lines += [f"trial {row.trial} failed: {printable(row.error)}" for row in rows if row.error]
    return "\n".join(lines)


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Cells right-aligned in columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.rjust(size) for cell, size in zip(line, widths, strict=True)) for line in lines]
