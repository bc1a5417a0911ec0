"""Texts become flat arrays with the same content as one list per sentence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.corpus import TEST, TRAIN, VAL
from core.data.tokenizer import tokenize
from core.data.vocabulary import PAD, UNK, Vocabulary, encode_corpus, tokenize_all, train_words
from core.errors import DataError
from tests.support.sentences import vocabulary_of

SENTENCES = st.lists(st.sampled_from(["good", "bad", "the", "<pad>", "<unk>", "It's", "é"]), max_size=5).map(" ".join)


@pytest.mark.slow
@given(st.lists(st.tuples(SENTENCES, st.sampled_from([TRAIN, VAL, TEST])), max_size=8))
def test_flat_arrays_say_what_the_vocabulary_says(rows: list[tuple[str, int]]) -> None:
    texts = [text for text, _ in rows]
    split = np.array([code for _, code in rows], dtype=np.uint8)
    tokenized = tokenize_all(texts, "english")
    words = train_words(tokenized, split)
    flat, offsets = encode_corpus(tokenized, words)
    vocabulary = vocabulary_of(tokenize(text, "english") for text, code in rows if code == TRAIN)
    assert tuple(words) == vocabulary.words
    assert flat.dtype == np.int32
    assert offsets.dtype == np.int64
    assert offsets[-1] == len(flat)
    for row, text in enumerate(texts):
        assert flat[offsets[row] : offsets[row + 1]].tolist() == vocabulary.encode(tokenize(text, "english"))


def test_of_too_many_words_the_most_frequent_of_train_remain_in_order_of_appearance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of equally frequent ones, the first."""
    monkeypatch.setattr("core.data.vocabulary.MAX_WORDS", 5)
    texts, split = ["e a b", "c d d c", "e e e"], np.array([TRAIN, TRAIN, VAL], dtype=np.uint8)
    tokenized = tokenize_all(texts, "english")
    words = train_words(tokenized, split)
    flat, offsets = encode_corpus(tokenized, words)
    assert words == ["<pad>", "<unk>", "e", "c", "d"]
    assert flat.tolist() == [2, 1, 1, 3, 4, 4, 3, 2, 2, 2]
    assert offsets.tolist() == [0, 3, 7, 10]


def test_words_of_validation_and_test_are_unknown() -> None:
    tokenized = tokenize_all(["a b", "b c", "d"], "english")
    words = train_words(tokenized, np.array([TRAIN, VAL, TEST], dtype=np.uint8))
    assert words == ["<pad>", "<unk>", "a", "b"]
    assert encode_corpus(tokenized, words)[0].tolist() == [2, 3, 3, 1, 1]
    assert encode_corpus(tokenized, [*words, "d"])[0].tolist() == [2, 3, 3, 1, 4]


def test_progress_is_reported_when_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.data.vocabulary._QUIET_SECONDS", -1.0)
    reported: list[str] = []
    tokenize_all(["a"] * 2001, "english", reported.append)
    assert reported == [f"tokenising: {row} of 2,001 sentences" for row in ("0", "1,000", "2,000")]


def test_a_sentence_with_the_padding_word_is_not_padding() -> None:
    vocabulary = vocabulary_of([["<pad>", "good"]])
    assert vocabulary.words == (PAD, UNK, "good")
    assert vocabulary.encode(["<pad>", "<unk>", "good"]) == [1, 1, 2]


@given(st.lists(st.lists(st.text(max_size=5), max_size=6), max_size=6))
def test_known_words_survive_the_round_trip(sentences: list[list[str]]) -> None:
    vocabulary = vocabulary_of(sentences)
    for sentence in sentences:
        ids = vocabulary.encode(sentence)
        assert all(1 <= number < len(vocabulary) for number in ids)
        back = [vocabulary.words[number] for number in ids]
        assert back == ([UNK if word == PAD else word for word in sentence] or [UNK])


@pytest.mark.parametrize("words", [(), ("a",), (UNK, PAD), (PAD, "a", UNK)])
def test_a_vocabulary_without_its_two_marks_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="must begin with <pad> and <unk>"):
        Vocabulary(words)


def test_a_word_twice_in_a_vocabulary_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="must contain each word once, got 'a' twice"):
        Vocabulary((PAD, UNK, "a", "b", "a"))
