"""load_corpus: build a corpus from dataset, split and vectors once, then open it from the cache."""

import dataclasses
import functools
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.config import MAX_EMBEDDING_DIM
from core.data import datasets
from core.data import vectors as pretrained
from core.data.audit import READ_NOTES, audit, count_leaks, vector_coverage
from core.data.corpus import TRAIN, VAL, Corpus, DatasetSource, ReadOptions
from core.data.splits import SplitRule
from core.data.tokenizer import (
    AUTO,
    MIN_ENGLISH,
    check_tokenizer,
    choose_tokenizer,
    count_letters,
    describe_letters,
    tokenize,
    tokenizer_version,
)
from core.data.vocabulary import MAX_WORDS, encode_corpus, tokenize_all, train_words
from core.errors import ConfigError, CorruptionError, DataError, UserError, check_rules, whole
from core.io import cache, file_hash
from core.io.atomic import expand_user
from core.io.checked_folder import canonical_json
from core.io.text import Notify, quoted

WORD_DIM, CHARACTER_DIM = 300, 100
"""Width of random vectors. There are fewer characters than words."""


def load_corpus(
    dataset: str | os.PathLike[str] = "snippets",
    *,
    vectors: str | os.PathLike[str] = AUTO,
    tokenizer: str = AUTO,
    split: str = "80/10/10",
    seed: int = 42,
    fold: int | None = None,
    validation: str = "split",
    text_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    embedding_dim: int | None = None,
    encoding: str | None = None,
    probability_columns: str | None = None,
    drop_missing: bool = False,
    allow_leak: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Notify | None = None,
) -> Corpus:
    """Return a dataset ready for training; the same arguments and files give the same bytes on every machine.

    Args:
        dataset: `snippets`, `mr`, `mr:PATH`, or the path of a .csv, .tsv, .jsonl (each also .gz) or .parquet file.
            The PATH is that of the archive, or of the folder with the two files.
        vectors: `auto`, `glove-50d`, `glove-100d`, `glove-200d`, `glove-300d`, `fasttext`, `none`, or the path of a
            .vec or GloVe .txt file, also in .zip or .gz. `auto` is `glove-50d`, or `none` if few letters are English.
        tokenizer: `english`, `unicode`, `characters`, or `auto` to choose by the letters of the texts.
        split: Percentages of train, validation and test such as `80/10/10` (stratified), `notebook` (90/10,
            random_state 42, no test), `column`, or `folds:K`.
        seed: Seed of percentages and of `folds:K`; the other rules are fixed.
        fold: Number of the fold of `folds:K` that is the test split, from 0.
        validation: `split`, or `folds:K` to validate on the training sentences in K folds; the validation split then
            joins them.
        text_column: Column of a file with the texts; None to find it by name or content.
        label_column: Column of a file with the labels; None to find it by name or content.
        split_column: Column of a file with the values train, val and test; implies split `column`. With split
            `folds:K` it is not used, and is neither text nor label.
        embedding_dim: Width of a word vector with vectors `none`; None for 300, or 100 with tokenizer `characters`.
            Other vectors must have this width; of several files in a .zip, it selects one.
        encoding: Encoding of a text file; None to detect it.
        probability_columns: Columns of a file with the probability of each class, as one row of CSV. The training
            sentences are trained on them instead of their labels.
        drop_missing: Whether to leave out the rows of a file that have no text or no label.
        allow_leak: Whether to accept a split column that assigns the same text to two splits.
        cache_dir: The cache folder; None for `SENTUNE_CACHE` or the platform's user cache folder.
        progress: Called with one line about slow work or irregular data.

    Raises:
        ConfigError: An option breaks its rule or conflicts with another.
        DataError: A file cannot be used, or its split column leaks.
        UserError: No network, a full disk, or a cache folder that cannot be read or written.
    """
    dataset, vectors = os.fspath(dataset), os.fspath(vectors)
    folder = cache.default_dir() if cache_dir is None else expand_user(os.fspath(cache_dir))
    rule = SplitRule.of(split, seed, fold, split_column, validation)
    if embedding_dim is not None:
        check_rules({"--embedding-dim": whole(embedding_dim, 1, MAX_EMBEDDING_DIM)})
    options = ReadOptions(
        text_column=text_column,
        label_column=label_column,
        split_column=split_column,
        encoding=encoding,
        probability_columns=probability_columns,
        drop_missing=drop_missing,
    )
    check_tokenizer(tokenizer)
    data = datasets.resolve_dataset(dataset, options, folder, progress)
    if AUTO in (tokenizer, vectors):
        data = dataclasses.replace(data, read=functools.cache(data.read))
        tokenizer, vectors = _choose(tokenizer, vectors, data, folder, progress)
    _check_width(vectors, pretrained.WIDTHS.get(vectors), embedding_dim)
    width = embedding_dim or (CHARACTER_DIM if tokenizer == "characters" else WORD_DIM)
    table = pretrained.resolve_vectors(vectors, folder, width, progress)
    inputs = {
        "data": data.inputs,
        "vectors": None if table is None else table.inputs,
        "tokenizer": tokenizer_version(tokenizer),
        "split": rule.inputs(),
    }
    entry = cache.get_or_build(
        folder, "corpora", inputs, lambda target: _build(target, data, table, rule, tokenizer, progress), progress
    )
    with cache.removals_as_user_errors():
        corpus = _open(entry, dataset, vectors, width)
    _check_width(vectors, corpus.embedding_dim, embedding_dim)
    found = corpus.source["audit"]
    if rule.name == "column" and not allow_leak and (count := count_leaks(found)):
        examples = "; ".join(f"{example['splits']} '{example['text']}'" for example in found["leak_examples"])
        raise DataError(
            f"{dataset}: the split column assigns the same text to two splits ({count:,} times): {examples}; "
            "fix the data, omit --split-column, or pass --allow-leak"
        )
    return corpus


