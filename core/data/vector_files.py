"""Read files of word vectors (fastText's .vec, GloVe's .txt), keeping only the rows of some words.

Each line is a word and its numbers between single spaces; a .vec begins with a line `rows width`. Two million
lines of 300 numbers are 4.5 GB of text, so the word is compared as bytes before any of its numbers is read.
"""

import codecs
import contextlib
import itertools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.config import MAX_EMBEDDING_DIM
from core.errors import DataError
from core.io.streams import read_blocks
from core.io.text import Notify, quoted

MAX_LINE_BYTES = 1 << 20
TO_TEXT = "save it as text, with gensim by save_word2vec_format(PATH, binary=False)"
"""Advice about word2vec's binary files."""
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
"""About each tenth byte of binary numbers is one; text has none."""

Rows = tuple[dict[str, int], NDArray[np.float32]]
"""Row numbers by word, and the (n_found, width) rows."""


class _Piece(NamedTuple):
    """The whole lines text[start:stop]."""

    text: bytes
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """Layout that the first lines of a file define for all the others."""

    stated_rows: int | None
    """Number of rows in the header; None without a header."""
    header_bytes: int
    width: int
    spaces: int
    """Spaces in each line: `width`, or one more in files whose lines end in a space."""


def read_vectors(
    path: Path, words: Collection[str], member: str | None = None, notify: Notify | None = None, *, more: int = 0
) -> Rows:
    """Return the vectors of those of `words` that the file has, and of some others; of duplicate rows, the first.

    Widths are checked by counting the spaces of a block, then line by line if the count is wrong. Numbers are checked
    in rows that are kept.

    Args:
        path: A plain file, a `.gz`, or a `.zip`.
        words: Words without spaces.
        member: Name of the file in a `.zip`.
        notify: Called with the progress every few seconds.
        more: Maximum number of other words, which are the first of the file, each in its `word_forms`.

    Raises:
        DataError: A row has another width than the header or the first row, or a value that is no finite number; the
            number of rows differs from the header; or a packed file is truncated. The message names file and line.
    """
    name = f"{path}{f' ({member})' if member else ''}"
    with contextlib.closing(read_blocks(path, member, notify)) as stream:  # closes the file after an error too
        return _rows(_whole_lines(stream, name), words, name, more)


def word_forms(word: str) -> tuple[str, ...]:
    """Return the forms of a word in a file: in lower case, and with a capital if that is the same word."""
    lower = word.lower()
    capital = lower.capitalize()
    return (lower, capital) if capital.lower() == lower else (lower,)  # the capital of ß is Ss


def is_other(word: str, words: Collection[str]) -> bool:
    """Return whether a word of a file may be kept besides `words`: one of its own `word_forms`."""
    forms = word_forms(word)
    return word in forms and not any(form in words for form in forms) and word not in ("", "<pad>", "<unk>", "</s>")


def _rows(pieces: Iterator[_Piece], words: Collection[str], name: str, more: int) -> Rows:
    encoded, known = {word.encode("utf-8", "surrogatepass"): word for word in words}, set(words)
    first = next(pieces, _Piece(b"", 0, 0))
    layout = _layout(first.text[: first.stop], name)
    first = _Piece(first.text, layout.header_bytes, first.stop)
    places: dict[str, int] = {}
    table = np.empty((len(encoded) + 2 * more, layout.width), dtype=np.float32)  # unused pages need no memory
    line, rows = (2 if layout.header_bytes else 1), 0
    for piece in itertools.chain([first], pieces):
        spaces = _spaces(piece)  # first: it releases the lock, so that the thread unpacks the next piece
        more -= _add_others(piece, encoded, known, more)
        kept, count = _matching_lines(piece, encoded)
        rows += count if spaces == count * layout.spaces else _check_widths(piece, layout.width, name, line)
        for offset, start, stop in kept:
            fields = _split(piece.text[start:stop], layout.width, name, line + offset)
            if fields is not None and (word := encoded[fields[0]]) not in places:
                table[len(places)] = _numbers(fields[1:], name, line + offset)
                places[word] = len(places)
        line += count
    if layout.stated_rows not in (None, rows):
        raise DataError(
            f"{name}: the header (line 1) states {layout.stated_rows:,} rows, the file has {rows:,}; fetch it again, "
            "or correct line 1"
        )
    return places, table[: len(places)]


def _add_others(piece: _Piece, encoded: dict[bytes, str], known: set[str], more: int) -> int:
    """Add the forms of up to `more` other words of a piece to `encoded` and `known`; return the number of words."""
    start, count = piece.start, 0
    while start < piece.stop and count < more:
        stop = piece.text.find(b"\n", start)
        field = piece.text[start:stop].partition(b" ")[0]
        with contextlib.suppress(UnicodeDecodeError):
            if is_other(word := field.decode(), known):
                forms = word_forms(word)
                encoded.update((form.encode(), form) for form in forms)
                known.update(forms)
                count += 1
        start = stop + 1
    return count


