"""Detect the encoding of a text file, and decode it strictly."""

import codecs
import contextlib
import functools
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from core.errors import ConfigError, DataError
from core.io.archives import file_blocks, open_unpacked
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
"""Encodings that decode most Western European text without an error, with the languages that they are for."""
_CANDIDATES = ["cp1252", *_LATIN, "cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp1258"]
_CANDIDATES += ["big5", "euc_jp", "cp932", "cp949", "gb18030"]
"""Encodings, one of each script: among all that Python knows, a rare one such as cp775 often has the best score."""
_SAMPLE_BYTES = 100_000
_MIN_LINES, _UTF8_SHARE = 10, 0.5
"""Number of lines with other characters than ASCII, and share of them in UTF-8, from which a file is damaged UTF-8."""
MAX_LINE = 1 << 20
"""Maximum number of characters in a line: a longer one is no sentence, and would be read into memory as a whole."""


def detect_encoding(path: Path) -> str:
    """Return the encoding by its byte order mark; else UTF-8 if it fits; else charset-normalizer's guess.

    A guess can be wrong, so the caller must report it: of 25 languages and encodings tried, 22 were right.

    Raises:
        DataError: As `file_blocks`, no encoding fits, or the file is mostly UTF-8; the message names the first line
            that is not.
    """
    first = next(file_blocks(path), b"")
    for mark, encoding in _MARKS:
        if first.startswith(mark):
            return encoding
    misfit = _find_misfit(file_blocks(path), "utf-8")
    if misfit is None:
        return "utf-8"
    sample = _sample_lines(path)
    fitting = sum(_find_misfit([line], "utf-8") is None for line in sample)
    if len(sample) >= _MIN_LINES and fitting > _UTF8_SHARE * len(sample):
        line, reason = misfit
        raise DataError(f"{path}, line {line}: is not utf-8 ({reason}), as most other lines are; fix such lines")
    return _guess(path, b"".join(sample))


def _find_misfit(blocks: Iterable[bytes], encoding: str) -> tuple[int, str] | None:
    """Return the line of the first byte that does not fit an encoding, and why; None if all bytes fit."""
    decoder, line = codecs.getincrementaldecoder(encoding)(), 1
    try:
        for block in blocks:
            line += decoder.decode(block).count("\n")  # in UTF-16, other characters also have the byte of a line feed
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode(error.encoding, "ignore")
        return line + before.count("\n"), error.reason
    except UnicodeError as error:
        return line, str(error)
    return None


def _sample_lines(path: Path) -> list[bytes]:
    """Return the first lines that are not ASCII, as only these distinguish encodings: of about _SAMPLE_BYTES."""
    sample, size = [], 0
    with open_unpacked(path) as stream:
        lines = io.TextIOWrapper(stream, "latin-1", newline="")  # a character for each byte
        for line in iter(functools.partial(lines.readline, MAX_LINE), ""):
            if not line.isascii():
                sample.append(line.encode("latin-1"))
                size += len(line)
            if size > _SAMPLE_BYTES:
                break
    return sample


def _guess(path: Path, sample: bytes) -> str:
    import charset_normalizer

    matches = charset_normalizer.from_bytes(sample, cp_isolation=_CANDIDATES)
    best = matches.best()
    if best is None:
        raise DataError(f"{path}: is not text in a known encoding; pass --encoding, or save the file as UTF-8")
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
        io.TextIOWrapper(io.BytesIO(), encoding)  # hex, for example, is known but no text encoding
        b"\xff\xfe\x00\x00".decode(encoding, "replace")  # undefined decodes nothing
        name = codecs.lookup(encoding).name
        if name not in ("idna", "punycode", "unicode-escape", "raw-unicode-escape"):  # of host names and source code
            return name
    raise ConfigError(f"encoding must be one that Python knows, such as utf-8 or cp1252, got {quoted(encoding)}")


def text_lines(path: Path, encoding: str, newline: str | None) -> Iterator[str]:
    """Yield the lines of a text file, which may end in `.gz`, with their ends; few of them are in memory at a time.

    Args:
        path: The file.
        encoding: Its encoding; a byte order mark is removed.
        newline: Argument of `open`: "" to keep the ends of the lines, None to replace them by `\\n`.

    Raises:
        DataError: As `open_unpacked`, or a line does not fit the encoding, is too long or holds a NUL character.
    """
    with open_unpacked(path) as stream:
        lines = io.TextIOWrapper(stream, encoding, newline=newline)
        try:
            for number, line in enumerate(iter(functools.partial(lines.readline, MAX_LINE + 1), ""), start=1):
                if "\0" in line or len(line) > MAX_LINE:
                    raise DataError(f"{path}, line {number}: {_bad_line(line)}")
                yield line if number > 1 else line.removeprefix("\ufeff")
            return
        except UnicodeError:
            pass
    if misfit := _find_misfit(file_blocks(path), encoding):
        number, reason = misfit
        raise DataError(
            f"{path}, line {number}: is not {encoding} ({reason}); pass the right --encoding, or save it as UTF-8"
        )
    raise DataError(f"{path}: has changed while it was read; run the same command again")


def _bad_line(line: str) -> str:
    if len(line) > MAX_LINE:
        return f"has more than {MAX_LINE:,} characters; write each row on a line of its own"
    advice = "pass --encoding utf-16-le (or utf-16-be) for a file in UTF-16"  # utf-16 needs a byte order mark
    return f"contains a NUL character; remove it, or {advice}"
