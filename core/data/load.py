"""load_corpus: dataset, tokens, split, vocabulary and vectors, made once and then opened from the cache."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data import datasets, splits
from core.data import vectors as pretrained
from core.data.audit import audit, coverage_of, leaks
from core.data.corpus import TRAIN, Corpus
from core.data.located import Dataset, LocatedDataset, Options
from core.data.vocabulary import encode, tokens_of
from core.errors import ConfigError, DataError
from core.io import cache
from core.io.text import tokenizer_version


def load_corpus(
    dataset: str = "snippets",
    *,
    vectors: str = "glove-50d",
    split: str = "80/10/10",
    seed: int = 42,
    fold: int | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    embedding_dim: int = 300,
    encoding: str | None = None,
    allow_leak: bool = False,
    cache_dir: Path | str | None = None,
    progress: cache.Notify | None = None,
) -> Corpus:
    """A dataset ready for training; the same arguments and files give the same bytes on every machine.

    Args:
        dataset: `snippets`, `mr`, `mr:PATH` (the archive, or the folder with the two files), or the path of a
            .csv, .tsv, .jsonl (each also .gz) or .parquet file.
        vectors: `glove-50d`, `fasttext`, `none`, or the path of a .vec or GloVe .txt file, also in .zip or .gz.
        split: `80/10/10` (stratified), `notebook` (90/10, random_state 42, no test), `column`, or `folds:K`.
        seed: of `80/10/10` and `folds:K`; the others have none.
        fold: which of `folds:K` is the test split, from 0.
        text_column, label_column: of a file; None to find them by name.
        split_column: of a file, with the values train, val and test; implies split `column`.
        embedding_dim: width of a word vector with vectors `none`; also tells which file of a .zip of several.
        encoding: of a text file; None to detect it.
        allow_leak: take a split column although it has the same text on two sides.
        cache_dir: None for `SENTUNE_CACHE` or the platform's user cache folder.
        progress: told one line about what takes long or is out of order.

    Raises:
        ConfigError: an option breaks its rule or does not go with another.
        DataError: a file cannot be used, or its split column leaks.
        UserError: no network, a full disk, a cache folder that cannot be written.
    """
    folder = Path(cache_dir) if cache_dir is not None else cache.default_dir()
    rule = _Rule.of(split, seed, fold, split_column)
    _check_dim(embedding_dim)
    options = Options(text_column=text_column, label_column=label_column, split_column=split_column, encoding=encoding)
    data = datasets.locate(dataset, options, folder, progress)
    table = pretrained.locate(vectors, folder, embedding_dim, progress)
    inputs = {
        "data": data.inputs,
        "vectors": None if table is None else table.inputs,
        "tokenizer": tokenizer_version(),
        "split": rule.inputs(),
    }
    entry = cache.obtain(
        folder, "corpora", inputs, lambda target: _build(target, data, table, rule, progress), progress
    )
    corpus = _open(entry, dataset, vectors, embedding_dim)
    if rule.name == "column" and not allow_leak:
        _refuse_leak(corpus.source["audit"], dataset)
    return corpus


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rule:
    """A checked split rule with what belongs to it, and nothing that does not."""

    name: str
    seed: int | None
    count: int | None
    fold: int | None

    @classmethod
    def of(cls, split: str, seed: int, fold: int | None, column: str | None) -> "_Rule":
        if column is not None and split == "80/10/10":
            split = "column"
        count = splits.check_rule(split, fold)
        if (split == "column") != (column is not None):
            raise ConfigError(f"split column and --split-column go together, got split {split!r} and column {column!r}")
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise ConfigError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed!r}")
        return cls(name=split, seed={"notebook": 42, "column": None}.get(split, seed), count=count, fold=fold)

    def inputs(self) -> dict[str, Any]:
        return {"rule": self.name, "seed": self.seed, "fold": self.fold}

    def codes(self, read: Dataset) -> splits.Codes:
        if self.name in ("column", "notebook"):
            given = self.name == "column"
            codes = splits.from_column(read.split_values or ()) if given else splits.notebook(read.texts)
            splits.require_in_train(codes, read.labels, read.classes)
            return codes
        seed = self.seed or 0
        if self.count is None:
            return splits.stratified(read.texts, read.labels, read.classes, seed)
        return splits.folds(read.texts, read.labels, read.classes, self.count, self.fold or 0, seed)


def _check_dim(dim: int) -> None:
    if not isinstance(dim, int) or isinstance(dim, bool) or not 1 <= dim <= 8192:
        raise ConfigError(f"embedding_dim must be a whole number from 1 to 8192, got {dim!r}")


def _build(
    target: Path,
    data: LocatedDataset,
    table: pretrained.LocatedVectors | None,
    rule: _Rule,
    notify: cache.Notify | None,
) -> None:
    """Write a corpus entry's files; nothing in them depends on anything but the key's inputs."""
    read = data.read()
    codes = rule.codes(read)
    tokens, offsets, words = encode(tokens_of(read.texts, notify), codes)
    arrays: dict[str, NDArray[Any]] = {"tokens": tokens, "offsets": offsets, "labels": read.labels, "split": codes}
    coverage = None
    if table is not None:
        arrays["vectors"], has = pretrained.matrix(words, table.read(pretrained.wanted(words)))
        coverage = coverage_of(words, has, tokens[np.repeat(codes == TRAIN, np.diff(offsets))])
    for name, values in arrays.items():
        _save(target / f"{name}.npy", values)
    source = {
        "n_sentences": len(read.texts),
        "classes": list(read.classes),
        "vectors_licence": None if table is None else table.licence,
        "split": rule.name,
        "split_seed": rule.seed,
        "tokenizer": tokenizer_version(),
        "audit": audit(read.texts, read.labels, read.classes, codes, tokens, offsets, coverage),
        **read.notes,
    }
    (target / "words.json").write_bytes(cache.canonical(words))
    (target / "source.json").write_bytes(cache.canonical(source))


def _save(path: Path, values: NDArray[Any]) -> None:
    """As `np.save`, which on a full disk raises an OSError that does not say so."""
    values = np.ascontiguousarray(values)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
    with path.open("wb") as file:
        file.write(header.getvalue())
        file.write(values.data)


def _open(entry: cache.Entry, dataset: str, vectors: str, embedding_dim: int) -> Corpus:
    def array(name: str) -> NDArray[Any]:
        # A plain ndarray over the map: pickle protocol 5, and so Ray's object store, takes it out of band.
        return np.asarray(np.load(entry.path / f"{name}.npy", mmap_mode="r", allow_pickle=False))

    table = array("vectors") if "vectors.npy" in entry.files else None
    source = json.loads((entry.path / "source.json").read_bytes())
    return Corpus(
        tokens=array("tokens"),
        offsets=array("offsets"),
        labels=array("labels"),
        split=array("split"),
        words=tuple(json.loads((entry.path / "words.json").read_bytes())),
        vectors=table,
        embedding_dim=embedding_dim if table is None else table.shape[1],
        classes=tuple(source.pop("classes")),
        fingerprint=entry.key,
        source={"dataset": dataset, "vectors": vectors, "inputs": entry.inputs, **source},
    )


def _refuse_leak(found: Mapping[str, Any], dataset: str) -> None:
    if count := leaks(found):
        examples = "; ".join(f"{example['splits']} '{example['text']}'" for example in found["leak_examples"])
        raise DataError(
            f"{dataset}: the split column puts the same text on two sides ({count:,} times): {examples}; "
            "mend the file, leave the column out, or pass --allow-leak"
        )
