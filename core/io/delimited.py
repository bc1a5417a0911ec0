"""Parse the lines of CSV and TSV files into rows."""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from core.errors import DataError
from core.io.encodings import MAX_LINE
from core.io.text import listed, quoted

Row = tuple[int, dict[str, str | None]]
"""Number of a row's first line, and its cells by column."""
_QUOTED = re.compile('(?<![^,;\t])"(?:[^"]|"")*"?')
"""A quoted cell: its quote is the first character of the header, or after a separator."""
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?[\r\n]*')
"""First line of a CSV file for Excel, which names the separator."""
_ONE_LINE = "a quoted cell must end on its line; save the file as CSV"
_SAMPLE = 20
"""Number of lines after the header that decide about the separator."""


def csv_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    """Parse RFC 4180 strictly; a line `sep=;`, or else the first lines, decide about the separator."""
    header_line, skipped = next(lines, ""), 0
    while header_line and not header_line.strip(" \r\n"):
        header_line, skipped = next(lines, ""), skipped + 1
    if of_excel := _SEPARATOR_LINE.fullmatch(header_line):
        separator, first, skipped = of_excel[1], list[str](), skipped + 1
    else:
        first = [header_line, *itertools.islice(lines, _SAMPLE)]
        separator = _separator(first)
    line, size = skipped + 1, 0

    def counted() -> Iterator[str]:
        nonlocal size
        for each in itertools.chain(first, lines):
            size += len(each)
            if size > MAX_LINE:
                raise csv.Error(f"the row has more than {MAX_LINE:,} characters")
            yield each

    reader = csv.reader(counted(), delimiter=separator, strict=True)

    def numbered() -> Iterator[tuple[int, list[str]]]:
        nonlocal line, size
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line, size = skipped + reader.line_num + 1, 0
        except csv.Error as error:
            problem = f"{error}; fix the quotes around it"
            if str(error).startswith("field larger than"):
                limit = f"{csv.field_size_limit():,}"
                problem = f"a cell has more than {limit} characters; shorten it, or fix the quotes around it"
            raise DataError(f"{name}, line {line}: {problem}") from None

    yield from _named(numbered(), name, tabs_only=False)


def _separator(lines: Sequence[str]) -> str:
    """Return tab, semicolon or comma: the one by which the largest share of the rows has as many cells as the header.

    Only one that the header has outside of quotes is considered, else the comma. In a tie, it is the most frequent one
    of the header, then the first one: a semicolon, where a comma may be that of a decimal number.
    """
    header = re.split("[\r\n]", _QUOTED.sub("", "".join(lines)), maxsplit=1)[0]  # a cell may have several lines
    ranked = sorted((each for each in "\t;," if each in header), key=header.count, reverse=True)

    def agreeing(separator: str) -> float:
        try:
            sizes = [len(cells) for cells in csv.reader(lines, delimiter=separator) if cells]
        except csv.Error:
            return 0
        if len(lines) > _SAMPLE:  # the last row may be cut
            sizes = sizes[:-1]
        return sizes.count(sizes[0]) / len(sizes) if sizes else 0

    return max(ranked, key=agreeing, default=",")


def tsv_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    """Parse one row per line, with tabs between cells; a cell that is quoted as a whole loses its quotes."""

    def numbered() -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(lines, start=1):
            cells = line.rstrip("\n").split("\t")
            if len(cells) == 1 and line.startswith('"') and line.count('"') % 2:  # pandas quotes a text of two lines
                raise DataError(f"{name}, line {number}: {_ONE_LINE}")
            if line.strip() or len(cells) > 1:
                yield number, [_unquote(cell) for cell in cells]

    yield from _named(numbered(), name, tabs_only=True)


def _unquote(cell: str) -> str:
    if len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', ""):
        return cell[1:-1].replace('""', '"')
    return cell


def _named(rows: Iterator[tuple[int, list[str]]], name: str, *, tabs_only: bool) -> Iterator[Row]:
    """Yield each row with the names of the first one; without several columns that have none, as Excel adds them."""
    first, header = next(rows, (1, []))  # without a header there are no rows either, which is found in the end
    if not tabs_only and any(re.match(r'\s+"', column) for column in header):
        raise DataError(f"{name}, line {first}: a blank precedes a quote; remove such blanks, so that the quotes count")
    header = [column.strip() for column in header]
    several = header.count("") > 1
    is_title = several and 2 * header.count("") > len(header)
    check_column_names([column for column in header if column or not several], f"{name}, line {first}")
    for line, cells in rows:
        if len(cells) == 1 < len(header) and not cells[0].strip():
            continue
        if len(cells) != len(header) == 1 and not tabs_only:
            raise DataError(
                f"{name}, line {first}: the header has one column, but line {line} has {len(cells)} cells; separate "
                "columns by commas, semicolons or tabs, and put a cell with commas in quotes, or write sep=| in a "
                "first line; if the header is a title, remove it"
            )
        if len(cells) != len(header):
            is_cut = tabs_only and any('"' in (cell[:1], cell[-1:]) and cell.count('"') % 2 for cell in cells)
            usual = "fix the line" if len(header) > 1 else "put tabs into the header, or remove a title above it"
            advice = _ONE_LINE if is_cut else usual
            raise DataError(f"{name}, line {line}: has {len(cells)} cells, the header has {len(header)}; {advice}")
        row: dict[str, str | None] = dict(zip(header, cells, strict=True))
        if several:
            left_out = [cell for column, cell in zip(header, cells, strict=True) if not column]
            if is_title and any(map(str.strip, left_out)):
                raise DataError(
                    f"{name}, line {first}: most columns have no name; remove the lines before the header, or name the "
                    "columns"
                )
            is_title = is_title and not any(map(str.strip, cells))  # the first row with a value decides
            del row[""]
        yield line, row


def check_column_names(names: Sequence[str], where: str) -> None:
    """Raise DataError, which begins with `where`, if a name occurs twice."""
    twice = [quoted(name) for name, count in sorted(Counter(names).items()) if count > 1]
    if twice:
        raise DataError(f"{where}: several columns are named {listed(twice, 10)}; remove or rename all but one of each")
