"""load_texts: the texts of a split, for a study whose corpus is in the cache."""

from pathlib import Path
from typing import Any

import pytest

from core import Corpus, load_corpus
from core.data.corpus import VAL
from core.data.load import load_texts
from core.data.tokenizer import tokenize
from core.errors import DataError, UserError


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """Arguments of load_corpus for a small file."""
    path = tmp_path / "tickets.csv"
    rows = [f"Ticket No. {i} about page {i * 7},{'ab'[i % 2]}" for i in range(80)]
    path.write_text("\n".join(["text,label", *rows]))
    return {"dataset": str(path), "vectors": "none", "embedding_dim": 4, "text_column": None, "label_column": None,
            "split_column": None, "encoding": None}  # fmt: skip


@pytest.fixture
def corpus(data: dict[str, Any], tmp_path: Path) -> Corpus:
    return load_corpus(**data, cache_dir=tmp_path / "cache")


def test_texts_are_in_the_order_of_the_split(data: dict[str, Any], corpus: Corpus, tmp_path: Path) -> None:
    texts = load_texts(data, corpus.fingerprint, tmp_path / "cache", only_validation=True)
    assert len(texts) == 8
    for text, place in zip(texts, corpus.indices(VAL), strict=True):
        assert text.startswith("Ticket No. ")
        known = [word if word in corpus.words else "<unk>" for word in tokenize(text, "english")]
        ids = corpus.tokens[corpus.offsets[place] : corpus.offsets[place + 1]]
        assert [corpus.words[token] for token in ids] == known


def test_texts_of_a_corpus_that_is_not_in_the_cache_are_refused(
    data: dict[str, Any], corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(
        UserError, match=r"not in the cache .*empty; pass the study's --cache-dir, or run its command again$"
    ):
        load_texts(data, corpus.fingerprint, tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_texts_of_a_file_that_has_changed_or_is_gone_are_refused(
    data: dict[str, Any], corpus: Corpus, tmp_path: Path
) -> None:
    path = Path(data["dataset"])
    path.write_text(path.read_text().replace("page", "book"))
    with pytest.raises(DataError, match=r"tickets\.csv has changed since the study was created; restore the old file"):
        load_texts(data, corpus.fingerprint, tmp_path / "cache")
    path.unlink()
    with pytest.raises(DataError, match=r"tickets\.csv"):
        load_texts(data, corpus.fingerprint, tmp_path / "cache")