def _check_width(vectors: str, width: int | None, embedding_dim: int | None) -> None:
    """Check that vectors have the width of `--embedding-dim`, unless one of the two is None."""
    if None not in (width, embedding_dim) and width != embedding_dim:
        raise ConfigError(
            f"--embedding-dim must be {width}, the width of vectors {quoted(vectors, None)}, got {embedding_dim}; "
            "leave it out, or choose vectors none or other vectors"
        )


def _choose(tokenizer: str, vectors: str, data: DatasetSource, folder: Path, notify: Notify | None) -> tuple[str, str]:
    """Return tokenizer and vectors, each chosen by the letters of the texts if it is `auto`.

    A choice that differs from that for English is reported with its reason.
    """
    letters = file_hash.memoize_by_content(
        canonical_json(data.inputs).decode(), folder, "letters 3", lambda: count_letters(data.read().texts)
    )
    reason = describe_letters(letters)
    if tokenizer == AUTO:
        tokenizer = choose_tokenizer(letters)
        if tokenizer != "english" and notify:
            notify(f"tokenizer   {tokenizer}: {reason} (--tokenizer chooses)")
    if vectors == AUTO:
        vectors = "glove-50d" if letters["english"] >= MIN_ENGLISH else "none"
        if vectors == "none" and notify:
            notify(f"vectors     none, because {reason}; pass --vectors FILE for vectors of your language")
    return tokenizer, vectors


def _build(
    target: Path,
    data: DatasetSource,
    table: pretrained.VectorSource | None,
    rule: SplitRule,
    tokenizer: str,
    notify: Notify | None,
) -> None:
    """Write the files of a corpus entry. Their bytes depend only on the inputs of the key."""
    read = data.read()
    codes, folds = rule.assign(read)
    arrays, words, frozen, has = build_arrays(read.texts, codes, table, tokenizer, notify)
    if folds is not None:
        arrays["folds"] = folds
    if read.targets is not None:
        arrays["targets"] = read.targets
    tokens, offsets = arrays["tokens"], arrays["offsets"]
    in_train = np.repeat(codes == TRAIN, np.diff(offsets))
    trained = len(words) - frozen
    coverage = None if has is None else vector_coverage(words[:trained], has[:trained], tokens[in_train])
    for name, values in {**arrays, "labels": read.labels}.items():
        _save(target / f"{name}.npy", values)
    source = {
        "n_sentences": len(read.texts),
        "classes": list(read.classes),
        "frozen_words": frozen,
        "vectors_licence": None if table is None else table.licence,
        "split": rule.name,
        "split_seed": rule.seed,
        "tokenizer": tokenizer_version(tokenizer),
        "audit": {
            **audit(read.texts, read.labels, read.classes, codes, tokens, offsets, coverage, read.targets),
            **{name: read.notes[name] for name in READ_NOTES if name in read.notes},
        },
        **read.notes,
    }
    (target / "words.json").write_bytes(canonical_json(words))
    (target / "source.json").write_bytes(canonical_json(source))


