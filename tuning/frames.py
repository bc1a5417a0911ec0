"""Data from memory: a data frame or two sequences become a file, which is a dataset like any other.

The file is named by the digest of its content, so the same data always result in the same file, with any library.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.data.columns import encode_labels, read_texts
from core.data.corpus import ReadOptions
from core.data.datasets import choose
from core.data.probability_columns import parse_names
from core.data.readers import Table, arrow_columns, check_cells
from core.errors import ConfigError, DataError
from core.io.atomic import atomic_write
from core.io.text import error_summary, quoted

NAME = "the data frame"
NEEDED = "the data must be a DataFrame, a Dataset, a path or name, or two sequences (texts, labels)"


def store_frame(data: Any, options: ReadOptions, folder: Path) -> tuple[Path, ReadOptions]:
    """Write the columns that a study needs into a .jsonl file in `folder`, unless it is there.

    Args:
        data: A frame of any library that narwhals reads, an object with `to_pandas`, or (texts, labels).
        options: Columns as for a file; none for two sequences.
        folder: Folder of the file; it is created.

    Returns:
        The file, and the options that read it: the columns are named.

    Raises:
        DataError: A column is absent, or the choice is not clear; or `data` is none of these.
        ConfigError: An option cannot be used with a frame.
        UserError: The file cannot be written.
    """
    if options.encoding is not None:
        raise ConfigError("--encoding must be used with a text file, got a data frame; leave it out")
    named = [options.text_column, options.label_column, options.split_column]
    table = _table(data, [*named, *parse_names(options.probability_columns)])
    text, label, probabilities = choose(table, options)
    used = (text, label, *probabilities, options.split_column)
    kept = {name: table.columns[name] for name in used if name is not None}
    check_cells(kept, lambda row: f"{NAME}, row {row}")
    if not options.drop_missing:  # otherwise the messages would name the file
        read_texts(table, text)
        if label is not None:
            encode_labels(table, label)
    rows = (dict(zip(kept, row, strict=True)) for row in zip(*kept.values(), strict=True))
    content = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()
    path = folder.absolute() / f"frame-{hashlib.sha256(content).hexdigest()[:12]}.jsonl"
    if not path.is_file() or path.read_bytes() != content:
        atomic_write(path, content)
    return path, dataclasses.replace(options, text_column=text, label_column=label)


def _table(data: Any, named: Sequence[str | None]) -> Table:
    """Return the columns of a frame or of two sequences, with the values as a file has them.

    If the first two of the `named` columns, text and label, are not None, other columns of floats are not read: as
    texts, those of an embedding take ten times their memory.
    """
    import pyarrow

    frame = _pair(data) if isinstance(data, tuple) else _frame(data)
    columns: dict[str, list[str | None]] = {}
    unsupported: dict[str, str] = {}
    for column in frame.columns:
        name = str(column)
        if name in columns or name in unsupported:
            raise DataError(f"{NAME} has two columns {quoted(name)}; rename one of them")
        try:
            array = frame.get_column(column).to_arrow()
            unused = None not in named[:2] and name not in named and pyarrow.types.is_floating(array.type)
            plain = {} if unused else arrow_columns({name: array})
        except UnicodeDecodeError:
            unsupported[name] = "text that is not UTF-8"
        except UnicodeError:
            unsupported[name] = "half a surrogate pair"
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
            unsupported[name] = "values of several types (astype('string') makes texts)"
        else:
            columns |= plain
            unsupported |= {} if plain else {name: str(array.type)}
    if frame.shape[0] == 0:
        raise DataError(f"{NAME} has no rows; pass at least one row")
    rows = list(range(1, frame.shape[0] + 1))
    return Table(name=NAME, columns=columns, lines=rows, unit="row", unsupported_columns=unsupported)


def _frame(data: Any) -> Any:
    """Return the frame as narwhals shows it; a Dataset of Hugging Face has the names of its classes as labels."""
    import narwhals

    try:
        frame = narwhals.from_native(data, eager_only=True, pass_through=True)
        if isinstance(frame, narwhals.DataFrame):
            return frame
        if callable(getattr(data, "to_pandas", None)):
            return narwhals.from_native(_with_class_names(data), eager_only=True)
    except Exception as error:  # each library has its own
        raise DataError(
            f"{NAME} cannot be read ({error_summary(error, 120)}); change it, or write it to a file"
        ) from error
    if isinstance(data, Mapping):
        splits = ", ".join(map(repr, list(data)[:5]))
        raise DataError(f"{NEEDED}, got {type(data).__name__} with {splits}; pass one of them")
    hint = "; pass the result of its method collect" if callable(getattr(data, "collect", None)) else ""
    raise DataError(f"{NEEDED}, got {'None' if data is None else type(data).__name__}{hint}")


def _with_class_names(dataset: Any) -> Any:
    """Return a Dataset as a pandas frame; a column with class numbers has the names, and -1 is no label."""
    frame = dataset.to_pandas()
    for column, feature in dict(getattr(dataset, "features", None) or {}).items():
        if names := getattr(feature, "names", None):
            frame[column] = [names[int(code)] if code == code and code >= 0 else None for code in frame[column]]
    return frame


def _pair(data: tuple[Any, ...]) -> Any:
    """Return (texts, labels) as a frame with these two columns."""
    import narwhals
    import pyarrow

    # A data frame and a dictionary would give the names of their columns, and a set has no order.
    if any(isinstance(each, Mapping | set | frozenset) or hasattr(each, "columns") for each in data):
        kinds = " and ".join(type(each).__name__ for each in data)
        raise DataError(f"(texts, labels) must be lists or columns, got {kinds}; pass columns such as frame['text']")
    try:
        texts, labels = (list(each) for each in data)
    except (TypeError, ValueError):
        raise DataError(f"{NEEDED}, got a tuple of {len(data)}") from None
    if any(isinstance(each, str) for each in data):
        raise DataError(f"{NEEDED}, got one text in place of a sequence")
    if len(texts) != len(labels):
        raise DataError(f"(texts, labels) must have equal lengths, got {len(texts):,} texts and {len(labels):,} labels")
    try:
        plain = {"text": texts, "label": [each.item() if hasattr(each, "item") else each for each in labels]}
        arrays = {name: pyarrow.array(cells, from_pandas=True) for name, cells in plain.items()}  # NaN is no value
        if narrow := re.search(r"\bfloat(16|32)$", str(getattr(data[1], "dtype", "")).lower()):
            arrays["label"] = arrays["label"].cast(narrow[0])  # a float32 of 4.1 is 4.1, as in a data frame
        return narwhals.from_native(pyarrow.table(arrays), eager_only=True)
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last is torch's
        raise DataError(f"(texts, labels) must be texts, and labels of one type: {error_summary(error, 120)}") from None
