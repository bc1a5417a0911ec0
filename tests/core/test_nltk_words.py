"""core.nltk_words: NLTK's own tokens, without waiting for all of NLTK."""

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.tokenize import word_tokenize

import core.nltk_words
from core.nltk_words import word_tokenizer

Tokenize = Callable[[str], list[str]]

# Texts in which every rule of the tokenizer has something to do.
PIECES = ["can", "not", "gon", "na", "n't", "'s", "'ll", "'", '"', "``", "--", "...", ". ", ")", "(", "a.", "3:30", "«"]
PIECES += ["’", "—", "$", "%", " ", "\t", "\x1c", "\u2028", "\n", "İ", "ß", "ǅ", "再", "🙂", "\ud800", "\x00", "\ufeff"]
texts = st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join)


@pytest.fixture(scope="module")
def alone() -> Tokenize:
    """The tokenizer imported as in a process that has not imported NLTK."""
    stashed = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "nltk"}
    try:
        tokenizer = word_tokenizer()
        assert "nltk" not in sys.modules
    finally:
        sys.modules.update(stashed)
    tokenize: Tokenize = tokenizer.tokenize
    return tokenize


@given(text=texts)
def test_tokens_are_those_of_word_tokenize(alone: Tokenize, text: str) -> None:
    assert alone(text) == word_tokenize(text, preserve_line=True)


def test_where_nltk_is_imported_already_it_is_used() -> None:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    assert isinstance(word_tokenizer(), NLTKWordTokenizer)


def test_an_nltk_that_cannot_be_taken_apart_is_imported_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("cannot import name 'x' from 'nltk'")

    import nltk.tokenize.destructive as whole

    monkeypatch.setattr(core.nltk_words, "_alone", broken)
    monkeypatch.delitem(sys.modules, "nltk")
    assert isinstance(word_tokenizer(), whole.NLTKWordTokenizer)