def build_arrays(
    texts: Sequence[str],
    split: NDArray[np.uint8],
    table: pretrained.VectorSource | None,
    tokenizer: str,
    notify: Notify | None = None,
) -> tuple[dict[str, NDArray[Any]], list[str], int, NDArray[np.bool_] | None]:
    """Tokenise texts, choose the vocabulary and look up its word vectors.

    Args:
        texts: (n,) the sentences.
        split: (n,) TRAIN, VAL or TEST.
        table: Pretrained vectors; None for none.
        tokenizer: Name of the tokenizer.
        notify: Called with the progress every few seconds.

    Returns:
        `tokens`, `offsets`, `split` and, with a table, `vectors` as in Corpus; the words (V,); the number of frozen
        ones; whether each word has a pretrained vector (V,), None without a table.
    """
    tokenized = tokenize_all(texts, tokenizer, notify)
    words, has, more = train_words(tokenized, split), None, list[str]()
    arrays: dict[str, NDArray[Any]] = {"split": split}
    if table is not None:
        forms = pretrained.lookup_forms(words)
        rows = table.read(forms, MAX_WORDS - len(words))
        more = list(dict.fromkeys(word.lower() for word in rows[0] if word not in forms))
        if tokenizer == "characters":  # it cuts most words of such a file
            more = [word for word in more if tokenize(word, tokenizer) == [word]]
        words += more
        arrays["vectors"], has = pretrained.embedding_matrix(words, rows)
    arrays["tokens"], arrays["offsets"] = encode_corpus(tokenized, words)
    return arrays, words, len(more), has


def _save(path: Path, values: NDArray[Any]) -> None:
    """Write as `np.save` does, whose OSError for a full disk does not name the cause."""
    values = np.ascontiguousarray(values)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
    with path.open("wb") as file:
        file.write(header.getvalue())
        file.write(values.data)


def _open(entry: cache.CacheEntry, dataset: str, vectors: str, embedding_dim: int) -> Corpus:
    # Plain ndarrays over the maps: pickle protocol 5, and so Ray's object store, takes them out of band.
    arrays: dict[str, NDArray[Any]] = {
        name.removesuffix(".npy"): np.asarray(np.load(entry.path / name, mmap_mode="r", allow_pickle=False))
        for name in entry.files
        if name.endswith(".npy")
    }
    table = arrays.pop("vectors", None)
    source = json.loads((entry.path / "source.json").read_bytes())
    return Corpus(
        **arrays,
        words=tuple(json.loads((entry.path / "words.json").read_bytes())),
        vectors=table,
        embedding_dim=embedding_dim if table is None else table.shape[1],
        classes=tuple(source.pop("classes")),
        frozen_words=source.pop("frozen_words"),
        fingerprint=entry.key,
        source={"dataset": dataset, "vectors": vectors, "inputs": entry.inputs, **source},
    )


def load_texts(
    data: Mapping[str, Any], fingerprint: str, cache_dir: Path | None = None, *, only_validation: bool = False
) -> list[str]:
    """Return the texts of the sentences of a corpus, in its order.

    The corpus must be in the cache. A dataset that comes by download is fetched again if the cache has lost it.

    Args:
        data: Arguments of load_corpus that the corpus was built with.
        fingerprint: Fingerprint of the corpus.
        cache_dir: The cache folder, as in load_corpus.
        only_validation: Whether to return the texts of `Corpus.validation()` only.

    Raises:
        UserError: The corpus is not in the cache, or its source is gone or has changed.
    """
    folder = cache_dir or cache.default_dir()
    try:
        entry = cache.verify_entry(folder / "corpora" / fingerprint)
    except (FileNotFoundError, CorruptionError):
        raise UserError(
            f"the study's data are not in the cache {folder}; pass the study's --cache-dir, or run its command again"
        ) from None
    options = ReadOptions(**{name: data[name] for name in ReadOptions.__slots__ if name in data})
    source = datasets.resolve_dataset(data["dataset"], options, folder)
    if source.inputs != entry.inputs["data"]:
        raise DataError(f"{data['dataset']} has changed since the study was created; restore the old file")
    texts = source.read().texts
    if not only_validation:
        return texts
    with cache.removals_as_user_errors():
        codes = np.load(entry.path / "split.npy", allow_pickle=False)
    chosen = TRAIN if "folds.npy" in entry.files else VAL
    return [texts[place] for place in np.flatnonzero(codes == chosen).tolist()]
