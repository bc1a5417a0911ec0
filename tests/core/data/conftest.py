"""Fixtures of the tests of `core.data`."""

from pathlib import Path
from typing import Any

import pytest

from core import Corpus, load_corpus
from tests.support.reviews import Load, csv_of


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """load_corpus of reviews.csv, with a cache of its own and without vectors by default."""
    (tmp_path / "reviews.csv").write_text(csv_of())

    def loading(dataset: str | None = None, **options: Any) -> Corpus:
        options = {"vectors": "none", "cache_dir": tmp_path / "cache"} | options
        return load_corpus(dataset or str(tmp_path / "reviews.csv"), **options)

    return loading
