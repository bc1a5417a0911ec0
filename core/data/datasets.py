"""Resolve the DATASET argument: where the data is, what identifies it, and how to read it."""

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from core.data import columns, splits
from core.data.corpus import Dataset, DatasetSource, ReadOptions
from core.data.movie_reviews import resolve_mr, resolve_mr_at, resolve_snippets
from core.data.probability_columns import OPTION, labels_of_classes, parse_names, read_targets
from core.data.readers import FORMATS, Table, format_of, packed_size, read_table
from core.errors import ConfigError, DataError
from core.io import file_hash
from core.io.atomic import expand_user
from core.io.encodings import detect_encoding, normalize_encoding
from core.io.memory import check_texts_fit
from core.io.text import Notify, printable, quoted

READER = 4
"""Version of the readers; raise it when the same file results in other texts or labels."""


def resolve_dataset(dataset: str, options: ReadOptions, folder: Path, notify: Notify | None = None) -> DatasetSource:
    """Find `snippets`, `mr`, `mr:PATH`, or the path of a .csv, .tsv, .jsonl or .parquet file.

    Args:
        dataset: A name or a path of this form.
        options: Options of a file; none of them is set for the built-in datasets.
        folder: The cache folder, which keeps downloads.
        notify: Called with one line about slow work or irregular data.

    Raises:
        ConfigError: The name is none of these, or an option cannot be used with it.
        DataError: A file is absent or cannot be used.
    """
    defaults = dataclasses.asdict(ReadOptions())
    given = {name: value for name, value in dataclasses.asdict(options).items() if value != defaults[name]}
    if dataset not in ("snippets", "mr") and not dataset.startswith("mr:"):
        return _resolve_file(dataset, options, given, folder, notify)
    if given:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{names} must be used with a file, got dataset {dataset!r}; leave it out")
    if dataset in ("snippets", "mr"):
        return (resolve_snippets if dataset == "snippets" else resolve_mr)(folder, notify)
    return resolve_mr_at(expand_user(dataset.removeprefix("mr:")), notify)


def _resolve_file(
    dataset: str, options: ReadOptions, given: Mapping[str, Any], folder: Path, notify: Notify | None
) -> DatasetSource:
    path = expand_user(dataset)
    kind = format_of(path)
    if kind is None:
        endings = ", ".join(f".{kind}" for kind in FORMATS)
        raise ConfigError(
            f"dataset must be snippets, mr, mr:PATH or a file ending in {endings} (text also in .gz), "
            f"got {quoted(dataset, None)}"
        )
    probabilities = parse_names(options.probability_columns)
    digest = file_hash.input_digest(path, folder)
    encoding = encoding_of(path, options.encoding, folder, notify, "search with another --encoding")
    # Without the path: the same file in another folder is the same data.
    inputs = {
        "dataset": kind,
        "reader": READER,
        "sha256": digest,
        **dict.fromkeys(("text_column", "label_column", "split_column")),
        **given,
        "encoding": encoding,
        **({"probability_columns": probabilities} if probabilities else {}),
    }

    def read() -> Dataset:
        check_texts_fit(path, packed_size(path))
        found = _read_file(path, encoding, options)
        file_hash.check_unchanged(path, folder, digest)
        return found

    return DatasetSource(inputs=inputs, read=read)


def encoding_of(
    path: Path, given: str | None, folder: Path, notify: Notify | None, advice: str = "pass --encoding"
) -> str:
    """Return the encoding that was given or detected; empty for Parquet, which has none.

    Args:
        path: The file.
        given: The encoding; None to detect it.
        folder: The cache folder, which keeps the detected encoding of a large file.
        notify: Called with a note about an encoding that was guessed.
        advice: What to do if it is wrong, for this note.

    Raises:
        ConfigError: Python does not know the encoding, or the file is Parquet.
        DataError: The file is absent or cannot be read, or its encoding cannot be detected.
    """
    if format_of(path) == "parquet":
        if given is not None:
            raise ConfigError(f"--encoding must be used with a text file, got {path}; leave it out")
        return ""
    if given is not None:
        return normalize_encoding(given)
    detector = f"encoding 3 {version('charset-normalizer')}"
    encoding = file_hash.memoize_by_stat(path, folder, detector, lambda: detect_encoding(path))
    if notify and not encoding.startswith("utf"):
        notify(f"{printable(str(path))}: is not UTF-8, read as {encoding}; if letters are wrong, {advice}")
    return encoding


def choose(table: Table, options: ReadOptions) -> tuple[str, str | None, list[str]]:
    """Return the text column, the label column and the columns with probabilities.

    Raises:
        ConfigError: The columns with probabilities are not a list of names.
        DataError: A column is absent, holds no plain values or has two uses, or the choice is not clear.
    """
    probabilities = parse_names(options.probability_columns)
    others = [*probabilities, *([options.split_column] if options.split_column is not None else [])]
    text, label = columns.choose_columns(
        table, options.text_column, options.label_column, others, label_needed=not probabilities
    )
    for name in others:
        columns.require_column(table, name, "--split-column" if name == options.split_column else OPTION)
    if probabilities and label is None:
        label = labels_of_classes(table, probabilities, {text, *others})
    return text, label, probabilities


def _read_file(path: Path, encoding: str, options: ReadOptions) -> Dataset:
    table = read_table(path, encoding)
    text, label, probabilities = choose(table, options)
    n_rows = len(table.lines)
    if options.drop_missing:
        table = columns.drop_missing_rows(table, [text, *(probabilities if label is None else [label])])
    labels, classes, targets = read_targets(table, label, probabilities)
    split = None
    if options.split_column is not None:
        cells = [cell or "" for cell in table.columns[options.split_column]]
        codes = [splits.parse_split_value(cell) for cell in cells]
        if None in codes:
            row = codes.index(None)
            shown = f"column {quoted(options.split_column)} must be train, val or test, got {quoted(cells[row])}"
            raise DataError(f"{table.location(row)}: {shown}")
        split = np.array(codes, dtype=np.uint8)
    return Dataset(
        texts=columns.read_texts(table, text),
        labels=labels,
        classes=classes,
        split=split,
        targets=targets,
        notes={
            "licence": "as the owner of the file states",
            "text_column": text,
            "label_column": label,
            **({"dropped_rows": n_rows - len(table.lines)} if options.drop_missing else {}),
            **({"probability_columns": probabilities} if probabilities else {}),
        },
    )
