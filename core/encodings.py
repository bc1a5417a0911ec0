"""Which encoding a text file has, and decoding it strictly."""

import codecs
import io

from core.errors import ConfigError, DataError
from core.text import quoted

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CENTRAL_EUROPE = {"Croatian", "Czech", "Hungarian", "Polish", "Romanian", "Slovak", "Slovene"}
"""Languages for which cp1250 is likelier than cp1252."""
_SAMPLE_BYTES = 100_000


def detect(data: bytes, name: str) -> str:
    """A byte order mark decides; else UTF-8 if it fits; else what charset-normalizer makes of the odd lines.

    Raises:
        DataError: nothing fits.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return _guess(data, name)
    return "utf-8"


def _guess(data: bytes, name: str) -> str:
    import charset_normalizer

    # Only lines that are not ASCII tell encodings apart.
    sample, size = [], 0
    for line in data.splitlines(keepends=True):
        if not line.isascii():
            sample.append(line)
            size += len(line)
        if size > _SAMPLE_BYTES:
            break
    matches = charset_normalizer.from_bytes(b"".join(sample))
    best = matches.best()
    if best is None:
        raise DataError(f"{name}: is no text in a known encoding; save it as UTF-8 or pass --encoding")
    # With few odd letters cp1250 and cp1252 score alike, and charset-normalizer names them in alphabetical order.
    tied = {match.encoding for match in matches if (match.chaos, match.coherence) == (best.chaos, best.coherence)}
    return "cp1252" if "cp1252" in tied and best.language not in _CENTRAL_EUROPE else best.encoding


def canonical_name(encoding: str) -> str:
    """The one name of an encoding: "utf-8" for UTF8 and U8.

    Raises:
        ConfigError: Python knows no text encoding of that name.
    """
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)  # hex, for one, is known but no text encoding
        return codecs.lookup(encoding).name
    except (LookupError, ValueError):
        raise ConfigError(
            f"encoding must be one that Python knows, such as utf-8 or cp1252, got {quoted(encoding)}"
        ) from None


def decode(data: bytes, encoding: str, name: str) -> str:
    """Strictly: a byte that does not fit is an error with its line. A byte order mark is no part of the text.

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