def _whole_lines(stream: Iterator[bytes], name: str) -> Iterator[_Piece]:
    """Yield pieces of whole lines; the first has at least two lines if the file has.

    Only a line across two blocks is joined. Joining the blocks would copy all 4.5 GB once more.
    """
    rest, least, passed = b"", 2, 0
    for block in stream:
        block = block if passed else block.removeprefix(codecs.BOM_UTF8)
        head = block.find(b"\n") + 1 if least == 1 and rest else 0
        if head:
            yield _Piece(rest + block[:head], 0, len(rest) + head)
            rest = b""
        text = rest + block if rest else block
        end = text.rfind(b"\n") + 1
        if end > head and (least == 1 or text.count(b"\n", 0, end) >= least):
            yield _Piece(text, head, end)
            head, least = end, 1
        rest = text[head:]
        passed += len(block)
        if len(rest) > MAX_LINE_BYTES:
            raise DataError(f"{name}, byte {passed:,}: a line is longer than 1 MiB; pass a text file of vectors")
    if rest:
        rest += b"" if rest.endswith(b"\n") else b"\n"
        yield _Piece(rest, 0, len(rest))


def _layout(text: bytes, name: str) -> _Layout:
    header, header_bytes = text.split(b"\n", 1)[0], 0
    fields = header.split()
    stated = None
    if len(fields) == 2 and all(field.isdigit() and len(field) <= 12 for field in fields):
        stated, header_bytes = int(fields[0]), len(header) + 1
    line = 2 if header_bytes else 1
    row = text[header_bytes:].split(b"\n", 1)[0].rstrip(b"\r")
    width = int(fields[1]) if header_bytes else len(row.rstrip(b" ").split(b" ")) - 1
    if not row.strip():
        raise DataError(f"{name}, line {line}: there is no row; pass a file of vectors")
    if not 1 <= width <= MAX_EMBEDDING_DIM:
        raise DataError(f"{name}, line 1: must be a word and 1 to {MAX_EMBEDDING_DIM} numbers, got {width:,} numbers")
    try:
        _split(row, width, name, line)
    except DataError:
        if header_bytes and _CONTROL.search(text):
            raise DataError(f"{name}: is a binary file; {TO_TEXT}") from None
        raise
    return _Layout(stated, header_bytes, width, width + row.endswith(b" "))


def _matching_lines(piece: _Piece, words: Collection[bytes]) -> tuple[list[tuple[int, int, int]], int]:
    """Return (line, start, stop) of each line whose first field is in `words`, and the number of lines."""
    text, start, end = piece.text, piece.start, piece.stop
    kept, count, find = [], 0, text.find
    while start < end:
        stop = find(b"\n", start)
        space = find(b" ", start, stop)
        if space >= 0 and text[start:space] in words:
            kept.append((count, start, stop))
        start = stop + 1
        count += 1
    return kept, count


def _spaces(piece: _Piece) -> int:
    """Count spaces with NumPy: ten times as fast as `bytes.count` if its buffers fit the processor's cache."""
    values = np.frombuffer(piece.text, dtype=np.uint8)[piece.start : piece.stop]
    parts = range(0, len(values), 1 << 17)
    return sum(int(np.count_nonzero(values[start : start + (1 << 17)] == ord(" "))) for start in parts)


def _check_widths(piece: _Piece, width: int, name: str, line: int) -> int:
    """Check each line; return the number of rows, which excludes blank lines."""
    rows = 0
    for offset, row in enumerate(piece.text[piece.start : piece.stop].split(b"\n")[:-1]):
        if row.strip():
            _split(row, width, name, line + offset)
            rows += 1
    return rows


def _split(row: bytes, width: int, name: str, line: int) -> list[bytes] | None:
    """Return word and numbers; None for a word that contains spaces, such as ". . ." in GloVe's 840B file."""
    fields = row.rstrip(b" \r").split(b" ")
    extra = fields[1:-width]
    if len(fields) == width + 1:
        return fields
    if len(fields) > width + 1 and not any(_is_number(field) for field in extra):
        return None
    raise DataError(
        f"{name}, line {line}: has {len(fields) - 1} numbers, the first lines {width}; fix the line or leave it out"
    )


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _numbers(fields: list[bytes], name: str, line: int) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            numbers = np.array(fields, dtype=np.float32)
    except ValueError:
        bad = next((field for field in fields if not _is_number(field)), b"")
        shown = quoted(bad.decode("utf-8", "replace"))
        raise DataError(f"{name}, line {line}: {shown} is no number; fix the line or leave it out") from None
    if not np.isfinite(numbers).all():
        raise DataError(f"{name}, line {line}: contains a number that is not finite; fix the line or leave it out")
    return numbers
