"""Text that is made safe to compare and to show."""

import importlib.metadata
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.splits import normalize_text
from core.data.tokenizer import tokenize, tokenizer_version
from core.data.vocabulary import PAD, UNK, Vocabulary
from core.errors import DataError
from core.io.text import one_line, printable, redact_uris, without_folders
from tests.support.sentences import vocabulary_of

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


def test_tokenize_lowercases_and_splits_as_the_notebook_does() -> None:
    tokens = tokenize("It's a Gorgeous, witty movie -- (sic)!", "english")
    assert tokens == ["it", "'s", "a", "gorgeous", ",", "witty", "movie", "--", "(", "sic", ")", "!"]


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u3000"])
def test_blank_text_has_no_tokens(text: str) -> None:
    assert tokenize(text, "english") == []


@given(TEXTS)
def test_tokens_are_never_empty_and_hold_no_space(text: str) -> None:
    assert all(token and token.split() == [token] for token in tokenize(text, "english"))


@given(TEXTS)
def test_tokenize_forgets_upper_case_first(text: str) -> None:
    assert tokenize(text, "english") == tokenize(text.lower(), "english")


def test_the_tokenizer_names_nltk_and_its_version() -> None:
    assert tokenizer_version("english") == f"nltk-{importlib.metadata.version('nltk')}/word_tokenize/lower"


def test_unknown_words_and_empty_sentences_are_unknown_tokens() -> None:
    vocabulary = Vocabulary((PAD, UNK, "good"))
    assert vocabulary.encode(["good", "bad"]) == [2, 1]
    assert vocabulary.encode([]) == [1]


def test_a_sentence_that_spells_the_padding_word_is_not_padding() -> None:
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


def test_normalise_drops_case_punctuation_and_space() -> None:
    assert (
        normalize_text(" A good film -- really!\u200b\u00a0")
        == normalize_text("a Good, film (really)")
        == "agoodfilmreally"
    )


def test_normalise_keeps_texts_of_punctuation_apart() -> None:
    assert normalize_text(":)") == ":)"
    assert normalize_text(":)") != normalize_text(":(")
    assert normalize_text("  ") == ""


def test_normalise_keeps_emoji() -> None:
    assert normalize_text("Great 😀") != normalize_text("Great 😡")


@given(TEXTS)
def test_normalise_twice_changes_nothing(text: str) -> None:
    assert normalize_text(normalize_text(text)) == normalize_text(text)


def test_printable_shows_what_would_steer_a_terminal() -> None:
    assert printable("a\x1b[31m\u202eb\nc\x9b\u2028") == r"a\x1b[31m\u202eb\nc\x9b\u2028"
    assert printable("\U000e0041\ud800") == r"\U000e0041\ud800"


def test_printable_leaves_letters_of_all_scripts() -> None:
    assert printable("naïve 映画 фильм 😀") == "naïve 映画 фильм 😀"


def test_printable_cuts_to_a_limit() -> None:
    assert printable("abcdefghij", 6) == "abc..."
    assert printable("abcdef", 6) == "abcdef"


@given(st.text(max_size=40))
def test_printable_leaves_no_control_character(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(char)[0] in "CZ" and char != " " for char in shown)


def test_a_long_message_loses_its_middle() -> None:
    assert one_line("a\nb") == "a\\nb"
    assert one_line("x" * 1500) == "x" * 1500
    assert one_line(f"begin{'x' * 5000}end", most=20) == "beginxxxxx ... xxxxxxxend"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://KEY:SECRET@bucket/f?endpoint_override=10.0.0.1:9000&session_token=x", "s3://bucket/f"),
        ("s3://KEY:SEC/RET@bucket/f", "s3://bucket/f"),
        (
            "cannot use s4://KEY:SECRET@b/x: no scheme in s4://KEY:SECRET@b/x",
            "cannot use s4://b/x: no scheme in s4://b/x",
        ),
        (
            "sentune run --storage 's3://KEY:SECRET@b/f?token=x' --trials 3",
            "sentune run --storage 's3://b/f' --trials 3",
        ),
        ("http://me@host:5000/x", "http://host:5000/x"),
        ("s3://KEY:SE@C/RET@bucket/f", "s3://bucket/f"),
    ],
)
def test_what_may_be_secret_in_a_uri_is_concealed(text: str, shown: str) -> None:
    assert redact_uris(text) == shown


@pytest.mark.parametrize(
    "text", ["sqlite:////a/b.db", "s3://bucket/f", "http://h:1/x", "what? a=1", "mail me@host, a:b@c"]
)
def test_text_without_a_secret_stays(text: str) -> None:
    assert redact_uris(text) == text


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("sentune run ../data/tickets.csv --name x", "sentune run tickets.csv --name x"),
        ("/home/me/bin/sentune retrain s --out=/home/me/model", "sentune retrain s --out=model"),
        ("search('/home/me/t.csv', cache_dir='~me/c')", "search('t.csv', cache_dir='c')"),
        ("sentune run mr:/data/rt.tar.gz --split 80/10/10", "sentune run rt.tar.gz --split 80/10/10"),
        ("sentune run --storage s3://bucket/folder --set 'hidden_dim=int(4,16)'",) * 2,
        ("", ""),
    ],
)
def test_a_command_is_shown_without_folders(command: str, shown: str) -> None:
    assert without_folders(command) == shown
