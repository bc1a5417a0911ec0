"""Turn texts into the flat arrays of a corpus: each text is tokenised once, without a list of lists."""

import array
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.data.corpus import TRAIN
from core.data.tokenizer import tokenize
from core.errors import DataError
from core.io.text import Notify

_QUIET_SECONDS = 5.0
MAX_WORDS = 50_000
"""Maximum size of a vocabulary. A step of exact Adam updates all trained word vectors: with 175,000 words, those of a
million sentences, a step of a small LSTM takes 3.5 times as long. The words that are left out are 1.2% of the tokens
there, and occur at most four times each."""
PAD, UNK = "<pad>", "<unk>"
UNK_ID = 1


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that a model knows; the id of a word is its index.

    Raises:
        DataError: The first two words are not `<pad>` and `<unk>`, or a word occurs twice.
    """

    words: tuple[str, ...]
    """(V,) words[0] is `<pad>`, words[1] is `<unk>`."""
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.words[:2] != (PAD, UNK):
            raise DataError(f"a vocabulary must begin with {PAD} and {UNK}, got {self.words[:2]!r}")
        ids = {word: place for place, word in enumerate(self.words)}
        if len(ids) != len(self.words):
            twice = next(word for place, word in enumerate(self.words) if ids[word] != place)
            raise DataError(f"a vocabulary must contain each word once, got {twice!r} twice")
        # `<pad>` in a sentence is an unknown word: id 0 means padding only.
        ids[PAD] = UNK_ID
        object.__setattr__(self, "_ids", ids)

    def encode(self, tokens: Sequence[str]) -> list[int]:
        """Return word ids, each in 1..V - 1: 1 for an unknown word, and [1] for an empty sentence."""
        get = self._ids.get
        return [get(token, UNK_ID) for token in tokens] or [UNK_ID]

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizedTexts:
    """Tokenised texts, before the vocabulary is chosen."""

    flat: NDArray[np.int32]
    """(n_tokens,) each token's place in `distinct`, all texts end to end."""
    offsets: NDArray[np.int64]
    """(n + 1,) text i is flat[offsets[i]:offsets[i + 1]]; may be empty."""
    distinct: list[str]


def tokenize_all(texts: Sequence[str], tokenizer: str, notify: Notify | None = None) -> TokenizedTexts:
    """Tokenise all texts; `notify` is called with the progress every few seconds."""
    places: dict[str, int] = {}
    flat = array.array("i")
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    reported = time.monotonic()
    for row, text in enumerate(texts):
        flat.extend([places.setdefault(token, len(places)) for token in tokenize(text, tokenizer)])
        offsets[row + 1] = len(flat)
        if notify and row % 1000 == 0 and time.monotonic() - reported > _QUIET_SECONDS:
            reported = time.monotonic()
            notify(f"tokenising: {row:,} of {len(texts):,} sentences")
    return TokenizedTexts(flat=np.frombuffer(flat, dtype=np.int32), offsets=offsets, distinct=list(places))


def train_words(tokens: TokenizedTexts, split: NDArray[np.uint8]) -> list[str]:
    """Return `<pad>`, `<unk>` and the words of the train split, at most MAX_WORDS in all.

    They are in order of first appearance; of too many, the most frequent remain.
    """
    in_train = np.repeat(split == TRAIN, np.diff(tokens.offsets))
    counts = Counter(tokens.flat[in_train].data)  # in order of first appearance, and so are equally frequent ones
    most = dict(counts.most_common(MAX_WORDS - 2))
    words = (tokens.distinct[place] for place in counts if place in most)
    return [PAD, UNK, *(word for word in words if word not in (PAD, UNK))]


def encode_corpus(tokens: TokenizedTexts, words: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return word ids and offsets as in `Corpus`, without a list of ids per text."""
    ids = np.array(Vocabulary(tuple(words)).encode(tokens.distinct), dtype=np.int32)  # of each distinct word
    lengths = np.diff(tokens.offsets)
    flat, empty = ids[tokens.flat], np.flatnonzero(lengths == 0)
    if len(empty):
        flat = np.insert(flat, tokens.offsets[empty], UNK_ID)
    offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths, 1))])
    return flat, offsets.astype(np.int64)
