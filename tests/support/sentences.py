"""Texts in which every rule of the tokenizer has an effect."""

from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from core.data.vocabulary import PAD, UNK, Vocabulary

PIECES = ["can", "not", "gon", "na", "n't", "'s", "'ll", "'", '"', "``", "--", "...", ". ", ")", "(", "a.", "3:30", "«"]
PIECES += [
    "’",
    "—",
    "$",
    "%",
    " ",
    "\t",
    "\x1c",
    "\u2028",
    "\n",
    "İ",
    "ß",
    "ǅ",
    "再",
    "🙂",
    "カー",
    "ที่",
    "l'é",
    "\u200b",
    "\u00ad",
    "\ud800",
    "\x00",
    "\ufeff",
]
texts = st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join)


def vocabulary_of(sentences: Iterable[Sequence[str]]) -> Vocabulary:
    """Return the words of tokenised sentences in order of first appearance, after `<pad>` and `<unk>`."""
    return Vocabulary(tuple(dict.fromkeys([PAD, UNK, *(word for sentence in sentences for word in sentence)])))
