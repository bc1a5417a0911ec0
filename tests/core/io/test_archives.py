"""Packed files are read in memory, under limits, and irregular ones are refused."""

import errno
import gzip
import io
import os
import struct
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.readers import packed_size
from core.errors import DataError
from core.io.archives import file_blocks, limit_for, open_file, read_tar
from tests.support.archives import special, tar_gz


def read(packed: bytes, *wanted: str) -> dict[str, bytes]:
    return read_tar(io.BytesIO(packed), len(packed), wanted, "x.tar.gz")


def content(path: Path) -> bytes:
    return b"".join(file_blocks(path))


@pytest.mark.parametrize("name", ["a.csv", "A.CSV.GZ"])
def test_a_small_file_takes_little_memory(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"text") if name.endswith("GZ") else b"text")
    tracemalloc.start()
    assert content(tmp_path / name) == b"text"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_wanted_files_are_found_in_any_folder() -> None:
    packed = tar_gz({"data/README": b"-", "data/deep/a": b"one", "b": b"two"})
    assert read(packed, "a", "b") == {"a": b"one", "b": b"two"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind: bytes) -> None:
    with pytest.raises(DataError, match=r"x\.tar\.gz: refused, 'other' is a link, a device or outside "):
        read(tar_gz([special("other", kind, "/etc/passwd"), ("wanted", b"good")]), "wanted")


def test_a_member_of_another_kind_is_skipped() -> None:
    """GNU tar writes the label of a volume as such a member."""
    assert read(tar_gz([special("label", b"V"), ("wanted", b"good")]), "wanted") == {"wanted": b"good"}


@pytest.mark.parametrize("name", ["../a", "x/../../a", "/a"])
def test_a_member_outside_the_archive_is_refused_even_if_it_is_not_wanted(name: str) -> None:
    with pytest.raises(DataError, match=rf"refused, '{name}' is a link, a device or outside the archive's folder; "):
        read(tar_gz({name: b"evil", "wanted": b"good"}), "wanted")


def test_a_member_that_states_more_than_the_limit_is_refused_unread() -> None:
    info = tarfile.TarInfo("huge")
    info.size = 1 << 40
    packed = gzip.compress(info.tobuf())
    with pytest.raises(DataError, match="refused, 'huge' unpacks to more than 64 MiB"):
        read(packed, "huge")


@pytest.mark.slow
def test_a_bomb_in_a_long_name_header_is_refused_at_the_limit() -> None:
    """A GNU long name states its own size, and tarfile reads it at one go."""
    info = special("long", tarfile.GNUTYPE_LONGNAME)
    info.size = 1 << 32
    packed = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(80 << 20), 1)
    with pytest.raises(DataError, match="unpacks to more than 64 MiB"):
        read(packed, "none")


def test_many_long_names_in_a_row_are_refused() -> None:
    """Python's tarfile reads each of them in a further call of the same function."""
    header = special("long", tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(DataError, match=r"not a whole \.tar\.gz archive"):
        read(gzip.compress(header * 1000), "none")


def test_a_wanted_file_that_is_absent_or_there_twice_is_named() -> None:
    with pytest.raises(DataError, match=r"x\.tar\.gz: does not contain b"):
        read(tar_gz({"a": b""}), "a", "b")
    with pytest.raises(DataError, match=r"x\.tar\.gz: contains a twice"):
        read(tar_gz({"x/a": b"1", "y/a": b"2"}), "a")


@pytest.mark.parametrize("cut", [0, 5, 60, 400])
def test_a_cut_archive_is_refused(cut: int) -> None:
    packed = tar_gz({"a": bytes(range(256)) * 40})
    with pytest.raises(DataError, match=r"x\.tar\.gz: (not a whole (gzip file|\.tar\.gz archive)|does not contain a)"):
        read(packed[:cut], "a")


def test_what_is_no_archive_is_refused() -> None:
    with pytest.raises(DataError, match=r"x\.tar\.gz: not a whole gzip file \(Not a gzipped file"):
        read(b"hello, I am text", "a")
    with pytest.raises(DataError, match=r"x\.tar\.gz: not a whole \.tar\.gz archive"):
        read(gzip.compress(b"hello, I am text"), "a")


def test_the_limit_grows_with_the_packed_size_up_to_a_bound() -> None:
    assert limit_for(10) == 64 << 20
    assert limit_for(10 << 20) == 1000 << 20
    assert limit_for(1 << 40) == 4 << 30


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(65 << 20), 1))
    with pytest.raises(DataError, match=r"x\.gz: unpacks to more than 64 MiB; if you trust it, unpack it yourself"):
        content(tmp_path / "x.gz")


def test_gzip_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"text"))
    packed[-8:-4] = struct.pack("<I", 1)
    (tmp_path / "x.gz").write_bytes(packed)
    with pytest.raises(DataError, match=r"x\.gz: not a whole gzip file \(CRC check failed"):
        content(tmp_path / "x.gz")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("read", [open_file, packed_size])
def test_a_fault_of_the_process_or_the_disk_is_none_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, read: Callable[[Path], object]
) -> None:
    """core.io.system_errors says what to do."""

    def fail(path: Path, mode: str) -> None:
        raise OSError(number, os.strerror(number), str(path))

    (tmp_path / "a.parquet").touch()
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        read(tmp_path / "a.parquet")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: no such file; check the path"):
        open_file(tmp_path / "absent")
    with pytest.raises(DataError, match="a\0b: no such file; check the path"):
        open_file(tmp_path / "a\0b")
    with pytest.raises(DataError, match="n: no such file; check the path"):
        open_file(tmp_path / ("n" * 300))
    with pytest.raises(DataError, match=": is a folder; pass a file"):
        open_file(tmp_path)
    with pytest.raises(DataError, match="a/b: no such file; check the path"):
        (tmp_path / "a").write_bytes(b"")
        open_file(tmp_path / "a" / "b")
