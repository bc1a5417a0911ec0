"""Files of word vectors: the rows that are kept, and errors with file and line."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.vector_files import read_vectors
from core.errors import DataError
from core.io import streams
from core.io.streams import read_blocks, zip_members
from tests.support.archives import zipped

ROWS = "good 1 2 3\nbad -1 0.5 1e-3\nthe 0 0 0\n"


def read(folder: Path, text: str | bytes, *words: str, name: str = "v.vec") -> dict[str, list[float]]:
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(data)
    places, table = read_vectors(folder / name, words)
    assert table.dtype == np.float32
    assert len(table) == len(places)
    return {word: table[row].tolist() for word, row in places.items()}


def test_wanted_rows_of_a_vec_file(tmp_path: Path) -> None:
    found = read(tmp_path, "3 3\n" + ROWS, "bad", "good", "absent")
    assert found == {"good": [1, 2, 3], "bad": [-1, 0.5, np.float32(1e-3)]}


def test_wanted_rows_of_a_glove_file_without_header(tmp_path: Path) -> None:
    assert read(tmp_path, ROWS, "the", name="v.txt") == {"the": [0, 0, 0]}


@pytest.mark.parametrize(
    "text",
    [
        ROWS.removesuffix("\n"),
        ROWS.replace("\n", "\r\n"),
        ROWS.replace("\n", " \n"),
        ROWS + "\n",
        "3 3\n" + ROWS.replace("\n", " \n"),
        "3 3 \n" + ROWS,
    ],
)
def test_line_ends_of_all_kinds(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text, "good", "bad", "the") == read(tmp_path, ROWS, "good", "bad", "the")


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_binary_file_of_word2vec_is_refused_with_what_to_do(tmp_path: Path, end: bytes, packed: bool) -> None:
    """With line feeds after the rows, as the program of its authors writes it, or without, as gensim does."""
    rows = np.random.default_rng(1).normal(size=(200, 20)).astype(np.float32)
    data = b"200 20\n" + b"".join(f"w{at} ".encode() + row.tobytes() + end for at, row in enumerate(rows))
    message = r"v\.bin.*: is a binary file; save it as text, with gensim by save_word2vec_format\(PATH, binary=False\)$"
    with pytest.raises(DataError, match=message):
        read(tmp_path, gzip.compress(data) if packed else data, "w1", name="v.bin.gz" if packed else "v.bin")


def test_no_wanted_word_gives_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "v.vec").write_text(ROWS)
    places, table = read_vectors(tmp_path / "v.vec", ["absent"])
    assert places == {}
    assert table.shape == (0, 3)


def test_of_a_word_that_comes_twice_the_first_row_counts(tmp_path: Path) -> None:
    assert read(tmp_path, "a 1 2\nb 3 4\na 5 6\n", "a") == {"a": [1, 2]}


def test_words_are_bytes_of_utf8(tmp_path: Path) -> None:
    assert read(tmp_path, "naïve 1 2\n映画 3 4\n", "映画", "naïve") == {"naïve": [1, 2], "映画": [3, 4]}


def test_words_with_spaces_in_them_are_passed_over(tmp_path: Path) -> None:
    """GloVe's 840B file has such rows; no token of a tokenizer has a space."""
    text = "at 1 2\n. . . 7 8\nat name@domain.com 5 6\n. 3 4\n"
    assert read(tmp_path, text, "at", ".") == {"at": [1, 2], ".": [3, 4]}


@pytest.mark.parametrize("wanted", ["w6", "w1"])
@pytest.mark.parametrize(("row", "width"), [("w6 1 2", 2), ("w6 1 2 3 4", 4), ("w6", 0), ("w6 1  2 3", 4)])
def test_a_wrong_width_in_line_seven_is_refused_whether_the_word_is_wanted_or_not(
    tmp_path: Path, row: str, width: int, wanted: str
) -> None:
    lines = ["9 3", *(f"w{i} 1 2 3" for i in range(1, 10))]
    lines[6] = row
    with pytest.raises(DataError, match=rf"v\.vec, line 7: has {width} numbers, the first lines 3;"):
        read(tmp_path, "\n".join(lines) + "\n", wanted)


