"""core.data.nltk_words: NLTK's own tokens, without waiting for all of NLTK."""

import sys

import pytest
from hypothesis import given
from nltk.tokenize import word_tokenize

import core.data.nltk_words
from core.data.nltk_words import word_tokenizer
from tests.support.sentences import Tokenize, texts


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

    monkeypatch.setattr(core.data.nltk_words, "_alone", broken)
    monkeypatch.delitem(sys.modules, "nltk")
    assert isinstance(word_tokenizer(), whole.NLTKWordTokenizer)
