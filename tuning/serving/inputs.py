"""Input of `predict`, in parts that fit into memory: the lines of a file or a pipe, or the rows of a table."""

import codecs
import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data.columns import require_column
from core.data.datasets import encoding_of
from core.data.readers import FORMATS, ROWS_AT_ONCE, Table, format_of, read_table_in_parts
from core.errors import ConfigError, DataError
from core.io.archives import FILE_BLOCK, open_unpacked
from core.io.encodings import MAX_LINE, normalize_encoding
from core.io.text import Notify, printable

ENDINGS = ", ".join(f".{kind}" for kind in FORMATS)
NO_TEXT = (".xlsx", ".xls", ".ods", ".json", ".zip")
"""Endings of files that are no lines of text, as spreadsheets."""
_MISFIT = "\udfff"
"""Replaces bytes that the encoding does not allow: no decoded text contains half a surrogate pair."""


def no_text_problem(file: str, option: str) -> str | None:
    """Return what is wrong with a file that is neither lines of text nor a table, such as a spreadsheet, else None."""
    if Path(file).suffix.lower() not in NO_TEXT:
        return None
    return f"{option} must be lines of text or a table ({ENDINGS}), got {printable(file)}; save it as CSV"


@dataclass(frozen=True, kw_only=True, slots=True)
class TextBatch:
    """Some texts, and their locations."""

    texts: list[str]
    source: str
    """Prefix of a location, such as "a.csv, line"."""
    numbers: Sequence[int]
    """(n,) number of each text within it."""

    def location(self, place: int) -> str:
        """Return the name of the text at a place, from 1, for an error."""
        return f"{self.source} {self.numbers[place - 1]}"


def line_batches(file: str, encoding: str | None, notify: Notify, option: str = "--file") -> Iterator[TextBatch]:
    """Yield one sentence per line, including empty ones, so that line n of the answer is about line n of the file.

    A pipe's lines are yielded as soon as they arrive. Bytes that the encoding does not allow are read as U+FFFD, and
    reported once with their line.

    Args:
        file: A regular file, which may end in `.gz`, or a named pipe; - is standard input.
        encoding: None for UTF-8.
        notify: Called with a line about irregular data.
        option: Name of the option that gives the file, for messages.

    Raises:
        ConfigError: Python does not know the encoding.
        DataError: The file cannot be read, or a line is longer than MAX_LINE.
    """
    name, where = normalize_encoding(encoding) if encoding else "utf-8", f"{option} {printable(file)}"
    first, misfits = 1, False
    stdin: Any = sys.stdin.buffer  # its type is that of any binary stream
    with contextlib.nullcontext(stdin) if file == "-" else open_unpacked(Path(file), pipes=True) as stream:
        for lines in _decoded_lines(stream, name, where):
            bad = next((place for place, line in enumerate(lines) if _MISFIT in line), None)
            if bad is not None:
                lines = [line.replace(_MISFIT, "\ufffd") for line in lines]
                if not misfits:
                    shown = f"{where}, line {first + bad}"
                    notify(f"{shown}: is not {name}; such bytes are read as \ufffd (see --encoding)")
                misfits = True
            for start in range(0, len(lines), ROWS_AT_ONCE):
                part = lines[start : start + ROWS_AT_ONCE]
                yield TextBatch(texts=part, source=f"{where}, line", numbers=range(first, first + len(part)))
                first += len(part)


def _decoded_lines(stream: io.BufferedReader, encoding: str, where: str) -> Iterator[list[str]]:
    """Yield the lines of each block. Only a line feed, a carriage return or both end a line."""
    codecs.register_error("sentune-misfit", lambda error: (_MISFIT, error.end))  # type: ignore[attr-defined]
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("sentune-misfit"), translate=True)
    count, rest, block = 0, "", b"at least one"
    while block:
        try:
            block = stream.read1(FILE_BLOCK)
            text = decoder.decode(block, final=not block)
        except OSError as error:  # such as a folder as standard input
            raise DataError(f"{where}: cannot be read ({error.strerror}); pass a file") from None
        except UnicodeError as error:  # such as UTF-16 without the mark of its byte order
            raise DataError(f"{where}: is not {encoding} ({error}); pass another --encoding") from None
        *lines, rest = (rest + text).split("\n")
        if not block and rest:
            lines, rest = [*lines, rest], ""
        if count == 0 and lines:
            lines[0] = lines[0].removeprefix("\ufeff")
        long = next((place for place, line in enumerate([*lines, rest], 1) if len(line) > MAX_LINE), None)
        if long is not None:
            raise DataError(
                f"{where}, line {count + long}: has more than {MAX_LINE:,} characters; write one sentence per line"
            )
        count += len(lines)
        if lines:
            yield lines


def table_batch(part: Table, column: str) -> TextBatch:
    """Return the texts of a part. An absent cell is an empty text, as an empty cell of CSV is.

    Raises:
        DataError: The table has no such column of plain values.
    """
    texts = [cell or "" for cell in require_column(part, column, "--text-column")]
    return TextBatch(texts=texts, source=f"{part.name}, {part.unit}", numbers=part.lines)


def sentence_batches(
    file: str, text_column: str | None, encoding: str | None, cache_dir: Path, notify: Notify, option: str
) -> Iterator[TextBatch]:
    """Yield the sentences of a file: its lines, as `line_batches`, or with `text_column` the cells of a table.

    `cache_dir` remembers the detected encoding of a large table. The other arguments are those of `line_batches`.

    Raises:
        ConfigError: A text column is given for a file that is no table, or none for a table; the file is no text; or
            Python does not know the encoding.
        DataError: The file cannot be read, or the table cannot be used.
    """
    if problem := no_text_problem(file, option):
        raise ConfigError(problem)
    is_table = format_of(Path(file)) is not None
    if text_column is None:
        if is_table:
            raise ConfigError(
                f"{option} {printable(file)} is a table; pass --text-column, or rename it to end in .txt if each line "
                "is a sentence"
            )
        yield from line_batches(file, encoding, notify, option)
        return
    if not is_table:
        raise ConfigError(f"--text-column needs a file ending in {ENDINGS} (.gz too), got {option} {printable(file)}")
    for part in read_table_in_parts(Path(file), encoding_of(Path(file), encoding, cache_dir, notify)):
        yield table_batch(part, text_column)