@pytest.mark.parametrize("number", ["nan", "NaN", "inf", "-inf", "1e99"])
def test_a_number_that_is_not_finite_is_refused_with_its_line(tmp_path: Path, number: str) -> None:
    with pytest.raises(DataError, match=r"v\.vec, line 2: contains a number that is not finite"):
        read(tmp_path, f"a 1 2\nb 1 {number}\n", "b")


@pytest.mark.parametrize("number", ["x", "1,5", "0x1f", "--1", "\x1b[31m"])
def test_what_is_no_number_is_refused_with_its_line(tmp_path: Path, number: str) -> None:
    with pytest.raises(DataError, match=r"v\.vec, line 3: '.*' is no number"):
        read(tmp_path, f"2 2\na 1 2\nb 1 {number}\n", "b")


@pytest.mark.parametrize("stated", [2, 4, 2_000_000])
def test_a_header_with_the_wrong_number_of_rows_is_refused(tmp_path: Path, stated: int) -> None:
    with pytest.raises(
        DataError, match=rf"header \(line 1\) states {stated:,} rows, the file has 3; fetch it again, or correct line 1"
    ):
        read(tmp_path, f"{stated} 3\n{ROWS}", "good")


@pytest.mark.parametrize("header", ["", "3 3\n"])
def test_a_mark_of_the_byte_order_is_no_part_of_the_first_word(tmp_path: Path, header: str) -> None:
    assert read(tmp_path, f"\ufeff{header}{ROWS}", "good", "the") == read(tmp_path, header + ROWS, "good", "the")


@pytest.mark.parametrize("width", [2, 4, 8000])
def test_a_header_with_the_wrong_width_is_refused(tmp_path: Path, width: int) -> None:
    with pytest.raises(DataError, match=rf"v\.vec, line 2: has 3 numbers, the first lines {width};"):
        read(tmp_path, f"3 {width}\n{ROWS}", "good")


@pytest.mark.parametrize("width", [0, 999_999_999_999])
def test_a_header_with_an_impossible_width_is_refused(tmp_path: Path, width: int) -> None:
    with pytest.raises(DataError, match=rf"v\.vec, line 1: must be a word and 1 to 8192 numbers, got {width:,}"):
        read(tmp_path, f"3 {width}\n{ROWS}", "good")


