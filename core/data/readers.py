"""Read files of labelled sentences into a table of strings: .csv, .tsv, .jsonl (each also .gz) and .parquet."""

import contextlib
import json
import re
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import DataError
from core.io.archives import MAX_ARCHIVE_BYTES, file_size, open_file
from core.io.delimited import Row, check_column_names, csv_rows, tsv_rows
from core.io.encodings import MAX_LINE, text_lines
from core.io.text import printable, quoted

MAX_CELL = 131_072
"""Most characters in one cell: some 20,000 words. A longer one is a broken quote or not a sentence."""
FORMATS = ("csv", "tsv", "jsonl", "parquet")
ROWS_AT_ONCE = 1024
"""Rows of a table of `read_table_in_parts`."""
MAX_COLUMNS = 4096
MAX_CELLS = 200_000_000
"""Most cells of a table: an absent one takes 8 bytes."""
CELL_BYTES = 8
"""Memory in bytes of a cell, besides its text."""
MAX_SHARED = 10_000
"""Number of different short cells, such as labels, that are held once each."""
_SHORT = 32
NO_ROWS = "{}: has no rows; write at least one row"
_HALF_PAIR = re.compile("[\ud800-\udfff]")
"""UTF-8 cannot encode it, so a cell that contains it cannot be written to a file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Named columns of equal length."""

    name: str
    """Name of the file for errors."""
    columns: dict[str, list[str | None]]
    """Cells of each column: None for an absent cell, null and NaN; another value that is no text as JSON, e.g. 0.5."""
    lines: Sequence[int]
    """The file's line (or row, in Parquet) of each row, from 1."""
    unit: str = "line"
    unsupported_columns: dict[str, str] = field(default_factory=dict)
    """Columns that hold no plain values, with their type."""

    def location(self, row: int) -> str:
        return f"{self.name}, {self.unit} {self.lines[row]}"


def format_of(path: Path) -> str | None:
    """Return csv, tsv, jsonl or parquet, by the file's name; None for another. Only text may end in `.gz` too."""
    name = path.name.lower()
    texts = (kind for kind in FORMATS if kind != "parquet" and name.removesuffix(".gz").endswith(f".{kind}"))
    return "parquet" if name.endswith(".parquet") else next(texts, None)


def read_table(path: Path, encoding: str) -> Table:
    """Read a whole file.

    Args:
        path: The file; its name decides the format.
        encoding: Encoding of a text format.

    Raises:
        DataError: The file cannot be used; the message names the file, the line and the problem.
    """
    if format_of(path) == "parquet":
        return _parquet(path)
    nested: dict[str, str] = {}
    return _to_table(_text_rows(path, encoding, nested), str(path), nested)


def read_table_in_parts(path: Path, encoding: str) -> Iterator[Table]:
    """Yield a file's rows as tables, at least one, of at most ROWS_AT_ONCE rows; all have the same columns.

    The file is never held as a whole. A .jsonl is read twice, because its last line may have another column.

    Raises:
        DataError: As `read_table`; or a .jsonl has got another column meanwhile.
    """
    name = str(path)
    if format_of(path) == "parquet":
        yield from _parquet_parts(path)
        return
    columns, nested = dict[str, None](), dict[str, str]()
    twice = format_of(path) == "jsonl"
    if twice:
        for _, row in _text_rows(path, encoding, nested):
            columns |= dict.fromkeys(row)
            _check_columns(columns, name)
    n_columns = len(columns.keys() - nested.keys())
    for rows in _parts(_text_rows(path, encoding, nested)):
        table = _to_table(rows, name, nested, columns)
        if twice and len(table.columns) != n_columns:
            raise DataError(f"{name}: has changed while it was read; run the same command again")
        yield table


