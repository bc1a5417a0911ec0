"""Texts to the flat arrays of a corpus: every text is tokenised once, and no list of lists is kept."""

import array
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.corpus import TRAIN
from core.io.text import PAD, UNK, UNK_ID, Notify, tokenize

_QUIET_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """Tokenised texts, before it is known which of them make the vocabulary."""

    flat: NDArray[np.int32]
    """(n_tokens,) each token's place in `distinct`, all texts end to end."""
    offsets: NDArray[np.int64]
    """(n + 1,) text i is flat[offsets[i]:offsets[i + 1]]; may be empty."""
    distinct: list[str]


def tokens_of(texts: Sequence[str], notify: Notify | None = None) -> Tokens:
    """Tokenise all texts; every few seconds `notify` hears how far it is."""
    places: dict[str, int] = {}
    flat = array.array("i")
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    told = time.monotonic()
    for row, text in enumerate(texts):
        flat.extend([places.setdefault(token, len(places)) for token in tokenize(text)])
        offsets[row + 1] = len(flat)
        if notify and row % 1000 == 0 and time.monotonic() - told > _QUIET_SECONDS:
            told = time.monotonic()
            notify(f"tokenising: {row:,} of {len(texts):,} sentences")
    return Tokens(flat=np.array(flat, dtype=np.int32), offsets=offsets, distinct=list(places))


def encode(tokens: Tokens, split: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int64], list[str]]:
    """Word ids, offsets and words (V,), as in `Corpus`: the vocabulary is made from the train split only.

    The same as `Vocabulary.of` over train's tokens and its `encode` over all texts, without a list a text.
    """
    lengths = np.diff(tokens.offsets)
    seen = tokens.flat[np.repeat(split == TRAIN, lengths)]
    places, first = np.unique(seen, return_index=True)
    words = [PAD, UNK]
    ids = np.full(len(tokens.distinct), UNK_ID, dtype=np.int32)
    for place in places[np.argsort(first)]:
        word = tokens.distinct[place]
        if word not in (PAD, UNK):
            ids[place] = len(words)
            words.append(word)
    empty = np.flatnonzero(lengths == 0)
    flat = np.insert(ids[tokens.flat], tokens.offsets[empty], UNK_ID)
    offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths, 1))])
    return flat.astype(np.int32), offsets.astype(np.int64), words
