"""The two built-in datasets, from small files of the same form."""

from pathlib import Path

import pytest

from core.data import movie_reviews
from core.data.movie_reviews import parse_mr, parse_snippets, resolve_mr_at, resolve_snippets
from core.errors import DataError
from tests.support.archives import tar_gz

NEG, POS = b"so bad \nclich\xe9\n\n", b"so good\n"
FILES = {"rt-polarity.neg": NEG, "rt-polarity.pos": POS}


def test_the_sign_of_a_rating_is_the_label_and_zero_is_dropped() -> None:
    dataset = parse_snippets(b"1\t2.5\tGood \xc3\xa9\r\n2\t-0.1\tA\ttab\n3\t0.0\tNeither\r\n\n4\t-3\tBad\n")
    assert dataset.texts == ["Good é", "A\ttab", "Bad"]
    assert dataset.labels.tolist() == [1, 0, 0]
    assert dataset.classes == ("negative", "positive")
    assert dataset.notes["dropped_neutral"] == 1
    assert dataset.notes["licence"].startswith("MIT")


@pytest.mark.parametrize("line", [b"1\tgood", b"1\tx\tgood", b"text"])
def test_a_line_of_another_form_is_refused_with_its_number(line: bytes) -> None:
    with pytest.raises(DataError, match=r"movieReviewSnippets_GroundTruth\.txt, line 2: must be id, rating and text"):
        parse_snippets(b"1\t1\tok\n" + line + b"\n")


def test_a_release_with_another_file_in_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tar_gz({"x/movieReviewSnippets_GroundTruth.txt": b"1\t1\tother\n"})
    release = tar_gz({"v/hutto_ICWSM_2014.tar.gz": inner})
    monkeypatch.setattr(movie_reviews, "pip_download", lambda requirement, sha256: ("v.tar.gz", release))
    with pytest.raises(DataError, match=r"v\.tar\.gz: movieReviewSnippets_GroundTruth\.txt is not the published file"):
        resolve_snippets(tmp_path).read()


def test_mr_is_cp1252_with_negatives_first() -> None:
    dataset = parse_mr(FILES)
    assert dataset.texts == ["so bad", "cliché", "so good"]
    assert dataset.labels.tolist() == [0, 0, 1]
    assert dataset.notes["licence"].startswith("CC BY 4.0")


def test_mr_that_is_not_cp1252_is_refused_with_its_line() -> None:
    with pytest.raises(DataError, match=r"rt-polarity\.pos, line 2: is not cp1252 text"):
        parse_mr(FILES | {"rt-polarity.pos": b"ok\nno \x81\n"})


def test_mr_without_a_snippet_is_refused() -> None:
    with pytest.raises(DataError, match=r"rt-polarity\.neg: contains no snippet"):
        parse_mr(FILES | {"rt-polarity.neg": b" \n"})


def test_archive_folder_and_inner_folder_are_the_same_data(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "rt-polaritydata"
    inner.mkdir(parents=True)
    for name, data in FILES.items():
        (inner / name).write_bytes(data)
    archive = tmp_path / "any-name.tar.gz"
    archive.write_bytes(tar_gz({f"rt-polaritydata/{name}": data for name, data in FILES.items()}))
    located = [resolve_mr_at(path) for path in (archive, inner, tmp_path / "outer")]
    assert located[0].inputs == located[1].inputs == located[2].inputs
    assert located[0].read().texts == located[2].read().texts == ["so bad", "cliché", "so good"]


def test_files_that_are_not_the_published_ones_are_taken_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(tar_gz(FILES))
    reported: list[str] = []
    resolve_mr_at(tmp_path / "x.tar.gz", reported.append)
    assert len(reported) == 1
    assert reported[0].endswith(
        "rt-polarity.neg and rt-polarity.pos differ from the published Movie Review files; "
        "do not compare the figures with published ones"
    )


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tar\.gz: no such file"):
        resolve_mr_at(tmp_path / "none.tar.gz")
    with pytest.raises(DataError, match=r"rt-polarity\.neg: no such file"):
        resolve_mr_at(tmp_path)
    (tmp_path / "x.tar.gz").write_bytes(tar_gz({"rt-polarity.neg": NEG}))
    with pytest.raises(DataError, match=r"x\.tar\.gz: does not contain rt-polarity\.pos"):
        resolve_mr_at(tmp_path / "x.tar.gz")
