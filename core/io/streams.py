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
from core.io.archives import FREE_BYTES, MAX_RATIO, file_size, open_file
from core.io.text import Notify, error_summary, printable

_BLOCK = 1 << 20
"""Largest size of an unpacked block in bytes."""
_PREFETCH = 8
_QUIET_SECONDS = 5.0


def read_blocks(path: Path, member: str | None = None, notify: Notify | None = None) -> Generator[bytes, None, None]:
    """Yield the bytes of a plain file, of a `.gz`, or of `member` of a `.zip`, in blocks of at most 1 MiB.

    The next blocks are unpacked in a thread while the caller works on this one.

    Raises:
        DataError: The file is absent, truncated, damaged or encrypted, or unpacks to over a hundred times its size.
    """
    with open_file(path) as file:
        yield from _bounded(_prefetch(_unpacked(file, path, member)), file, path, notify)


def _prefetch(stream: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack up to `_PREFETCH` blocks in a thread. With one block, each thread would wait for the other's lock."""
    with ThreadPoolExecutor(1) as reader:
        coming = deque(reader.submit(next, stream, None) for _ in range(_PREFETCH))
        while (block := coming.popleft().result()) is not None:
            coming.append(reader.submit(next, stream, None))
            yield block


def zip_members(path: Path) -> list[str]:
    """Return the names of the files in a `.zip`.

    Raises:
        DataError: It is absent, or no zip file.
    """
    with open_file(path) as file:
        return [info.filename for info in _directory(file, path).infolist() if not info.is_dir()]


def _directory(file: IO[bytes], path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, RuntimeError, ValueError, OSError) as error:  # RuntimeError: of an unknown version
        raise DataError(f"{path}: not a whole .zip archive ({error}); fetch it again") from None


def _unpacked(file: IO[bytes], path: Path, member: str | None) -> Iterator[bytes]:
    try:
        stream = _opened(file, path, member)
        while block := stream.read(_BLOCK):
            yield block
    except (EOFError, OSError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        name = f"{path}: {member}" if member else f"{path}:"
        raise DataError(f"{name} is truncated or damaged ({error_summary(error)}); fetch it again") from None


def _opened(file: IO[bytes], path: Path, member: str | None) -> IO[bytes] | gzip.GzipFile:
    if member is None:
        return gzip.GzipFile(fileobj=file) if path.name.lower().endswith(".gz") else file
    archive = _directory(file, path)
    try:
        info = archive.getinfo(member)
    except KeyError:
        raise DataError(f"{path}: does not contain {member}; run the same command again") from None
    if info.flag_bits & 1:
        raise DataError(f"{path}: {member} is encrypted; unpack it and pass the file")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # those may unpack to blocks of any size
        raise DataError(f"{path}: {member} is not packed by deflate; unpack it and pass the file")
    return archive.open(info)


def _bounded(stream: Iterator[bytes], file: IO[bytes], path: Path, notify: Notify | None) -> Iterator[bytes]:
    """Yield the blocks, refuse a decompression bomb, and report progress."""
    size, total, reported = file_size(file), 0, time.monotonic()
    for block in stream:
        total += len(block)
        if total > max(FREE_BYTES, size * MAX_RATIO):
            raise DataError(f"{path}: unpacks to more than {MAX_RATIO} times its size; pass a file of vectors")
        if notify and time.monotonic() - reported > _QUIET_SECONDS:
            reported = time.monotonic()
            notify(f"reading {printable(path.name)}: {file.tell() / max(size, 1):.0%}")
        yield block
