"""Which encoding a text file has, and decoding it strictly."""

import codecs

from core.errors import ConfigError, DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
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
    best = charset_normalizer.from_bytes(b"".join(sample)).best()
    if best is None:
        raise DataError(f"{name}: is no text in a known encoding; save it as UTF-8 or pass --encoding")
    return best.encoding


def decode(data: bytes, encoding: str, name: str) -> str:
    """Strictly: a byte that does not fit is an error with its line.

    Raises:
        DataError: the data does not fit the encoding.
        ConfigError: there is no such encoding.
    """
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}, line {line}: is not {encoding} ({error.reason}); pass the right --encoding, or save it as UTF-8"
        ) from None
    except UnicodeError as error:
        raise DataError(f"{name}: is not {encoding} ({error}); pass the right --encoding") from None
    except LookupError:
        raise ConfigError(
            f"encoding must be one that Python knows, such as utf-8 or cp1252, got {encoding!r}"
        ) from None
