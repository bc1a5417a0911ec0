"""The check that a file of texts can be prepared in the memory of the machine."""

import gzip
import os
from pathlib import Path

import pytest

from core.data.corpus import ReadOptions
from core.data.datasets import resolve_dataset
from core.errors import DataError
from core.io import memory
from core.io.memory import available_memory, check_texts_fit


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "5000000\n"}, 5_000_000),
        ("0::/job/step\n", {"job/step/memory.max": "max\n", "job/memory.max": "4000000\n"}, 4_000_000),
        ("9:memory:/job\n8:cpu:/\n", {"memory/job/memory.limit_in_bytes": "3000000\n"}, 3_000_000),
    ],
)
def test_the_memory_is_that_of_the_control_groups_of_both_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, files: dict[str, str], limit: int
) -> None:
    (tmp_path / "own").write_text(groups)
    monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_memory() == limit


@pytest.mark.parametrize("groups", [None, "0::/\n", "0::/user.slice\n"])
def test_without_a_limit_the_memory_is_that_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str | None
) -> None:
    """macOS has no control groups, and those of a Linux desktop have no limit."""
    monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    if groups is not None:
        (tmp_path / "own").write_text(groups)
    (tmp_path / "user.slice").mkdir()
    (tmp_path / "user.slice/memory.max").write_text("max\n")
    assert available_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.csv.gz"
    path.write_bytes(gzip.compress(b"text,label\na film,good\nthe film,bad\n"))
    source = resolve_dataset(str(path), ReadOptions(), tmp_path)
    assert source.read().texts == ["a film", "the film"]
    monkeypatch.setattr(memory, "available_memory", lambda: 200_000_000)
    refused = (
        r"many\.csv\.gz: preparing its texts needs about 0\.3 GB of memory and this machine has 0\.2 GB; use a part"
    )
    with pytest.raises(DataError, match=refused):
        source.read()


def test_a_file_that_is_removed_before_it_is_read_is_named(tmp_path: Path) -> None:
    """The download of word vectors may take minutes after the file was found."""
    path = tmp_path / "a.csv"
    path.write_text("text,label\na film,good\nthe film,bad\n")
    source = resolve_dataset(str(path), ReadOptions(), tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.csv: no such file; check the path"):
        source.read()


@pytest.mark.parametrize(
    ("name", "size", "need"),
    [("a.csv", 10**6, 306), ("a.csv.gz", 10**6, 318), ("a.parquet", 10**6, 318), ("a.csv", 0, 300)],
)
def test_the_need_grows_with_the_file_and_more_with_a_packed_one(
    name: str, size: int, need: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: need * 10**6)
    check_texts_fit(Path(name), size)
    with pytest.raises(DataError, match=rf"{name}: preparing its texts needs"):
        check_texts_fit(Path(name), size + 1)
