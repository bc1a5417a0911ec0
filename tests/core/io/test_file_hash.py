"""Remembered digests of input files, and when they are not used."""

import errno
import hashlib
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import DataError
from core.io import file_hash
from core.io.file_hash import input_digest, memoize_by_content, memoize_by_stat
from tests.support.archives import everything_in


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large and has lain still for a minute."""
    monkeypatch.setattr(file_hash, "SMALL_BYTES", 10)
    path = tmp_path / "large.vec"
    path.write_bytes(b"some vectors")
    _age(path, 60)
    return path


def _age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def never() -> str:
    raise AssertionError("it was remembered")


def test_the_digest_is_that_of_the_bytes(large: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert input_digest(large, tmp_path / "cache") == hashlib.sha256(b"some vectors").hexdigest()


def test_a_large_file_is_read_once(large: Path, tmp_path: Path) -> None:
    assert memoize_by_stat(large, tmp_path / "cache", "what", lambda: "answer") == "answer"
    assert memoize_by_stat(large, tmp_path / "cache", "what", never) == "answer"


def test_each_question_has_its_own_answer(large: Path, tmp_path: Path) -> None:
    memoize_by_stat(large, tmp_path / "cache", "one", lambda: "1")
    assert memoize_by_stat(large, tmp_path / "cache", "two", lambda: "2") == "2"


@pytest.mark.parametrize("change", ["content", "time", "file"])
def test_a_changed_file_is_read_again(large: Path, tmp_path: Path, change: str) -> None:
    memoize_by_stat(large, tmp_path / "cache", "what", lambda: "old")
    if change == "content":
        large.write_bytes(b"other vectors")
        _age(large, 60)
    elif change == "time":
        _age(large, 30)
    else:
        state = large.stat()
        (tmp_path / "copy").write_bytes(b"same length!")
        os.utime(tmp_path / "copy", ns=(state.st_atime_ns, state.st_mtime_ns))
        (tmp_path / "copy").replace(large)
    assert memoize_by_stat(large, tmp_path / "cache", "what", lambda: "new") == "new"


def test_a_file_that_just_changed_is_not_remembered(large: Path, tmp_path: Path) -> None:
    """A second change within one tick of the clock would go unseen."""
    _age(large, -60)  # in the future, so that a pause of this process does not matter
    memoize_by_stat(large, tmp_path / "cache", "what", lambda: "old")
    assert memoize_by_stat(large, tmp_path / "cache", "what", lambda: "new") == "new"


def test_a_small_file_is_read_each_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    _age(tmp_path / "a", 60)
    memoize_by_stat(tmp_path / "a", tmp_path / "cache", "what", lambda: "old")
    assert memoize_by_stat(tmp_path / "a", tmp_path / "cache", "what", lambda: "new") == "new"
    assert everything_in(tmp_path) == {"a"}


@pytest.mark.parametrize("note", [b"", b"null", b"{}", b'{"stamp": 1, "value": "x"}', b"\xff", b"[" * 100_000])
def test_a_damaged_note_is_ignored(large: Path, tmp_path: Path, note: bytes) -> None:
    memoize_by_stat(large, tmp_path / "cache", "what", lambda: "old")
    (file,) = (tmp_path / "cache" / ".known").iterdir()
    file.write_bytes(note)
    assert memoize_by_stat(large, tmp_path / "cache", "what", lambda: "new") == "new"


def test_a_cache_that_cannot_be_written_costs_time_only(large: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    assert memoize_by_stat(large, tmp_path / "cache", "what", lambda: "answer") == "answer"


def test_a_disk_that_does_not_keep_a_note_costs_time_only(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    assert memoize_by_stat(large, tmp_path / "cache", "what", lambda: "answer") == "answer"
    assert memoize_by_content("digest", tmp_path / "cache", "what", lambda: "answer") == "answer"


def test_a_file_that_is_removed_meanwhile_is_named(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(*_: Path) -> bytes:
        large.unlink()
        return b""

    assert memoize_by_stat(large, tmp_path, "what", lambda: str(remove())) == "b''"
    large.write_bytes(b"some vectors")
    monkeypatch.setattr(file_hash, "read_regular", remove)  # of the note: after the check, before the read
    with pytest.raises(DataError, match=r"large\.vec: no such file"):
        input_digest(large, tmp_path)


def test_each_content_has_its_own_answer(tmp_path: Path) -> None:
    assert memoize_by_content("a", tmp_path, "what", lambda: "1") == "1"
    assert memoize_by_content("b", tmp_path, "what", lambda: "2") == "2"
    assert memoize_by_content("a", tmp_path, "other", lambda: "3") == "3"
    assert memoize_by_content("a", tmp_path, "what", never) == "1"


def test_the_age_of_a_file_is_that_before_it_is_read(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading it takes ten seconds."""
    clock = [large.stat().st_mtime_ns + file_hash._MTIME_GRACE_NS // 2]

    def slow() -> str:
        clock[0] += 10_000_000_000
        return "old"

    monkeypatch.setattr(file_hash, "time", SimpleNamespace(time_ns=lambda: clock[0]))
    memoize_by_stat(large, tmp_path / "cache", "what", slow)
    assert memoize_by_stat(large, tmp_path / "cache", "what", lambda: "new") == "new"
