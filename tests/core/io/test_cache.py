"""The cache: an entry is built once, is complete or absent, and its damage is detected."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError, CorruptionError, UserError
from core.io import cache
from tests.support.archives import everything_in
from tests.support.patience import PATIENCE_SECONDS

INPUTS = {"data": "x", "seed": 42}


def fill(folder: Path) -> None:
    (folder / "words.json").write_bytes(b'["a"]')
    (folder / "tokens.npy").write_bytes(bytes(range(100)))


def no_fill(folder: Path) -> None:
    raise AssertionError("the entry was there")


def test_an_entry_is_filled_once(tmp_path: Path) -> None:
    made = cache.get_or_build(tmp_path, "corpora", INPUTS, fill)
    found = cache.get_or_build(tmp_path, "corpora", INPUTS, no_fill)
    assert found == made
    assert found.path == tmp_path / "corpora" / cache.cache_key(INPUTS)
    assert found.inputs == INPUTS
    assert found.files.keys() == {"words.json", "tokens.npy"}
    assert everything_in(found.path) == {"words.json", "tokens.npy", "manifest.json"}


def test_the_key_is_of_all_inputs_and_not_of_their_order() -> None:
    assert cache.cache_key({"a": 1, "b": 2}) == cache.cache_key({"b": 2, "a": 1})
    assert len({cache.cache_key({"a": value}) for value in (1, 2, "1", None, [1], True)}) == 6


@pytest.mark.parametrize("name", ["words.json", "tokens.npy", "manifest.json"])
def test_every_flipped_bit_is_found_named_and_repaired(tmp_path: Path, name: str) -> None:
    path = cache.get_or_build(tmp_path, "corpora", INPUTS, fill).path
    whole = (path / name).read_bytes()
    for bit in range(0, len(whole) * 8, 31):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        (path / name).write_bytes(broken)
        with pytest.raises(CorruptionError, match=rf"{name} has changed since it was written"):
            cache.verify_entry(path)
    reported: list[str] = []
    cache.get_or_build(tmp_path, "corpora", INPUTS, fill, reported.append)
    assert reported == [f"cache entry damaged: {path / name} has changed since it was written; building it again"]
    assert (path / name).read_bytes() == whole


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = cache.get_or_build(tmp_path, "corpora", INPUTS, fill).path
    (path / "tokens.npy").unlink()
    with pytest.raises(CorruptionError, match=r"tokens\.npy is missing"):
        cache.verify_entry(path)
    (path / "manifest.json").unlink()
    with pytest.raises(CorruptionError, match=r"manifest\.json is missing"):
        cache.verify_entry(path)


@pytest.mark.parametrize("name", ["words.json", "manifest.json"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
def test_what_is_in_the_place_of_a_file_is_damage(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    path = cache.get_or_build(tmp_path, "corpora", INPUTS, fill).path
    (path / name).unlink()
    make(path / name)
    assert cache.verify(tmp_path) == {path: f"cache entry damaged: {path / name} has changed since it was written"}
    cache.get_or_build(tmp_path, "corpora", INPUTS, fill)
    assert cache.verify(tmp_path) == {path: None}


@pytest.mark.slow
@given(
    st.binary(max_size=60)
    | st.sampled_from([b"{}", b'{"body":{}}', b'{"body":[]}', b"[]", b"null", b'"body"', b"[" * 9999])
)
def test_any_other_manifest_is_damage_and_not_a_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("entry")
    (folder / "manifest.json").write_bytes(data)
    with pytest.raises(CorruptionError, match=r"manifest\.json has changed since it was written"):
        cache.verify_entry(folder)


def test_an_entry_under_another_key_is_damage(tmp_path: Path) -> None:
    path = cache.get_or_build(tmp_path, "corpora", INPUTS, fill).path
    other = path.rename(path.with_name("f" * 64))
    with pytest.raises(CorruptionError, match=r"manifest\.json has changed since it was written"):
        cache.verify_entry(other)


def test_peek_reads_the_manifest_only(tmp_path: Path) -> None:
    assert cache.read_cached(tmp_path, "sources", INPUTS) is None
    made = cache.get_or_build(tmp_path, "sources", INPUTS, fill)
    (made.path / "tokens.npy").unlink()
    assert cache.read_cached(tmp_path, "sources", INPUTS) == made
    (made.path / "manifest.json").write_bytes(b"")
    assert cache.read_cached(tmp_path, "sources", INPUTS) is None


def test_a_builder_that_fails_leaves_no_entry(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        fill(folder)
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        cache.get_or_build(tmp_path, "corpora", INPUTS, fails)
    assert everything_in(tmp_path / "corpora") == set()
    cache.get_or_build(tmp_path, "corpora", INPUTS, fill)


DIE = """
import os, sys
from pathlib import Path
from core.io import cache

def fill(folder):
    (folder / "half").write_bytes(b"x")
    os.kill(os.getpid(), 9)