def _parts(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Yield the rows in lists, also if there are none: of ROWS_AT_ONCE, or fewer if they are long."""
    part: list[Row] = []
    size, full = 0, False
    for row in rows:
        part.append(row)
        size += sum(len(cell) for cell in row[1].values() if cell)
        if len(part) == ROWS_AT_ONCE or size > MAX_LINE:
            yield part
            part, size, full = [], 0, True
    if part or not full:
        yield part


def _text_rows(path: Path, encoding: str, nested: dict[str, str]) -> Iterator[Row]:
    """Yield the rows; columns with lists or objects are added to `nested`, with their first one."""
    kind = format_of(path) or "csv"
    lines = text_lines(path, encoding, "" if kind == "csv" else None)
    if kind == "jsonl":
        return _jsonl_rows(lines, str(path), nested)
    return (csv_rows if kind == "csv" else tsv_rows)(lines, str(path))


def _jsonl_rows(lines: Iterator[str], name: str, nested: dict[str, str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=partial(_unique, where=f"{name}, line {number}"))
        except (ValueError, RecursionError) as error:
            reason = str(error)
            if isinstance(error, json.JSONDecodeError):  # its own line number is that within this line
                reason = f"{error.msg} at character {error.pos + 1:,}"
            raise DataError(f"{name}, line {number}: not JSON ({printable(reason, 80)}); fix the line") from None
        if not isinstance(value, dict):
            raise DataError(f"{name}, line {number}: must be a JSON object, got {printable(line.strip(), 40)}")
        for key, cell in value.items():
            if isinstance(cell, list | dict):
                value[key] = None
                nested.setdefault(key, f"{'a list' if isinstance(cell, list) else 'an object'} in line {number}")
        yield number, {key: _plain(cell) for key, cell in value.items()}


def _unique(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        check_column_names([key for key, _ in pairs], where)
    return found


def _plain(cell: Any) -> str | None:
    """Return the cell as text; None for null and NaN, which pandas writes for an empty cell."""
    if isinstance(cell, str):
        return cell
    return None if cell is None or cell != cell else json.dumps(cell)


def _check_cell(cell: str | None, column: str, where: str) -> None:
    """Refuse a cell that is too long, and half a surrogate pair in it or in the name of its column."""
    if cell is not None and len(cell) > MAX_CELL:
        raise DataError(
            f"{where}: column {quoted(column)} has {len(cell):,} characters, more than {MAX_CELL:,}; "
            "shorten the text, or fix the quotes around it"
        )
    for text in (column, cell or ""):
        if not text.isascii() and _HALF_PAIR.search(text):
            raise DataError(f"{where}: half a surrogate pair in column {quoted(column)}; write the whole character")


def _check_columns(columns: Collection[str], name: str) -> None:
    if len(columns) > MAX_COLUMNS:
        raise DataError(f"{name}: has more than {MAX_COLUMNS:,} columns; write only those that are needed")


def _to_table(rows: Iterable[Row], name: str, nested: dict[str, str], first: Iterable[str] = ()) -> Table:
    """Return the rows as a table, whose columns begin with those of `first`, and which lacks those of `nested`."""
    columns: dict[str, list[str | None]] = {column: [] for column in first}
    lines, shared = array("q"), dict[str, str]()
    for line, row in rows:
        for column, cell in row.items():
            _check_cell(cell, column, f"{name}, line {line}")
            if column not in columns:
                columns[column] = [None] * len(lines)  # it had no cell in the lines before
                _check_columns(columns, name)
            columns[column].append(_share(cell, shared))
        lines.append(line)
        if len(columns) * len(lines) > MAX_CELLS:
            raise DataError(f"{name}: has more than {MAX_CELLS:,} cells; write only the columns that are needed")
        if len(row) < len(columns):
            for cells in columns.values():
                if len(cells) < len(lines):
                    cells.append(None)
    if not lines:
        raise DataError(NO_ROWS.format(name))
    columns = {column: cells for column, cells in columns.items() if column not in nested}
    return Table(name=name, columns=columns, lines=lines, unsupported_columns=nested)


def _share(cell: str | None, shared: dict[str, str]) -> str | None:
    """Return an equal earlier cell if there is one, so that a million equal labels are one object."""
    if cell is None or len(cell) > _SHORT:
        return cell
    return shared.setdefault(cell, cell) if len(shared) < MAX_SHARED else shared.get(cell, cell)


def packed_size(path: Path) -> int:
    """Return the bytes on disk of what `read_table` reads: the file, or of Parquet the columns of plain values.

    Raises:
        DataError: The file is gone, or is not readable Parquet.
    """
    if format_of(path) == "parquet":
        with _open_parquet(path) as file:
            return _chunk_bytes(file, _plain_schema(file).names, "total_compressed_size")
    with open_file(path) as opened:
        return file_size(opened)


def _parquet(path: Path) -> Table:
    import pyarrow

    with _open_parquet(path) as file:
        plain = _plain_schema(file)
        _check_size(_chunk_bytes(file, plain.names, "total_uncompressed_size"), str(path))
        parts, size = [], 0
        for part in _plain_batches(path, file):
            parts.append(part)  # equal cells are stored once, so the file's own size is too small
            size += sum(_unpacked(column).nbytes + CELL_BYTES * len(column) for column in part.columns)
            _check_size(size, str(path))
        return _from_arrow(pyarrow.Table.from_batches(parts, plain), str(path), file.schema_arrow)


def _plain_schema(file: Any) -> Any:
    """Return the schema of the columns that hold plain values; others, such as word vectors, are never read."""
    import pyarrow

    return pyarrow.schema([field for field in file.schema_arrow if _is_plain(field.type)])


def _chunk_bytes(file: Any, names: Collection[str], size: str) -> int:
    """Return the sum of an attribute of the stored parts of these columns."""
    groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
    chunks = (group.column(place) for group in groups for place in range(group.num_columns))
    return sum(getattr(chunk, size) for chunk in chunks if chunk.path_in_schema in names)


def _unpacked(column: Any) -> Any:
    from pyarrow import types

    return column.dictionary_decode() if types.is_dictionary(column.type) else column


def _check_size(size: int, name: str) -> None:
    if size > MAX_ARCHIVE_BYTES:
        raise DataError(f"{name}: unpacks to more than {MAX_ARCHIVE_BYTES >> 20:,} MiB; use a part of the file")


def _parquet_parts(path: Path) -> Iterator[Table]:
    with _open_parquet(path) as file:
        first = 1
        for batch in _plain_batches(path, file):
            yield _from_arrow(batch, str(path), file.schema_arrow, first)
            first += batch.num_rows
        if first == 1:
            raise DataError(NO_ROWS.format(path))


def _plain_batches(path: Path, file: Any) -> Iterator[Any]:
    """Yield the plain columns in batches of pyarrow of at most ROWS_AT_ONCE rows.

    A cell that is stored once for many rows is checked first, because pyarrow copies it into each row of a batch.
    """
    plain, first = _plain_schema(file), 1
    with _open_parquet(path, [field.name for field in plain if _is_text(field.type)]) as encoded:
        for group in range(file.num_row_groups):
            for name in _texts_stored_once(file.metadata.row_group(group), plain):
                batches = encoded.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=[name])
                _check_dictionary((batch.column(name) for batch in batches), name, str(path), first)
            first += file.metadata.row_group(group).num_rows
    for batch in file.iter_batches(ROWS_AT_ONCE, columns=plain.names):
        yield batch.select(plain.names)  # the name a.b selects field b of a column a too


def _texts_stored_once(group: Any, plain: Any) -> list[str]:
    """Return the columns of text of a row group with a dictionary in which a cell can be too long."""
    chunks = map(group.column, range(group.num_columns))
    return [
        chunk.path_in_schema
        for chunk in chunks
        if chunk.total_uncompressed_size > MAX_CELL
        and any("DICTIONARY" in encoding for encoding in chunk.encodings)
        and chunk.path_in_schema in plain.names
        and _is_text(plain.field(chunk.path_in_schema).type)
    ]


def _check_dictionary(columns: Iterable[Any], name: str, path: str, first: int) -> None:
    """Refuse a cell that is too long in the dictionary-encoded parts of a column, whose rows begin with `first`."""
    from pyarrow import compute

    for column in columns:
        lengths = compute.utf8_length(column.dictionary)
        if (compute.max(lengths).as_py() or 0) <= MAX_CELL:
            return  # the first part has the whole dictionary; any other cell is stored in each of its rows
        row = compute.index(compute.greater(lengths.take(column.indices), MAX_CELL), True).as_py()
        if row >= 0:
            _check_cell(column[row].as_py(), name, f"{path}, row {first + row}")
        first += len(column)


@contextlib.contextmanager
def _open_parquet(path: Path, encoded: Sequence[str] = ()) -> Iterator[Any]:
    """Open the file, with `encoded` columns as dictionaries; a failure to read it becomes an error of one line."""
    import pyarrow
    import pyarrow.parquet

    name = str(path)
    with open_file(path) as opened:  # outside, because too many open files are no fault of it
        try:
            with pyarrow.parquet.ParquetFile(opened, read_dictionary=encoded) as file:
                check_column_names(file.schema_arrow.names, name)
                yield file
        except MemoryError:  # one of them is an ArrowException too
            raise
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"{name}: not a readable Parquet file ({printable(str(error), 80)}); write the file again"
            ) from None


def _from_arrow(table: Any, name: str, schema: Any, first: int = 1) -> Table:
    """Return a table or a batch of pyarrow with the plain columns of a schema, whose rows are numbered from `first`."""
    arrays = dict(zip(table.schema.names, table.columns, strict=True))
    columns = arrow_columns(arrays)
    check_cells(columns, lambda row: f"{name}, row {first - 1 + row}")
    if table.num_rows == 0:
        raise DataError(NO_ROWS.format(name))
    others = {field.name: str(field.type) for field in schema if field.name not in columns}
    lines = range(first, first + table.num_rows)
    return Table(name=name, columns=columns, lines=lines, unit="row", unsupported_columns=others)


def arrow_columns(arrays: Mapping[str, Any]) -> dict[str, list[str | None]]:
    """Return the cells of each array of pyarrow that holds plain values, by the name of its column."""
    shared = dict[str, str]()
    return {
        name: [_share(_plain(cell), shared) for cell in _python_values(each)]
        for name, each in arrays.items()
        if _is_plain(each.type)
    }


def check_cells(columns: Mapping[str, Sequence[str | None]], location: Callable[[int], str]) -> None:
    """Refuse a cell that is too long, and half a surrogate pair; `location` names a row, from 1, for the message."""
    for name, cells in columns.items():
        for row, cell in enumerate(cells, start=1):
            _check_cell(cell, name, location(row))


def _python_values(array: Any) -> list[Any]:
    """Return the cells of an array of pyarrow, decimals as texts; a float32 of 4.1 is 4.1, not 4.099999904632568."""
    from pyarrow import types

    kind = array.type.value_type if types.is_dictionary(array.type) else array.type
    values: list[Any] = array.to_pylist()
    if types.is_decimal(kind):
        return [None if value is None else f"{value:f}" for value in values]
    if not types.is_floating(kind) or kind.bit_width == 64:
        return values
    number = kind.to_pandas_dtype()  # a type of NumPy, which writes the shortest text that is this number in this type
    return [None if value is None else float(str(number(value))) for value in values]


def _is_plain(kind: Any) -> bool:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    numbers = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)
    return _is_text(value) or any(check(value) for check in numbers)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    return any(check(value) for check in (types.is_string, types.is_large_string, types.is_string_view))
