"""The options of load_corpus: those that are part of the cache key, and those that are refused."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import core
from core import load_corpus
from core.errors import ConfigError
from tests.support.archives import zipped
from tests.support.reviews import Load


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 43},
        {"split": "notebook"},
        {"split": "folds:5", "fold": 0},
        {"split": "folds:5", "fold": 4},
        {"text_column": "text"},
        {"label_column": "label"},
        {"encoding": "cp1252"},
        {"drop_missing": True},
        {"tokenizer": "unicode"},
        {"vectors": "v.vec"},
    ],
)
def test_another_option_is_another_key(load: Load, tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / "v.vec").write_text("good 1 2\n")
    if "vectors" in change:
        change = {"vectors": str(tmp_path / "v.vec")}
    assert load(**change).fingerprint != load().fingerprint


def test_another_nltk_is_another_key(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load().fingerprint
    monkeypatch.setattr(core.data.load, "tokenizer_version", lambda tokenizer: "nltk-0/word_tokenize/lower")
    assert load().fingerprint != first


@pytest.mark.parametrize("split", ["notebook", "column"])
def test_a_seed_is_in_the_key_exactly_if_it_decides_the_splits(load: Load, tmp_path: Path, split: str) -> None:
    assert load(seed=1).fingerprint != load(seed=2).fingerprint
    options: dict[str, Any] = {"split": split}
    if split == "column":
        rows = ["a b,x,train", "c d,y,train", "e f,x,val"]
        (tmp_path / "reviews.csv").write_text("\n".join(["text,label,side", *rows]))
        options["split_column"] = "side"
    one, two = load(seed=1, **options), load(seed=2, **options)
    assert one.fingerprint == two.fingerprint
    assert one.source == two.source


def test_an_encoding_is_the_same_given_or_found(load: Load) -> None:
    assert load(encoding="UTF8").fingerprint == load().fingerprint


def test_a_tokenizer_that_is_none_is_refused(load: Load) -> None:
    with pytest.raises(
        ConfigError, match="--tokenizer must be one of auto, english, unicode, characters, got 'french'"
    ):
        load(tokenizer="french")


def test_another_width_than_that_of_the_vectors_is_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "v.vec").write_text("good 1 2\nfilm 3 4\n")
    assert load(vectors=str(tmp_path / "v.vec"), embedding_dim=2).embedding_dim == 2
    message = r"--embedding-dim must be 2, the width of vectors '.*v\.vec', got 300; leave it out, or choose"
    with pytest.raises(ConfigError, match=message):
        load(vectors=str(tmp_path / "v.vec"), embedding_dim=300)


def test_another_width_than_that_of_known_vectors_is_refused_before_their_download(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.data.vectors.download", Mock(side_effect=AssertionError("downloaded")))
    with pytest.raises(ConfigError, match="--embedding-dim must be 300, the width of vectors 'fasttext', got 100; "):
        load(vectors="fasttext", embedding_dim=100)


@pytest.mark.parametrize("dataset", ["reviews", "reviews.txt", "Snippets", "", "a\x1b.xml"])
def test_an_unknown_dataset_is_refused(load: Load, dataset: str) -> None:
    with pytest.raises(ConfigError, match=r"dataset must be snippets, mr, mr:PATH or a file ending in \.csv, \.tsv"):
        load_corpus(dataset)


@pytest.mark.parametrize("dataset", ["snippets", "mr", "mr:x"])
def test_options_of_files_are_refused_elsewhere(load: Load, dataset: str) -> None:
    with pytest.raises(
        ConfigError, match=f"--text-column and --drop-missing must be used with a file, got dataset '{dataset}'"
    ):
        load(dataset, text_column="a", drop_missing=True)


def test_parquet_has_no_encoding(load: Load, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"--encoding must be used with a text file, got .*a\.parquet"):
        load(str(tmp_path / "a.parquet"), encoding="utf-8")


@pytest.mark.parametrize("dim", [0, -1, 8193, 1.5, True, "300"])
def test_an_impossible_width_is_refused(load: Load, dim: Any) -> None:
    with pytest.raises(ConfigError, match=f"--embedding-dim must be a whole number from 1 to 8192, got {dim!r}"):
        load(embedding_dim=dim)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, True])
def test_an_impossible_seed_is_refused(load: Load, seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"seed must be a whole number from 0 to 2\*\*32 - 1, got"):
        load(seed=seed)


def test_split_column_and_its_rule_go_together(load: Load) -> None:
    with pytest.raises(ConfigError, match="split column needs the name of a column; pass --split-column, or another"):
        load(split="column")
    with pytest.raises(ConfigError, match="--split-column 'label' and split 'notebook' exclude each other; leave out"):
        load(split="notebook", split_column="label")


def test_the_width_selects_one_of_several_files_of_a_zip(load: Load, tmp_path: Path) -> None:
    path = zipped(tmp_path / "v.zip", **{"v.2d": b"good 1 2\n", "v.3d": b"good 1 2 3\n"})
    assert [load(vectors=str(path), embedding_dim=width).embedding_dim for width in (2, 3)] == [2, 3]