cache.get_or_build(Path(sys.argv[1]), "corpora", {"data": "x", "seed": 42}, fill)
"""


def test_a_builder_that_is_killed_leaves_no_entry_and_no_stuck_lock(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DIE, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert cache.entries(tmp_path) == []
    assert len(everything_in(tmp_path / "corpora")) == 2  # its folder and the half file
    path = cache.get_or_build(tmp_path, "corpora", INPUTS, fill).path
    assert everything_in(tmp_path / "corpora") == {path.name} | {f"{path.name}/{p.name}" for p in path.iterdir()}


def test_of_many_callers_one_builds_and_the_others_wait(tmp_path: Path) -> None:
    built, reported, got = [], [], []
    started = threading.Event()

    def slow(folder: Path) -> None:
        built.append(folder)
        started.set()
        assert waiting.wait(PATIENCE_SECONDS)
        fill(folder)

    waiting = threading.Event()
    first = threading.Thread(target=lambda: got.append(cache.get_or_build(tmp_path, "corpora", INPUTS, slow)))
    first.start()
    assert started.wait(PATIENCE_SECONDS)

    def heard(line: str) -> None:
        reported.append(line)
        if len(reported) == 3:
            waiting.set()

    others = [
        threading.Thread(target=lambda: got.append(cache.get_or_build(tmp_path, "corpora", INPUTS, slow, heard)))
        for _ in range(3)
    ]
    for thread in others:
        thread.start()
    for thread in (first, *others):
        thread.join(PATIENCE_SECONDS)
    assert len(built) == 1
    assert reported == ["another process prepares the same data; waiting for it"] * 3
    assert len(got) == 4
    assert len({entry.path for entry in got}) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "your disk quota is used up"),
        (errno.EROFS, "the file system is read-only; choose a folder"),
        (errno.EFBIG, "the file is larger than the file system or `ulimit -f` allows"),
        (errno.ENOLCK, "the file system has no locks; choose a folder on another disk"),
        (errno.EACCES, "permission denied; choose a folder"),
    ],
)
def test_a_disk_that_gives_no_more_is_one_line_and_nothing_half_written(tmp_path: Path, code: int, reason: str) -> None:
    def full(folder: Path) -> None:
        fill(folder)
        raise OSError(code, os.strerror(code))

    with pytest.raises(UserError, match=f"cannot write {tmp_path}.*: {reason}"):
        cache.get_or_build(tmp_path, "corpora", INPUTS, full)
    assert everything_in(tmp_path / "corpora") == set()


def test_a_cache_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot write .*file: .*a file, not a folder; choose another path"):
        cache.get_or_build(tmp_path / "file", "corpora", INPUTS, fill)


def test_entries_of_both_kinds_are_listed_and_checked(tmp_path: Path) -> None:
    corpus = cache.get_or_build(tmp_path, "corpora", INPUTS, fill).path
    source = cache.get_or_build(tmp_path, "sources", INPUTS, fill).path
    (source / "tokens.npy").write_bytes(bytes(100))
    assert cache.entries(tmp_path) == [corpus, source]
    assert cache.verify(tmp_path) == {
        corpus: None,
        source: f"cache entry damaged: {source / 'tokens.npy'} has changed since it was written",
    }
    assert cache.size_bytes(corpus) > 105


def test_a_whole_entry_is_opened_without_a_lock(tmp_path: Path) -> None:
    """So a cache that many share may be read-only."""
    cache.get_or_build(tmp_path, "corpora", INPUTS, fill)
    shutil.rmtree(tmp_path / ".locks")
    cache.get_or_build(tmp_path, "corpora", INPUTS, no_fill)
    assert not (tmp_path / ".locks").exists()


def test_a_cache_that_may_not_be_read_is_not_called_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.get_or_build(tmp_path, "corpora", INPUTS, fill)

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)  # root may read all
    for call in (cache.entries, cache.verify, cache.clear):
        with pytest.raises(UserError, match=rf"^cannot read {tmp_path}/\w+ \(permission denied\); .* let its owner"):
            call(tmp_path)


def test_an_absent_cache_is_empty(tmp_path: Path) -> None:
    assert cache.entries(tmp_path / "none") == []
    assert cache.verify(tmp_path / "none") == {}
    assert cache.clear(tmp_path / "none") == 0


def test_clear_removes_the_files_of_the_cache_and_no_others(tmp_path: Path) -> None:
    path = cache.get_or_build(tmp_path, "corpora", INPUTS, fill).path
    (path.parent / f".{path.name}.left0000").mkdir()
    (tmp_path / "corpora" / "wiki").mkdir()
    (tmp_path / "corpora" / "wiki" / "mine.txt").write_bytes(b"mine")
    (tmp_path / ".parts").mkdir()
    (tmp_path / ".parts" / "x.part").write_bytes(bytes(1000))
    expected = cache.size_bytes(path) + 1000
    assert cache.clear(tmp_path) == expected
    assert everything_in(tmp_path / "corpora") == {"wiki", "wiki/mine.txt"}
    assert everything_in(tmp_path / ".parts") == set()


def test_clear_leaves_the_download_of_a_builder_that_starts_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cache.get_or_build(tmp_path, "corpora", INPUTS, fill).path
    (tmp_path / ".parts").mkdir()
    (tmp_path / ".parts" / "x.part").write_bytes(bytes(1000))
    remove = cache._remove

    def remove_while_another_builds(path: Path) -> int:
        (path.parent / f".{'f' * 64}.starts00").mkdir(exist_ok=True)
        return remove(path)

    expected = cache.size_bytes(path)
    monkeypatch.setattr(cache, "_remove", remove_while_another_builds)
    assert cache.clear(tmp_path) == expected
    assert everything_in(tmp_path / ".parts") == {"x.part"}


def test_clear_removes_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    path = cache.get_or_build(tmp_path / "cache", "corpora", INPUTS, fill).path
    path.rename(tmp_path / "shared")
    path.symlink_to(tmp_path / "shared")
    assert cache.clear(tmp_path / "cache") == 0
    assert not path.is_symlink()
    assert everything_in(tmp_path / "shared") == {"words.json", "tokens.npy", "manifest.json"}


def test_clear_accepts_that_another_process_removes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".known").mkdir()
    for name in "ab":
        (tmp_path / ".known" / name).write_bytes(b"note")
    scan = os.scandir

    def late(place: Any) -> Any:
        if not isinstance(place, int):  # not from rmtree
            return scan(place)
        with scan(place) as found:
            entries = list(found)
        (tmp_path / ".known" / "a").unlink(missing_ok=True)
        return contextlib.nullcontext(entries)

    monkeypatch.setattr(os, "scandir", late)
    assert cache.clear(tmp_path) == 8
    monkeypatch.undo()
    assert everything_in(tmp_path) == set()


def test_clear_takes_away_what_it_had_to_wait_for(tmp_path: Path) -> None:
    began, may_continue = threading.Event(), threading.Event()

    def slow(folder: Path) -> None:
        fill(folder)
        began.set()
        assert may_continue.wait(PATIENCE_SECONDS)

    builder = threading.Thread(target=cache.get_or_build, args=(tmp_path, "corpora", INPUTS, slow))
    builder.start()
    assert began.wait(PATIENCE_SECONDS)
    assert cache.clear(tmp_path, lambda line: may_continue.set()) > 0
    builder.join()
    assert cache.entries(tmp_path) == []


def test_the_folder_is_the_one_set_or_that_of_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SENTUNE_CACHE", "~/cache")
    assert cache.default_dir() == tmp_path / "cache"
    monkeypatch.setenv("SENTUNE_CACHE", str(tmp_path))
    assert cache.default_dir() == tmp_path
    monkeypatch.delenv("SENTUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.default_dir().name == "sentune"


TWO_USERS = """
import os, sys
from pathlib import Path
from core.io import cache
from core.errors import UserError
os.umask(int(sys.argv[2], 8))
Path.is_dir = lambda path: os.path.isdir(path)  # as from Python 3.14 on: it raises no error
def fill(folder):
    (folder / "data").write_text("whole")
