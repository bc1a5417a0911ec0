"""load_corpus: dataset, tokens, vocabulary, split and vectors, made once and then opened from the cache."""

import array
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import cache, datasets, splits, vectors as pretrained
from core.corpus import TRAIN, Corpus
from core.errors import ConfigError
from core.text import PAD, UNK, UNK_ID, tokenize, tokenizer_version


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
    folder = Path(cache_dir) if cache_dir is not None else cache.default_dir()
    if split_column is not None and split == "80/10/10":
        split = "column"
    n_folds = splits.check_rule(split, fold)
    options = datasets.Options(
        text_column=text_column, label_column=label_column, split_column=split_column, encoding=encoding
    )
    data = datasets.locate(dataset, options, folder, progress)
    table = pretrained.locate(vectors, folder, progress)
    inputs = {
        "data": data.inputs,
        "vectors": table.inputs if table else {"vectors": "none", "dim": embedding_dim},
        "tokenizer": tokenizer_version(),
        "split": {
            "rule": split,
            **({"fold": fold} if n_folds else {}),
            **({"seed": seed} if split not in ("notebook", "column") else {}),
        },
    }

    def fill(target: Path) -> None:
        read = data.read()
        tokens, offsets, distinct = _tokens(read.texts)
        if split == "column":
            codes = splits.from_column(read.split_values or [], split_column or "")
        elif split == "notebook":
            codes = splits.notebook(read.texts)
        elif n_folds:
            codes = splits.folds(read.texts, read.labels, read.classes, n_folds, fold or 0, seed)
        else:
            codes = splits.stratified(read.texts, read.labels, read.classes, seed)
        ids, words = _vocabulary(tokens, offsets, distinct, codes)
        arrays = {"tokens": ids, "offsets": offsets, "labels": read.labels, "split": codes}
        if table is not None:
            arrays["vectors"], has = pretrained.matrix(words, table.read([*words, *(word.lower() for word in words)]))
        for name, values in arrays.items():
            np.save(target / f"{name}.npy", values, allow_pickle=False)
        (target / "words.json").write_bytes(cache.canonical(words))
        source = {
            "n_sentences": len(read.texts),
            **read.notes,
            "classes": list(read.classes),
            "vectors_licence": table.licence if table else None,
            "split": split,
            "split_seed": {"notebook": 42, "column": None}.get(split, seed),
            "tokenizer": tokenizer_version(),
            "audit": {},
        }
        (target / "source.json").write_bytes(cache.canonical(source))

    entry = cache.obtain(folder, "corpora", inputs, fill, progress)
    return _open(entry, dataset, vectors, embedding_dim)


def _open(entry: cache.Entry, dataset: str, vectors: str, embedding_dim: int) -> Corpus:
    def opened(name: str) -> NDArray[Any]:
        # A plain ndarray over the map: pickle protocol 5, and so Ray's object store, takes it out of band.
        return np.load(entry.path / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)

    table = opened("vectors") if "vectors.npy" in entry.files else None
    source = json.loads((entry.path / "source.json").read_bytes())
    return Corpus(
        tokens=opened("tokens"),
        offsets=opened("offsets"),
        labels=opened("labels"),
        split=opened("split"),
        words=tuple(json.loads((entry.path / "words.json").read_bytes())),
        vectors=table,
        embedding_dim=embedding_dim if table is None else table.shape[1],
        classes=tuple(source.pop("classes")),
        fingerprint=entry.key,
        source={"dataset": dataset, "vectors": vectors, "inputs": entry.inputs, **source},
    )


def _tokens(texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64], list[str]]:
    """Each token as its place among the distinct tokens, end to end; where each text begins; the distinct tokens."""
    places: dict[str, int] = {}
    flat = array.array("i")
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    for row, text in enumerate(texts):
        flat.extend([places.setdefault(token, len(places)) for token in tokenize(text)])
        offsets[row + 1] = len(flat)
    return np.frombuffer(flat, dtype=np.int32) if flat else np.zeros(0, np.int32), offsets, list(places)


def _vocabulary(tokens, offsets, distinct, codes):
    in_train = np.repeat(codes == TRAIN, np.diff(offsets))
    seen = tokens[in_train]
    first, at = np.unique(seen, return_index=True)
    order = first[np.argsort(at)]
    words = [PAD, UNK]
    number = np.full(len(distinct), UNK_ID, dtype=np.int32)
    for place in order:
        if distinct[place] not in (PAD, UNK):
            number[place] = len(words)
            words.append(distinct[place])
    # empty texts become [<unk>]
    ids = number[tokens]
    lengths = np.diff(offsets)
    empty = np.flatnonzero(lengths == 0)
    ids = np.insert(ids, offsets[empty], UNK_ID).astype(np.int32)
    new = np.zeros_like(offsets)
    np.cumsum(np.maximum(lengths, 1), out=new[1:])
    offsets[:] = new
    return ids, words