@pytest.mark.parametrize("text", ["", "\n", "3 3\n", "3 3\n\n\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"v\.vec, line \d: there is no row; pass a file of vectors"):
        read(tmp_path, text, "a")


def test_a_file_of_words_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1: must be a word and 1 to 8192 numbers, got 0"):
        read(tmp_path, "good\nbad\n", "good")


def test_a_file_without_lines_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a line is longer than 1 MiB; pass a text file of vectors"):
        read(tmp_path, b"a 1 2\n" + b"x" * (3 << 20), "a")


@pytest.mark.parametrize("size", [1, 7, 64])
def test_blocks_of_any_size_give_the_same(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(tmp_path, "3 3\n" + ROWS, "good", "the")
    monkeypatch.setattr(streams, "_BLOCK", size)
    assert read(tmp_path, "3 3\n" + ROWS, "good", "the") == whole


@pytest.mark.parametrize("size", [1, 7])
def test_the_limit_of_other_words_is_of_all_blocks_together(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_BLOCK", size)
    (tmp_path / "v.vec").write_text("the 1\nof 2\nbad 3\nto 4\nin 5\n")
    assert list(read_vectors(tmp_path / "v.vec", ["bad"], more=3)[0]) == ["the", "of", "bad", "to"]


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
NUMBERS = st.floats(-1e6, 1e6, width=32)


@pytest.mark.slow
@given(st.dictionaries(WORDS, st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=8), st.booleans())
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, list[float]], header: bool
) -> None:
    lines = [f"{word} {' '.join(map(repr, numbers))}" for word, numbers in rows.items()]
    text = "\n".join([f"{len(rows)} 3"] * header + lines) + "\n"
    assert read(tmp_path_factory.mktemp("v"), text, *rows) == rows


@pytest.mark.slow
@given(st.binary(max_size=120))
def test_any_bytes_are_rows_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    try:
        found = read(tmp_path_factory.mktemp("v"), data, "a", "0")
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert set(found) <= {"a", "0"}


LONG = b"".join(b"word%d %d 0.5\n" % (i, i) for i in range(200_000))


def test_packed_in_gzip_of_one_or_several_streams(tmp_path: Path) -> None:
    packed = gzip.compress(LONG[:1_000_000], 1) + gzip.compress(LONG[1_000_000:], 6)
    assert read(tmp_path, packed, "word199999", name="v.txt.gz") == {"word199999": [199_999, 0.5]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_packed_in_zip(tmp_path: Path, kind: int) -> None:
    path = zipped(tmp_path / "v.zip", kind, a=LONG, b=b"x 1\n")
    assert zip_members(path) == ["inner/a.vec", "inner/b.vec"]
    places, table = read_vectors(path, ["word7", "word199999"], "inner/a.vec")
    assert table[[places["word7"], places["word199999"]]].tolist() == [[7, 0.5], [199_999, 0.5]]


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 8, 9, 1000, 0.5])
def test_a_cut_gzip_is_refused(tmp_path: Path, cut: float) -> None:
    packed = gzip.compress(LONG, 1)
    kept = packed[: len(packed) - cut] if isinstance(cut, int) else packed[: int(len(packed) * cut)]
    with pytest.raises(DataError, match=r"v\.txt\.gz: is truncated or damaged \(.*\); fetch it again"):
        read(tmp_path, kept, "word7", name="v.txt.gz")


def test_a_flipped_bit_in_a_packed_file_is_found(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(LONG, 1))
    packed[len(packed) // 2] ^= 1
    with pytest.raises(DataError, match=r"v\.gz(: is truncated or damaged|, line)"):
        read(tmp_path, bytes(packed), "word7", name="v.gz")


def test_a_zip_of_a_future_version_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "v.zip", a=b"x 1\n")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 6] = 64
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"v\.zip: not a whole \.zip archive \(zip file version 6\.4\); fetch it again"):
        zip_members(path)


def test_a_zip_without_its_first_byte_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "v.zip", a=b"x 1\n")
    path.write_bytes(path.read_bytes()[1:])
    with pytest.raises(DataError, match=r"v\.zip: inner/a\.vec is truncated or damaged \("):
        read_vectors(path, ["x"], "inner/a.vec")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "v.zip", a=b"x 1\n")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"inner/a\.vec is encrypted; unpack it and pass the file"):
        read_vectors(path, ["x"], "inner/a.vec")


def test_a_zip_packed_in_another_way_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "v.zip", zipfile.ZIP_LZMA, a=b"x 1\n")
    with pytest.raises(DataError, match=r"inner/a\.vec is not packed by deflate"):
        read_vectors(path, ["x"], "inner/a.vec")


def test_a_zip_that_was_replaced_by_another_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"v\.zip: does not contain inner/a\.vec; run the same command again"):
        list(read_blocks(zipped(tmp_path / "v.zip", b=b"good 1 2\n"), "inner/a.vec"))


def test_a_zip_bomb_is_refused_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FREE_BYTES", 1 << 20)
    path = zipped(tmp_path / "v.zip", a=b"word 0 0 0 0\n" * 200_000)
    with pytest.raises(DataError, match="unpacks to more than 100 times its size"):
        read_vectors(path, ["x"], "inner/a.vec")


def test_blocks_are_small_however_well_they_were_packed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "v.zip", a=bytes(20 << 20))
    assert max(len(block) for block in read_blocks(path, "inner/a.vec")) <= 1 << 20