def obtain():
    return cache.get_or_build(Path(sys.argv[1]), "corpora", {"a": 1}, fill)
obtain()
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    print((obtain().path / "data").read_text())
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize(
    ("umask", "said"),
    [
        ("022", "whole"),
        ("077", r"cannot read .* \(permission denied\); .* run chmod -R a\+rX /\S+/cache"),
    ],
)
def test_another_users_entry_is_read_or_refused_in_one_line(umask: str, said: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        command = [sys.executable, "-c", TWO_USERS, f"{folder}/cache", umask]
        done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    assert re.fullmatch(f"{said}.*\n", done.stdout)


def test_a_home_folder_that_platformdirs_cannot_find_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENTUNE_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: "~no-such-user/.cache/sentune")
    with pytest.raises(ConfigError, match="cannot find the home folder"):
        cache.default_dir()


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is a file would outlive a killed builder, and be waited for without end."""

    def flock(file: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match="has no locks; choose a folder on another disk"):
        cache.get_or_build(tmp_path, "corpora", INPUTS, fill)


def test_clear_does_not_report_what_it_may_not_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache.get_or_build(tmp_path, "corpora", INPUTS, fill).path

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "rmdir", refused)
    with pytest.raises(UserError, match=f"cannot write {path}: permission denied"):
        cache.clear(tmp_path)


def test_a_new_format_of_the_corpora_downloads_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cache.get_or_build(tmp_path, "sources", INPUTS, fill)
    monkeypatch.setitem(cache.FORMATS, "corpora", 99)
    assert cache.read_cached(tmp_path, "sources", INPUTS) == made
