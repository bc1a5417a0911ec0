"""Which encoding a text file has, and decoding it strictly."""

import codecs
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

from core.errors import ConfigError, DataError
from core.io.archives import open_unpacked, read_file
from core.io.text import quoted

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LATIN = {
    "cp1250": {"Croatian", "Czech", "Hungarian", "Polish", "Romanian", "Slovak", "Slovene"},
    "cp1254": {"Turkish"},
    "cp1257": {"Latvian", "Lithuanian"},
}
"""Encodings that read most Western European text without an error, with their own languages."""
_CANDIDATES = ["cp1252", *_LATIN, "cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp1258"]
_CANDIDATES += ["big5", "euc_jp", "cp932", "cp949", "gb18030"]
"""One of each script: with all that Python knows, a rare one such as cp775 often scores best."""
_SAMPLE_BYTES = 100_000
_BLOCK = 1 << 20


def detect_encoding(data: bytes, name: str) -> str:
    """Return the encoding by its byte order mark; else UTF-8 if it fits; else charset-normalizer's guess.

    A guess can be wrong, so the caller must report it: of 25 languages and encodings tried, 22 were right.

    Raises:
        DataError: nothing fits.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(data)
    try:
        for start in range(0, len(data), _BLOCK):  # as a whole it could take four times the memory of the bytes
            decoder.decode(view[start : start + _BLOCK], final=start + _BLOCK >= len(data))
    except UnicodeDecodeError:
        return _guess(data, name)
    return "utf-8"


def _guess(data: bytes, name: str) -> str:
    import charset_normalizer

    # Only lines that are not ASCII distinguish encodings.
    sample, size = [], 0
    for line in data.splitlines(keepends=True):
        if not line.isascii():
            sample.append(line)
            size += len(line)
        if size > _SAMPLE_BYTES:
            break
    matches = charset_normalizer.from_bytes(b"".join(sample), cp_isolation=_CANDIDATES)
    best = matches.best()
    if best is None:
        raise DataError(f"{name}: is no text in a known encoding; save it as UTF-8 or pass --encoding")
    fits_western = any("cp1252" in match.could_be_from_charset for match in matches)
    if fits_western and best.encoding in _LATIN and best.language not in _LATIN[best.encoding]:
        return "cp1252"
    return normalize_encoding(best.encoding)


def normalize_encoding(encoding: str) -> str:
    """Return the canonical name of an encoding: "utf-8" for UTF8 and U8.

    Raises:
        ConfigError: Python knows no text encoding of that name.
    """
    with contextlib.suppress(LookupError, ValueError):
        io.TextIOWrapper(io.BytesIO(), encoding)  # hex, for one, is known but no text encoding
        b"\xff\xfe\x00\x00".decode(encoding, "replace")  # undefined decodes nothing
        name = codecs.lookup(encoding).name
        if name not in ("idna", "punycode"):  # encodings of host names, not of texts
            return name
    raise ConfigError(f"encoding must be one that Python knows, such as utf-8 or cp1252, got {quoted(encoding)}")


def decode(data: bytes, encoding: str, name: str) -> str:
    """Decode strictly; a byte that does not fit is an error with its line. A byte order mark is removed.

    Raises:
        DataError: the data does not fit the encoding.
    """
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}, line {line}: is not {encoding} ({error.reason}); pass the right --encoding, or save it as UTF-8"
        ) from None
    except UnicodeError as error:
        raise DataError(f"{name}: is not {encoding} ({error}); pass the right --encoding") from None


def text_lines(path: Path, encoding: str, newline: str | None) -> Iterator[str]:
    """Yield the lines of a text file, which may end in `.gz`, with their ends; it is never held as a whole.

    Args:
        path: The file.
        encoding: Its encoding; a byte order mark is removed.
        newline: As of `open`: "" to keep the ends of the lines as they are, None for `\\n` in their place.

    Raises:
        DataError: as `read_file` and `decode`, or a line holds a NUL character.
    """
    with open_unpacked(path) as stream:
        lines = io.TextIOWrapper(io.BufferedReader(stream, _BLOCK), encoding, newline=newline)
        try:
            for number, line in enumerate(lines, start=1):
                if "\0" in line:
                    raise DataError(
                        f"{path}, line {number}: holds a NUL character; remove it, or pass --encoding utf-16 if it is "
                        "that"
                    )
                yield line if number > 1 else line.removeprefix("\ufeff")
            return
        except UnicodeError:
            pass
    decode(read_file(path), encoding, str(path))  # raises an error with the line
    raise DataError(f"{path}: has changed while it was read; give the same command again")
