"""Read packed files without unpacking them to disk, under a limit on their size."""

import contextlib
import errno
import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from core.errors import DataError
from core.io.atomic import open_regular
from core.io.text import quoted

MAX_ARCHIVE_BYTES = 4 << 30
"""Maximum unpacked size of a file of texts: 4 GiB."""
FREE_BYTES = 64 << 20
"""Unpacked size up to which the ratio is not limited: 64 MiB."""
MAX_RATIO = 100
"""Maximum ratio of unpacked to packed bytes above that; that of text is three to ten."""
FILE_BLOCK = 1 << 20
"""Size of a block of `file_blocks` in bytes."""


class _Limited(io.RawIOBase):
    """An unpacked gzip stream that raises DataError after `limit` bytes, and if it is damaged."""

    def __init__(self, packed: IO[bytes], limit: int, name: str) -> None:
        self._stream, self._left, self._limit, self._name = gzip.GzipFile(fileobj=packed), limit, limit, name

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # what a read passes
        """Fill the buffer as far as one read of the stream does; return the number of bytes."""
        try:
            data = self._stream.read(min(len(buffer), self._left + 1))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self._name}: not a whole gzip file ({error}); fetch it again") from None
        self._left -= len(data)
        if self._left < 0:
            raise DataError(
                f"{self._name}: unpacks to more than {self._limit >> 20} MiB; if you trust it, unpack it yourself"
            )
        buffer[: len(data)] = data
        return len(data)


def limit_for(packed_bytes: int) -> int:
    """Return the largest allowed unpacked size of `packed_bytes`."""
    return min(MAX_ARCHIVE_BYTES, max(FREE_BYTES, packed_bytes * MAX_RATIO))


@contextlib.contextmanager
def open_unpacked(path: Path, *, pipes: bool = False) -> Iterator[io.BufferedReader]:
    """Open a file for reading in pieces, unpacked if its name ends in `.gz`.

    Args:
        path: The file; its size is limited only if it is packed.
        pipes: Whether it may be a named pipe.

    Raises:
        DataError: As `open_file`. A read raises it if the gzip stream is too large, cut short or damaged.
    """
    with open_file(path, pipes=pipes) as file:
        if path.name.lower().endswith(".gz"):
            yield io.BufferedReader(_Limited(file, limit_for(file_size(file)), str(path)), FILE_BLOCK)
        else:
            yield file


def file_blocks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes, unpacked if its name ends in `.gz`, in blocks of at most FILE_BLOCK.

    Raises:
        DataError: As `open_unpacked`.
    """
    with open_unpacked(path) as stream:
        while block := stream.read1(FILE_BLOCK):
            yield block


_REASONS = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP), "no such file; check the path"),
    errno.EISDIR: "is a folder; pass a file",
    errno.EINVAL: "is a pipe, a device or a socket; pass a regular file",
}


def open_file(path: Path, *, pipes: bool = False) -> io.BufferedReader:
    """Open a regular file for reading, or with `pipes` a named pipe; a device could yield bytes without end.

    Raises:
        DataError: There is no such file, it is something else, or it may not be read.
        OSError: Too many files are open, or the disk fails.
    """
    try:
        return open_regular(path, pipes=pipes)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE):  # the process, or the disk
            raise
        usual = f"cannot be read ({error.strerror}); fix its permissions"
        raise DataError(f"{path}: {_REASONS.get(error.errno or 0, usual)}") from None


def file_size(file: IO[bytes]) -> int:
    """Return the size in bytes of an open file, whose path may be gone."""
    return os.fstat(file.fileno()).st_size


def read_tar(file: IO[bytes], packed_bytes: int, names: Collection[str], name: str) -> dict[str, bytes]:
    """Return from a `.tar.gz` the regular files whose last path part is in `names`; nothing is written to disk.

    Args:
        file: The packed stream.
        packed_bytes: Size of the stream, for the limit.
        names: File names without folders.
        name: Name of the archive in errors.

    Raises:
        DataError: A member is a link, a device or outside the archive's folder; there are too many bytes; the archive
            is damaged; or one of the files is absent or occurs twice.
    """
    found: dict[str, bytes] = {}
    limit = limit_for(packed_bytes)
    try:
        with tarfile.open(fileobj=_Limited(file, limit, name), mode="r|") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or member.issym() or member.islnk() or member.isdev():
                    what = f"{quoted(member.name, 80)} is a link, a device or outside the archive's folder"
                    raise DataError(f"{name}: refused, {what}; pack it again with regular files and relative paths")
                if member.size > limit:  # a sparse file may state any size
                    size = f"unpacks to more than {limit >> 20} MiB"
                    raise DataError(f"{name}: refused, {quoted(member.name, 80)} {size}; fetch it again")
                base = path.name
                if member.isreg() and base in names:
                    if base in found:
                        raise DataError(f"{name}: contains {base} twice; pack it again with one")
                    found[base] = archive.extractfile(member).read()  # type: ignore[union-attr]
    except (tarfile.TarError, ValueError, RecursionError) as error:  # the last one: many long names in a row
        raise DataError(f"{name}: not a whole .tar.gz archive ({error}); fetch it again") from None
    for base in names:
        if base not in found:
            raise DataError(f"{name}: does not contain {base}; fetch it again")
    return found
