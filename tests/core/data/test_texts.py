"""core.data.texts: the sentences of a split as they stand in the source, and only those of the very data."""

from pathlib import Path
from typing import Any

import pytest

from core.data.corpus import VAL, Corpus
from core.data.load import load_corpus
from core.data.texts import texts_of
from core.errors import DataError, UserError
from core.io.text import tokenize


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


def test_they_stand_in_the_order_of_the_split(data: dict[str, Any], corpus: Corpus, tmp_path: Path) -> None:
    texts = texts_of(data, corpus.fingerprint, VAL, tmp_path / "cache")
    assert len(texts) == 8
    for text, place in zip(texts, corpus.indices(VAL), strict=True):
        assert text.startswith("Ticket No. ")
        known = [word if word in corpus.words else "<unk>" for word in tokenize(text)]
        ids = corpus.tokens[corpus.offsets[place] : corpus.offsets[place + 1]]
        assert [corpus.words[token] for token in ids] == known


def test_nothing_is_built_for_them(data: dict[str, Any], corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"the study's data are not in the cache .*empty: run the study's command again"
    ):
        texts_of(data, corpus.fingerprint, VAL, tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_a_file_that_has_changed_or_is_gone_is_refused(data: dict[str, Any], corpus: Corpus, tmp_path: Path) -> None:
    path = Path(data["dataset"])
    path.write_text(path.read_text().replace("page", "book"))
    with pytest.raises(DataError, match=r"tickets\.csv has changed since the study was made: put the old file back"):
        texts_of(data, corpus.fingerprint, VAL, tmp_path / "cache")
    path.unlink()
    with pytest.raises(DataError, match=r"tickets\.csv"):
        texts_of(data, corpus.fingerprint, VAL, tmp_path / "cache")
