"""Read a large file, packed or not, in blocks, without unpacking it to disk or to memory."""

import gzip
import time
import zipfile
import zlib
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from core.errors import DataError
from core.io.archives import FREE_BYTES, MAX_RATIO, open_file
from core.io.text import Notify

_BLOCK = 1 << 20
"""Largest size of an unpacked block in bytes."""
_PREFETCH = 8
_QUIET_SECONDS = 5.0


def read_blocks(path: Path, member: str | None = None, notify: Notify | None = None) -> Generator[bytes, None, None]:
    """Yield the bytes of a plain file, of a `.gz`, or of `member` of a `.zip`, in blocks of at most 1 MiB.

    The next blocks are unpacked in a thread while the caller works on this one.

    Raises:
        DataError: absent, cut short, damaged, encrypted, or growing more than a hundredfold.
    """
    with open_file(path) as file:
        yield from _bounded(_prefetch(_unpacked(file, path, member)), file, path, notify)


def _prefetch(stream: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack up to `_PREFETCH` blocks in a thread: with one only, each thread would wait for the other's lock."""
    with ThreadPoolExecutor(1) as reader:
        coming = deque(reader.submit(next, stream, None) for _ in range(_PREFETCH))
        while (block := coming.popleft().result()) is not None:
            coming.append(reader.submit(next, stream, None))
            yield block


def zip_members(path: Path) -> list[str]:
    """Return the names of the files in a `.zip`.

    Raises:
        DataError: it is absent, or no zip file.
    """
    with open_file(path) as file:
        return [info.filename for info in _directory(file, path).infolist() if not info.is_dir()]


def _directory(file: IO[bytes], path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise DataError(f"{path}: not a whole .zip archive ({error}); fetch it again") from None


def _unpacked(file: IO[bytes], path: Path, member: str | None) -> Iterator[bytes]:
    try:
        stream: IO[bytes] | gzip.GzipFile = file
        if member is not None:
            stream = _directory(file, path).open(member)
        elif path.name.lower().endswith(".gz"):
            stream = gzip.GzipFile(fileobj=file)
        while block := stream.read(_BLOCK):
            yield block
    except EOFError:
        raise DataError(f"{path}: is cut short; fetch it again") from None
    except (zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged ({error}); fetch it again") from None
    except RuntimeError as error:  # zipfile raises it for an encrypted file, or one packed in a rare way
        raise DataError(f"{path}: cannot be read ({error}); unpack it and pass the file") from None


def _bounded(stream: Iterator[bytes], file: IO[bytes], path: Path, notify: Notify | None) -> Iterator[bytes]:
    """Pass blocks on, refuse a decompression bomb, and report progress."""
    size, total, reported = path.stat().st_size, 0, time.monotonic()
    for block in stream:
        total += len(block)
        if total > max(FREE_BYTES, size * MAX_RATIO):
            raise DataError(f"{path}: grows more than {MAX_RATIO} times when it is unpacked; it is no file of vectors")
        if notify and time.monotonic() - reported > _QUIET_SECONDS:
            reported = time.monotonic()
            notify(f"reading {path.name}: {file.tell() / max(size, 1):.0%}")
        yield block
