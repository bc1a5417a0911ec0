"""Read files of labelled sentences into a table of strings: .csv, .tsv, .jsonl (each also .gz) and .parquet."""

import csv
import itertools
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import DataError
from core.io.archives import MAX_ARCHIVE_BYTES
from core.io.encodings import text_lines
from core.io.text import printable, quoted

MAX_CELL = 131_072
"""Most characters in one cell: some 20,000 words. A longer one is a broken quote or not a sentence."""
FORMATS = ("csv", "tsv", "jsonl", "parquet")
MAX_SHARED = 10_000
"""Number of different short cells, such as labels, that are held once each."""
_SHORT = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Named columns of equal length."""

    name: str
    """Name of the file in errors."""
    columns: dict[str, list[str | None]]
    """None where the file has nothing; numbers and truth values as they are written."""
    lines: Sequence[int]
    """The file's line (or row, in Parquet) of each row, from 1."""
    unit: str = "line"
    unsupported_columns: dict[str, str] = field(default_factory=dict)
    """Columns that hold no plain values, with their type."""

    def location(self, row: int) -> str:
        return f"{self.name}, {self.unit} {self.lines[row]}"


def format_of(path: Path) -> str | None:
    """csv, tsv, jsonl or parquet by the file's name, None for another."""
    name = path.name.lower().removesuffix(".gz")
    return next((kind for kind in FORMATS if name.endswith(f".{kind}")), None)


def read_table(path: Path, encoding: str) -> Table:
    """Read a whole file.

    Args:
        path: its name decides the format.
        encoding: of the text formats.

    Raises:
        DataError: naming the file, the line and what is wrong with it.
    """
    kind = format_of(path)
    if kind == "parquet":
        return _parquet(path)
    lines = text_lines(path, encoding, "" if kind == "csv" else None)
    rows = {"csv": _csv_rows, "tsv": _tsv_rows, "jsonl": _jsonl_rows}[kind or "csv"](lines, str(path))
    return _to_table(rows, str(path))


Row = tuple[int, dict[str, str | None]]


def _csv_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    """Parse RFC 4180 strictly; the header line decides between comma, semicolon and tab as the separator."""
    header_line = next(lines, "")
    separator = max(",;\t", key=header_line.count)
    reader = csv.reader(itertools.chain([header_line], lines), delimiter=separator, strict=True)

    def numbered() -> Iterator[tuple[int, list[str]]]:
        line = 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{name}, line {line}: {error}; check the quotes around it") from None

    yield from _named(numbered(), name)


def _tsv_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    """One row a line, cells between tabs; a cell that is quoted as a whole loses its quotes."""
    split = ((number, line.rstrip("\n").split("\t")) for number, line in enumerate(lines, start=1) if line.strip())
    unquoted = ((number, [_unquote(cell) for cell in cells]) for number, cells in split)
    yield from _named(unquoted, name)


def _unquote(cell: str) -> str:
    if len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', ""):
        return cell[1:-1].replace('""', '"')
    return cell


def _named(rows: Iterator[tuple[int, list[str]]], name: str) -> Iterator[Row]:
    """Give each row the names of the first one."""
    _, header = next(rows, (1, []))  # without one there are no rows either, which is found in the end
    header = [column.strip() for column in header]
    _refuse_twice(header, f"{name}, line 1")
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(f"{name}, line {line}: has {len(cells)} cells, the header has {len(header)}")
        yield line, dict(zip(header, cells, strict=True))


def _jsonl_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name}, line {number}: not JSON ({printable(str(error), 80)})") from None
        if not isinstance(value, dict):
            raise DataError(f"{name}, line {number}: must be a JSON object, got {printable(line.strip(), 40)}")
        yield number, {key: _plain(cell) for key, cell in value.items()}


def _plain(cell: Any) -> str | None:
    """Return the cell as text; None for null and NaN, which pandas writes for an empty cell."""
    if isinstance(cell, str):
        return cell
    return None if cell is None or cell != cell else json.dumps(cell)


def _check_length(cell: str | None, column: str, where: str) -> None:
    if cell is not None and len(cell) > MAX_CELL:
        raise DataError(
            f"{where}: column {quoted(column)} has {len(cell):,} characters, at most {MAX_CELL:,} are allowed; "
            "check the quotes around it"
        )


def _refuse_twice(names: Sequence[str], where: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where}: column {quoted(twice[0])} is there twice; rename one")


def _to_table(rows: Iterator[Row], name: str) -> Table:
    columns: dict[str, list[str | None]] = {}
    lines, shared = array("q"), dict[str, str]()
    for line, row in rows:
        for column, cell in row.items():
            _check_length(cell, column, f"{name}, line {line}")
            if column not in columns:
                columns[column] = [None] * len(lines)  # it had no cell in the lines before
            columns[column].append(_share(cell, shared))
        lines.append(line)
        for cells in columns.values():
            if len(cells) < len(lines):
                cells.append(None)
    if not lines:
        raise DataError(f"{name}: has no rows; lines with a text and a label are needed")
    return Table(name=name, columns=columns, lines=lines)


def _share(cell: str | None, shared: dict[str, str]) -> str | None:
    """Return an equal cell that was seen before, if there is one, so that a million equal labels are one object."""
    if cell is None or len(cell) > _SHORT:
        return cell
    return shared.setdefault(cell, cell) if len(shared) < MAX_SHARED else shared.get(cell, cell)


def _parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    name = str(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            groups = range(file.metadata.num_row_groups)
            size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            if size > MAX_ARCHIVE_BYTES:
                raise DataError(f"{name}: unpacks to {size >> 30} GiB, at most {MAX_ARCHIVE_BYTES >> 30} are allowed")
            _refuse_twice(file.schema_arrow.names, name)
            table = file.read()
        arrays = dict(zip(table.column_names, table.columns, strict=True))
        columns, others = arrow_columns(arrays, lambda row: f"{name}, row {row}")
    except FileNotFoundError:
        raise DataError(f"{name}: no such file; check the path") from None
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name}: not a readable Parquet file ({printable(str(error), 80)})") from None
    if table.num_rows == 0:
        raise DataError(f"{name}: has no rows")
    return Table(
        name=name, columns=columns, lines=list(range(1, table.num_rows + 1)), unit="row", unsupported_columns=others
    )


def arrow_columns(
    arrays: Mapping[str, Any], location: Callable[[int], str]
) -> tuple[dict[str, list[str | None]], dict[str, str]]:
    """Return the cells of each array of pyarrow that holds plain values, and the type of each other one.

    Args:
        arrays: By the column's name.
        location: Names a row, from 1, in an error.

    Raises:
        DataError: A cell is too long.
    """
    columns = {
        name: [_plain(cell) for cell in each.to_pylist()] for name, each in arrays.items() if _is_plain(each.type)
    }
    for name, cells in columns.items():
        for row, cell in enumerate(cells, start=1):
            _check_length(cell, name, location(row))
    return columns, {name: str(each.type) for name, each in arrays.items() if name not in columns}


def _is_plain(kind: Any) -> bool:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    checks = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return any(check(value) for check in checks)
