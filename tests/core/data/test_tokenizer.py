"""core.data.tokenizer: the tokenizer as data splits as the tokenizer does."""

import importlib
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from nltk.tokenize import word_tokenize

import core.data.tokenizer
from core.data.tokenizer import load_nltk_tokenizer, tokenize, tokenizer_as_regexes, tokenizer_version
from core.errors import UserError
from tests.support.sentences import Tokenize, texts

RULE = json.loads(json.dumps(tokenizer_as_regexes(["<pad>", "<unk>", "can't", "naïve"])))
STEPS = [(importlib.import_module(engine).compile(source, flags), new) for engine, source, flags, new in RULE["steps"]]


def by_rule(text: str) -> list[str]:
    """As someone would apply the rule who has the JSON only."""
    text = text.lower()
    for pattern, new in STEPS:
        text = pattern.sub(new, text)
    return text.split()


@given(text=texts)
def test_the_written_rule_gives_the_same_tokens(text: str) -> None:
    assert by_rule(text) == tokenize(text)


def test_the_rule_says_which_tokenizer_it_is() -> None:
    assert RULE["name"] == tokenizer_version()
    assert {engine for engine, *_ in RULE["steps"]} <= {"re", "regex"}


@pytest.mark.parametrize("table", ["STARTING_QUOTES", "PUNCTUATION", "ENDING_QUOTES", "CONTRACTIONS2"])
def test_a_tokenizer_that_does_more_than_its_tables_say_is_refused(monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    class Other:
        """Of whose tables one lacks a step."""

        def __getattr__(self, name: str) -> Any:
            found = getattr(load_nltk_tokenizer(), name)
            return found[1:] if name == table else found

    monkeypatch.setattr(core.data.tokenizer, "load_nltk_tokenizer", Other)
    with pytest.raises(UserError, match=r"rule of nltk-.* cannot be written down: it splits '.*' in another way"):
        tokenizer_as_regexes([])


@given(text=texts)
def test_tokens_are_those_of_word_tokenize(alone: Tokenize, text: str) -> None:
    assert alone(text) == word_tokenize(text, preserve_line=True)


def test_where_nltk_is_imported_already_it_is_used() -> None:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    assert isinstance(load_nltk_tokenizer(), NLTKWordTokenizer)


def test_an_nltk_that_cannot_be_taken_apart_is_imported_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("cannot import name 'x' from 'nltk'")

    import nltk.tokenize.destructive as whole

    monkeypatch.setattr(core.data.tokenizer, "_import_without_package", broken)
    monkeypatch.delitem(sys.modules, "nltk")
    assert isinstance(load_nltk_tokenizer(), whole.NLTKWordTokenizer)
