"""Parquet files become tables; errors name file and row."""

import os
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from core.data import readers
from core.data.corpus import ReadOptions
from core.data.datasets import resolve_dataset
from core.data.readers import MAX_CELL, arrow_columns, read_table
from core.errors import DataError


def parquet(folder: Path, **columns: object) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "a.parquet")
    return folder / "a.parquet"


def test_decimals_are_numbers(tmp_path: Path) -> None:
    path = parquet(tmp_path, stars=[Decimal("4.5"), None, Decimal("100.0")])
    assert read_table(path, "").columns == {"stars": ["4.5", None, "100.0"]}


def test_parquet_columns_of_plain_values(tmp_path: Path) -> None:
    table = read_table(
        parquet(tmp_path, text=["a", None], label=[1, 0], mark=[True, None], share=[0.5, 1.0], vector=[[1], [2]]), ""
    )
    assert table.columns == {
        "text": ["a", None],
        "label": ["1", "0"],
        "mark": ["true", None],
        "share": ["0.5", "1.0"],
    }
    assert table.unsupported_columns == {"vector": "list<element: int64>"}
    assert table.location(1).endswith("a.parquet, row 2")


@pytest.mark.parametrize(
    ("kind", "encoded"), [("float16", False), ("float32", False), ("float32", True), ("float64", False)]
)
def test_a_number_has_the_shortest_text_of_its_type(tmp_path: Path, kind: str, encoded: bool) -> None:
    import pyarrow

    array = pyarrow.array(np.array([4.1, 3.0, 0.25, np.nan, np.inf], kind))
    array = pyarrow.concat_arrays([array, pyarrow.nulls(1, array.type)])
    path = parquet(tmp_path, stars=array.dictionary_encode() if encoded else array)
    assert read_table(path, "").columns == {"stars": ["4.1", "3.0", "0.25", None, "Infinity", None]}


def test_equal_cells_of_parquet_are_one_object(tmp_path: Path) -> None:
    one, other = read_table(parquet(tmp_path, stars=[1000, 1000]), "").columns["stars"]
    assert one is other


def test_a_parquet_file_may_have_any_name(tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/\xff\xfe.parquet"))
    parquet(tmp_path, text=["a"]).rename(path)
    assert read_table(path, "").columns == {"text": ["a"]}
    assert readers.format_of(Path("a.parquet.gz")) is None


def test_a_parquet_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet: several columns are named 'text'; remove or rename all"):
        read_table(tmp_path / "a.parquet", "")


def test_a_huge_cell_of_parquet_is_refused_with_its_row(tmp_path: Path) -> None:
    path = parquet(tmp_path, text=["a", "b" * (MAX_CELL + 1)], label=[0, 1])
    with pytest.raises(DataError, match=r"a.parquet, row 2: column 'text' has 131,073 characters"):
        read_table(path, "")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_huge_cell_that_is_stored_once_for_many_rows_is_refused_before_it_is_copied(
    tmp_path: Path, kind: str, in_parts: bool
) -> None:
    import pyarrow

    rows = pyarrow.DictionaryArray.from_arrays([0] * 900 + [1] * 200, ["a film", "b" * 2**20])
    path = parquet(tmp_path, text=rows if kind == "dictionary" else rows.cast(getattr(pyarrow, kind)()))
    usual = pyarrow.default_memory_pool()
    pool = pyarrow.proxy_memory_pool(usual)
    pyarrow.set_memory_pool(pool)
    try:
        with pytest.raises(DataError, match=r"a.parquet, row 901: column 'text' has 1,048,576 characters, more than"):
            list(readers.read_table_in_parts(path, "")) if in_parts else read_table(path, "")
    finally:
        pyarrow.set_memory_pool(usual)
    assert pool.max_memory() < 50_000_000


def test_the_row_of_a_huge_cell_is_counted_over_row_groups(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"text": [None, "a" * MAX_CELL] * 3 + ["b" * (MAX_CELL + 1)] * 2, "label": [0, 1] * 4})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    with pytest.raises(DataError, match=r"a.parquet, row 7: column 'text' has 131,073 characters"):
        read_table(tmp_path / "a.parquet", "")


def test_a_column_may_have_the_name_of_a_field_of_another_one(tmp_path: Path) -> None:
    path = parquet(tmp_path, a=[{"b": 1, "c": 2}], **{"a.b": ["a film"], "label": [0]})
    for table in (read_table(path, ""), *readers.read_table_in_parts(path, "")):
        assert table.columns == {"a.b": ["a film"], "label": ["0"]}
        assert table.unsupported_columns == {"a": "struct<b: int64, c: int64>"}


@pytest.mark.parametrize("encoded", [False, True])
def test_the_size_of_parquet_is_that_of_its_cells_although_equal_ones_are_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: bool
) -> None:
    import pyarrow

    cells = pyarrow.array(["x" * 1000] * 3000)
    path = parquet(tmp_path, text=cells.dictionary_encode() if encoded else cells)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(readers, "MAX_ARCHIVE_BYTES", 4_000_000)
    assert len(read_table(path, "").lines) == 3000
    monkeypatch.setattr(readers, "MAX_ARCHIVE_BYTES", 2_000_000)
    with pytest.raises(DataError, match=r"a\.parquet: unpacks to more than 1 MiB; use a part of the file"):
        read_table(path, "")


def test_parquet_that_is_read_in_parts_may_have_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path, text=[f"{row:01000}" for row in range(3000)])
    monkeypatch.setattr(readers, "MAX_ARCHIVE_BYTES", 2_000_000)
    with pytest.raises(DataError, match=r"a\.parquet: unpacks to more than 1 MiB; use a part of the file"):
        read_table(path, "")
    assert sum(len(part.lines) for part in readers.read_table_in_parts(path, "")) == 3000


def test_columns_of_parquet_that_are_not_read_have_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of texts with their embeddings."""
    vectors = np.random.default_rng(0).random((100, 768), dtype=np.float32)
    texts = [f"a film {row}" for row in range(100)]
    path = parquet(tmp_path, text=texts, label=[0, 1] * 50, embedding=list(vectors))
    assert path.stat().st_size > 300_000
    assert readers.packed_size(path) < 5000
    monkeypatch.setattr(readers, "MAX_ARCHIVE_BYTES", 20_000)
    source = resolve_dataset(str(path), ReadOptions(text_column="text", label_column="label"), tmp_path)
    assert source.read().texts[:2] == ["a film 0", "a film 1"]
    with pytest.raises(DataError, match=r"column 'embedding' .*list<"):
        resolve_dataset(str(path), ReadOptions(text_column="embedding"), tmp_path).read()


def test_string_views_are_plain() -> None:
    """Not read from a file, because older versions of pyarrow write none."""
    import pyarrow

    views = pyarrow.array(["a", None], pyarrow.string_view())
    assert arrow_columns({"text": views}) == {"text": ["a", None]}


def test_too_little_memory_for_parquet_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet

    def full(self: object, rows: int, columns: list[str]) -> None:
        raise pyarrow.ArrowMemoryError("malloc of size 64 failed")

    path = parquet(tmp_path, text=["a"])
    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "iter_batches", full)
    with pytest.raises(MemoryError, match="malloc of size 64 failed"):
        read_table(path, "")


def test_what_is_no_whole_parquet_file_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, text=["a"] * 1000)
    for data in (b"text,label\na,0\n", path.read_bytes()[:-9]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"a\.parquet: not a readable Parquet file"):
            read_table(path, "")
    path.unlink()
    with pytest.raises(DataError, match=r"a\.parquet: no such file; check the path"):
        read_table(path, "")
