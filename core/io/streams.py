"""Read a large file, packed or not, in blocks, without unpacking it to disk or to memory."""

import itertools
import time
import zipfile
import zlib
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from core.errors import DataError
from core.io.archives import FREE_BYTES, MAX_RATIO, file_size, open_file
from core.io.text import Notify, printable

_PACKED_BLOCK = 1 << 18
_BLOCK = 1 << 20
"""Largest size of an unpacked block in bytes."""
_PREFETCH = 8
_QUIET_SECONDS = 5.0
_RAW, _GZIP = -15, 31
"""zlib's `wbits`: no header as inside a .zip, or a gzip header."""


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
    if member is not None:
        yield from _zip_member(file, path, member)
    elif path.name.lower().endswith(".gz"):
        yield from _gunzip(file, path)
    else:
        while block := file.read(_BLOCK):
            yield block


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


def _zip_member(file: IO[bytes], path: Path, member: str) -> Iterator[bytes]:
    try:
        info = _directory(file, path).getinfo(member)
    except KeyError:
        raise DataError(f"{path}: does not contain {member}; run the same command again") from None
    if info.flag_bits & 1:
        raise DataError(f"{path}: {member} is encrypted; unpack it and pass the file")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{path}: {member} is not packed by deflate; unpack it and pass the file")
    if not 0 <= info.header_offset < file_size(file):
        raise DataError(f"{path}: {member} begins outside the file, which is truncated or damaged; fetch it again")
    file.seek(info.header_offset)
    header = file.read(30)  # its lengths of name and extra field may differ from those in the directory
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
    packed = _pieces(file, info.compress_size)
    size, check, crc32 = 0, 0, _inflate().crc32
    stream = packed if info.compress_type == zipfile.ZIP_STORED else _inflated(packed, _RAW, path)
    for block in stream:
        size += len(block)
        check = crc32(block, check)
        yield block
    if size != info.file_size or check != info.CRC:
        raise DataError(f"{path}: {member} is truncated or damaged (its checksum differs); fetch it again")


def _inflate() -> Any:
    """Return isal, a module like zlib that inflates faster, if it is installed; else zlib."""
    try:
        from isal import isal_zlib
    except ImportError:  # it is not built for every processor
        return zlib
    return isal_zlib


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (piece := file.read(min(size, _PACKED_BLOCK))):
        size -= len(piece)
        yield piece


def _gunzip(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """Unpack all gzip streams of a file, one after the other."""
    pieces = _pieces(file, file_size(file))
    rest: list[bytes] = []
    while first := rest.pop() if rest else next(pieces, b""):
        yield from _inflated(itertools.chain([first], pieces), _GZIP, path, rest)


def _inflated(packed: Iterator[bytes], wbits: int, path: Path, rest: list[bytes] | None = None) -> Iterator[bytes]:
    """Unpack one deflate stream; append the bytes after it to `rest`."""
    inflate = _inflate()
    unpacker = inflate.decompressobj(wbits)
    try:
        for piece in packed:
            while piece and not unpacker.eof:
                yield unpacker.decompress(piece, _BLOCK)
                piece = unpacker.unconsumed_tail
            if unpacker.eof:
                break
        if not unpacker.eof and (last := unpacker.flush()):
            yield last
    except (zlib.error, inflate.error) as error:
        raise DataError(f"{path}: damaged ({error}); fetch it again") from None
    if not unpacker.eof:
        raise DataError(f"{path}: is truncated; fetch it again")
    if rest is not None and unpacker.unused_data.strip(b"\0"):
        rest.append(unpacker.unused_data)
