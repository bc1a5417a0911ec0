"""Soft labels: columns of a table with the probability of each class, which training uses instead of labels."""

import csv
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.data.columns import MAX_CLASSES, class_names, encode_labels, require_column, sort_classes
from core.data.readers import Table
from core.errors import ConfigError, DataError
from core.io.text import listed, printable, quoted

OPTION = "--probability-columns"
PREFIXES = ("probability_", "p_")
PREDICTED = ("predicted_label", "predicted_probability", "unknown_words")
"""Columns that `predict` adds to a table; none of them has labels."""
TOLERANCE = 0.01
"""Largest difference of a row's sum from 1, for more than two classes half of it per class, of at most 200 classes:
probabilities rounded to two digits are accepted, percentages and scores are not."""


def parse_names(names: str | None) -> list[str]:
    """Return the names of the columns, which are one row of CSV; none for None.

    Raises:
        ConfigError: There are fewer than two or more than MAX_CLASSES, or one occurs twice.
    """
    if names is None:
        return []
    try:
        found = [name.strip() for row in csv.reader([names], skipinitialspace=True) for name in row]
    except csv.Error:  # a line break outside of quotes
        found = []
    if not 2 <= len(found) <= MAX_CLASSES or not all(found) or len(set(found)) < len(found):
        raise ConfigError(
            f"{OPTION} must be 2 to {MAX_CLASSES:,} different columns, separated by commas, got {quoted(names)}"
        )
    return found


def labels_of_classes(table: Table, columns: Sequence[str], others: Collection[str]) -> str | None:
    """Return the column whose values are the classes of the columns with probabilities; None if not exactly one has.

    Args:
        table: The file.
        columns: The columns with probabilities.
        others: Columns that do not count, besides PREDICTED.

    Raises:
        DataError: A column belongs to no class, or two belong to one.
    """
    found = []
    for name in table.columns.keys() - {*others, *PREDICTED}:
        distinct = {(cell or "").strip() for cell in table.columns[name]}
        if len(distinct) <= len(columns):
            classes = set(class_names(list(distinct)))
            found += [name] * (_columns_by_class(table, columns, classes).keys() == classes)
    return found[0] if len(found) == 1 else None


def read_targets(
    table: Table, label: str | None, columns: Sequence[str]
) -> tuple[NDArray[np.int64], tuple[str, ...], NDArray[np.float32] | None]:
    """Return labels (n,), class names, and the probabilities (n, C); None without columns.

    Without a label column, the label of a sentence is its most probable class, the first one in a tie. With a label
    column, a sentence may lack all probabilities; its label then has the probability 1.

    Args:
        table: The file.
        label: The label column; None if there is none.
        columns: The columns with probabilities.

    Raises:
        DataError: A column is absent or belongs to no class, the classes are not those of the labels, or a row does
            not contain probabilities. The message names the column or the line.
    """
    if label is not None:
        labels, classes = encode_labels(table, label)
        if not columns:
            return labels, classes, None
    by_class = _columns_by_class(table, columns, () if label is None else classes)
    if label is None:
        classes = sort_classes(by_class)
        targets = _read_rows(table, [by_class[name] for name in classes], None)
        return targets.argmax(axis=1), classes, targets
    if by_class.keys() != set(classes):
        raise DataError(
            f"{table.name}: {OPTION} and label column {quoted(label)} must have the same classes, only one of the two "
            f"has {listed([quoted(name) for name in sort_classes(by_class.keys() ^ set(classes))], 10)}; pass one "
            "column for each class, named CLASS, p_CLASS or probability_CLASS"
        )
    return labels, classes, _read_rows(table, [by_class[name] for name in classes], labels)


def _columns_by_class(table: Table, columns: Sequence[str], classes: Collection[str]) -> Mapping[str, str]:
    """Return the column of each class: the columns' names if these are the classes, else without a prefix."""
    for column in columns:
        require_column(table, column, OPTION)
    names = class_names(list(columns))
    if set(names) == set(classes) and len(set(names)) == len(names):
        return dict(zip(names, columns, strict=True))
    prefixes = (next((each for each in PREFIXES if column.startswith(each)), "") for column in columns)
    names = class_names([column.removeprefix(prefix) for column, prefix in zip(columns, prefixes, strict=True)])
    by_class = dict(zip(names, columns, strict=True))
    for name, column in zip(names, columns, strict=True):
        if not name or by_class[name] != column:
            why = f"and {quoted(by_class[name])} have the same class {quoted(name)}" if name else "names no class"
            raise DataError(f"{table.name}: column {quoted(column)} {why}; rename it")
    return by_class


def _read_rows(table: Table, columns: Sequence[str], labels: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """Return (n, C): each row with the sum 1; a row without any value is the one-hot label."""
    targets = np.zeros((len(table.lines), len(columns)))
    for row, cells in enumerate(zip(*(table.columns[column] for column in columns), strict=True)):
        if labels is not None and not any(cell and cell.strip() for cell in cells):
            targets[row, labels[row]] = 1
            continue
        for place, (column, cell) in enumerate(zip(columns, cells, strict=True)):
            targets[row, place] = _probability(cell, table, row, column)
        # Rounding raises at most 200 values, by 0.005 each. For 200 classes, a sum of 0 would be within it.
        most = TOLERANCE * min(max(1, len(columns) / 2), 100) + 1e-9
        if not (targets[row].any() and abs(targets[row].sum() - 1) <= most):
            shown = ", ".join(
                f"{printable(name, 40)} {value:g}" for name, value in zip(columns, targets[row], strict=True)
            )
            raise DataError(
                f"{table.location(row)}: probabilities must have the sum 1, got {targets[row].sum():g} ({shown})"
            )
    targets /= targets.sum(axis=1, keepdims=True)
    return targets.astype(np.float32)


def _probability(cell: str | None, table: Table, row: int, column: str) -> float:
    try:
        value = float(cell or "")
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1 + TOLERANCE:
        where = f"{table.location(row)}: column {quoted(column)}"  # only here: it takes longer than the number
        raise DataError(
            f"{where} must be a number from 0 to 1, got {'an empty cell' if cell is None else quoted(cell)}"
        )
    return value
