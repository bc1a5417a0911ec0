"""Choose the text and label columns of a table, and encode labels as class numbers."""

import dataclasses
import json
import math
import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.data.readers import Table, format_of
from core.data.splits import parse_split_value
from core.data.tokenizer import tokenize
from core.errors import DataError
from core.io.text import listed, printable, quoted

TEXT_NAMES = ("text", "sentence", "review", "content", "comment", "message", "tweet", "snippet")
LABEL_NAMES = ("label", "class", "sentiment", "target", "category", "polarity", "rating", "stars")
MAX_CLASSES = 1000
"""Largest number of classes; with more distinct values, a column holds text or ids."""
MIN_PER_LABEL = 3
"""Smallest number of sentences per label that a split needs; it applies to more than 10 labels."""
_DROP = "add it, or pass --drop-missing to leave out such rows"
_CODE = re.compile(r"\d.*\d.*\d.*\d")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)\.0*")


def choose_columns(
    table: Table, text: str | None, label: str | None, others: Collection[str] = (), *, label_needed: bool = True
) -> tuple[str, str | None]:
    """Return the text and the label column: those given, else by their usual names, else by their content.

    Args:
        table: The file.
        text, label: Names that the user gave; None to find them.
        others: Columns that are neither.
        label_needed: Whether there must be a label column; else it is None if no column has a usual name.

    Raises:
        DataError: A given column is absent, holds no plain values or has another use, the choice is not clear, or the
            file seems to have no header; the columns that the file has are named.
    """
    label_given = label is not None
    if text is not None:
        require_column(table, text, "--text-column")
    if label is not None:
        require_column(table, label, "--label-column")
    names = [name for name in table.columns if name not in others]
    if text is None:
        text = _usual(table, names, TEXT_NAMES, "text", label)
    if label is None:
        label = _usual(table, names, LABEL_NAMES, "label", text)
    if text is None:
        text = _wordy(table, [name for name in names if name != label])
    if text is None:
        text = _only([name for name in names if name != label])
    if label is None and label_needed:
        left = [name for name in names if name != text]
        label = _only(left) or _only([name for name in left if _looks_like_labels(table.columns[name])])
        if label is not None and _is_split(table.columns[label]):
            label = None
    if text is None or (label is None and label_needed):
        needed = {"--text-column (which column holds the text)": text, "--label-column (which holds the labels)": label}
        missing = [option for option, found in needed.items() if found is None][: 1 + label_needed]
        one = len(table.columns) == 1 and format_of(Path(table.name)) == "csv"
        hint = "; a CSV file has commas, semicolons or tabs between its columns, and no title above" if one else ""
        if splits := [name for name in names if name not in (text, label) and _is_split(table.columns[name])]:
            hint = f"; pass --split-column {quoted(splits[0])} if it holds the splits"
        raise DataError(f"{table.name}: pass {' and '.join(missing)}; it has {_names(table)}{hint}")
    if text == label:
        raise DataError(f"{table.name}: text and label column must differ, both are {quoted(text)}")
    if taken := [name for name in (text, label) if name in others]:
        raise DataError(f"{table.name}: column {quoted(str(taken[0]))} has two uses; pass each column for one of them")
    if label is not None and not label_given and text.lower() not in TEXT_NAMES and label.lower() not in LABEL_NAMES:
        _check_header(table, label)
    return text, label


def require_column(table: Table, column: str, option: str) -> list[str | None]:
    """Return the column's cells.

    Raises:
        DataError: The file lacks it (its columns are named), or it holds no plain values.
    """
    if column in table.unsupported_columns:
        kind = printable(table.unsupported_columns[column], 60)
        raise DataError(f"{table.name}: column {quoted(column)} contains {kind}; choose a column of text or numbers")
    if column not in table.columns:
        raise DataError(f"{table.name}: no column {quoted(column)}; choose {option} from {_names(table)}")
    return table.columns[column]


def read_texts(table: Table, column: str) -> list[str]:
    """Return the column's texts.

    Args:
        table: The file.
        column: Its column.

    Raises:
        DataError: A cell is absent; its line is named.
    """
    texts = []
    for row, cell in enumerate(table.columns[column]):
        if cell is None:
            raise DataError(f"{table.location(row)}: no text in column {quoted(column)}; {_DROP}")
        texts.append(cell)
    return texts


def drop_missing_rows(table: Table, columns: Sequence[str]) -> Table:
    """Return the table without the rows that have an empty cell in one of the columns.

    Raises:
        DataError: No row is left.
    """
    kept = [
        row
        for row, cells in enumerate(zip(*(table.columns[name] for name in columns), strict=True))
        if all(cell and not cell.isspace() for cell in cells)
    ]
    if not kept:
        shown = " and ".join(quoted(name) for name in columns)
        raise DataError(f"{table.name}: no row has a value in {shown}; pass other columns")
    cells = {name: [values[row] for row in kept] for name, values in table.columns.items()}
    return dataclasses.replace(table, columns=cells, lines=[table.lines[row] for row in kept])


def encode_labels(table: Table, column: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return class numbers (n,) and class names; names are sorted, as numbers if all are numbers.

    Raises:
        DataError: A label is absent, all are the same, or they look like lists, text or ids.
    """
    values = []
    for row, cell in enumerate(table.columns[column]):
        if cell is None or not cell.strip():
            raise DataError(f"{table.location(row)}: no label in column {quoted(column)}; {_DROP}")
        values.append(cell.strip())
    values = class_names(values)
    distinct = set(values)
    in_brackets = {value for value in distinct if value[0] + value[-1] in ("[]", "{}")}
    if lists := in_brackets if in_brackets == distinct else set(filter(_is_json, in_brackets)):
        where = table.location(next(row for row, value in enumerate(values) if value in lists))
        raise DataError(f"{where}: column {quoted(column)} contains lists; choose a column with one label per row")
    if len(distinct) == 1:
        only = quoted(values[0])
        raise DataError(
            f"{table.name}: label column {quoted(column)} has only one class, {only}; choose a column with two or more"
        )
    most = min(MAX_CLASSES, max(10, len(values) // MIN_PER_LABEL))
    if len(distinct) > most:
        raise DataError(
            f"{table.name}: column {quoted(column)} has {len(distinct):,} distinct values in {len(values):,} "
            f"rows, more than {most:,}, so it looks like text or ids, not labels{_suggest(table, column)}"
        )
    names = sort_classes(distinct)
    number = {name: place for place, name in enumerate(names)}
    return np.array([number[value] for value in values], dtype=np.int64), names


def class_names(values: list[str]) -> list[str]:
    """Return the class of each value.

    If all are numbers, "1.0" and "1" are one class, "-0.0" and "0" are one, and "01" is another.
    """
    if not _are_numbers(set(values)):
        return values
    whole = [value.partition(".")[0] if _WHOLE.fullmatch(value) else value for value in values]
    return ["0" if value == "-0" else value for value in whole]


def sort_classes(distinct: Collection[str]) -> tuple[str, ...]:
    """Return class names in label order: as numbers if all are numbers."""
    return tuple(sorted(distinct, key=(lambda value: (_number(value), value)) if _are_numbers(distinct) else None))


def _are_numbers(values: Collection[str]) -> bool:
    return all(_number(value) is not None for value in values)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in value else None  # Python reads 1_0 as ten


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _check_header(table: Table, label: str) -> None:
    """Refuse a CSV or TSV whose name of the label column is a label: its first line would be lost."""
    if format_of(Path(table.name)) in ("csv", "tsv") and any(
        cell is not None and cell.strip() == label.strip() for cell in table.columns[label]
    ):
        raise DataError(
            f"{table.name}: the first line looks like a row, not like a header, because {quoted(label)} is also a "
            "label; add a first line with the columns' names, or pass --label-column "
            f"{printable(shlex.quote(label), 60)}"
        )


def _usual(table: Table, names: Sequence[str], usual: Sequence[str], what: str, taken: str | None) -> str | None:
    matches = [column for column in names if column.lower() in usual and column != taken]
    unread = [column for column in table.unsupported_columns if column.lower() in usual]
    if unread and not matches:
        require_column(table, unread[0], f"--{what}-column")
    possible = matches + unread if what == "label" else matches
    if len(possible) > 1:
        shown = " and ".join(quoted(match) for match in possible)
        raise DataError(f"{table.name}: the {what} column can be {shown}; pass --{what}-column with one of them")
    return matches[0] if matches else None


def _only(names: Sequence[str]) -> str | None:
    """Return the name if there is exactly one."""
    return names[0] if len(names) == 1 else None


def _wordy(table: Table, names: Sequence[str]) -> str | None:
    """Return the column that reads like sentences; None if no column has three words, or twice those of the others."""
    words = sorted(((_mean_words(table.columns[name]), name) for name in names), reverse=True)
    others = words[1][0] if len(words) > 1 else 0.0
    return words[0][1] if words and words[0][0] >= max(3, 2 * others) else None


def _mean_words(cells: Sequence[str | None]) -> float:
    """Return the mean number of words in the first cells, of at most 300 characters each; empty cells have none.

    Numbers are no words.
    """
    sample = [(cell or "")[:300] for cell in cells[:1000]]
    return sum(token[0].isalpha() for cell in sample for token in tokenize(cell, "unicode")) / len(sample)


def _is_split(cells: Sequence[str | None]) -> bool:
    """Return whether all cells are train, val or test."""
    return all(parse_split_value(value or "") is not None for value in set(cells))


def _looks_like_labels(cells: Sequence[str | None]) -> bool:
    """Return whether there are few values, and they are no dates or other codes with four digits."""
    values = set(cells)
    codes = sum(_CODE.search(value or "") is not None for value in values)
    return 2 <= len(values) <= min(100, len(cells) // MIN_PER_LABEL) and 2 * codes < len(values)


def _suggest(table: Table, bad: str) -> str:
    good = [
        quoted(name)
        for name, cells in table.columns.items()
        if name != bad and _looks_like_labels(cells) and not _is_split(cells)
    ]
    if not good:
        return ", and no other column has few values; add a column of labels, or merge classes"
    return f"; pass --label-column {' or '.join(good)} (few distinct values)"


def _names(table: Table) -> str:
    return listed([quoted(name) for name in (*table.columns, *table.unsupported_columns)], 20)
