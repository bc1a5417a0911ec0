"""core.data.tokenizer: three tokenizers, each also as regular expressions, and the choice between them."""

import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import sys
import threading
import time
import types
import unicodedata
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from nltk.tokenize import word_tokenize

import core.data.tokenizer
from core.data.tokenizer import (
    TOKENIZERS,
    choose_tokenizer,
    count_letters,
    describe_letters,
    load_nltk_tokenizer,
    tokenize,
    tokenizer_as_regexes,
    tokenizer_name,
    tokenizer_version,
)
from core.errors import ConfigError, UserError
from tests.support.patience import PATIENCE_SECONDS
from tests.support.sentences import texts

WORDS = ["<pad>", "<unk>", "can't", "naïve"]
RULES = {name: json.loads(json.dumps(tokenizer_as_regexes(WORDS, name))) for name in TOKENIZERS}
STEPS = {
    name: [
        (importlib.import_module(engine).compile(source, flags), new) for engine, source, flags, new in rule["steps"]
    ]
    for name, rule in RULES.items()
}


def by_rule(text: str, tokenizer: str) -> list[str]:
    """As someone would apply the rule who has the JSON only."""
    text = unicodedata.normalize("NFC", text.lower())
    for pattern, new in STEPS[tokenizer]:
        text = pattern.sub(new, text)
    return text.split()


def test_tokenize_lowercases_and_splits_as_the_notebook_does() -> None:
    tokens = tokenize("It's a Gorgeous, witty movie -- (sic)!", "english")
    assert tokens == ["it", "'s", "a", "gorgeous", ",", "witty", "movie", "--", "(", "sic", ")", "!"]


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u3000"])
def test_blank_text_has_no_tokens(text: str) -> None:
    assert tokenize(text, "english") == []


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("This was boring. I hated it.", "this was boring . i hated it ."),
        ("It can't. (Dull.) 'No.'\nIn 1999. End", "it ca n't . ( dull . ) ' no . ' in 1999 . end"),
        (
            "Mr. J. K. Fox vs. Dr. No, approx. 9 a.m. e.g. etc. so",
            "mr. j. k. fox vs. dr. no , approx. 9 a.m. e.g. etc. so",
        ),
        (
            "Give it a 7. Or 3.5. The girls'. 'J. K.' 'art'. a feat. End",
            "give it a 7 . or 3.5 . the girls ' . ' j. k. ' ' art ' . a feat . end",
        ),
        (
            "My prof. Fox. She didn’t. “No.” ‘So.’ [sic.] x",
            "my prof. fox . she did n't . “ no . ” ‘ so . ' [ sic . ] x",
        ),
        (f"It is ok.{' ' * 9000}'Twas{' ' * 7}more 'n. \"{' ' * 5}so", "it is ok . ' twas more 'n. `` so"),
        ("the U.S. army at www.site.com. It... it", "the u.s. army at www.site.com . it ... it"),
    ],
)
def test_a_full_stop_between_sentences_is_a_token(text: str, tokens: str) -> None:
    """NLTK separates the last one only."""
    assert tokenize(text, "english") == tokens.split()


def test_the_tokenizer_names_nltk_and_its_version() -> None:
    assert tokenizer_version("english") == f"nltk-{importlib.metadata.version('nltk')}/word_tokenize/stops/lower/nfc"


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@given(text=texts)
def test_the_written_rule_gives_the_same_tokens(tokenizer: str, text: str) -> None:
    assert by_rule(text, tokenizer) == tokenize(text, tokenizer)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_the_rule_says_which_tokenizer_it_is(tokenizer: str) -> None:
    assert RULES[tokenizer]["name"] == tokenizer_version(tokenizer)
    assert tokenizer_name(RULES[tokenizer]["name"]) == tokenizer
    assert {engine for engine, *_ in RULES[tokenizer]["steps"]} <= {"re", "regex"}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("L'année d’un homme, aujourd'hui!", "l' année d' un homme , aujourd'hui !"),
        ("L'homme dell'altra parte", "l' homme dell' altra parte"),
        ("It's 3.14 of 1,000, can't 'he'?", "it's 3.14 of 1,000 , can't ' he ' ?"),
        ("М'яч і п’ять — Straße…", "м'яч і п'ять — straße …"),
        ("한국어 문장입니다.", "한국어 문장입니다 ."),
        ("Zwei\u00adfel\u200bsatz \ufeff", "zweifel satz"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
        ("İyi, İSTANBUL", "iyi , istanbul"),
    ],
)
def test_words_end_at_unicodes_boundaries(text: str, tokens: str) -> None:
    """In both tokenizers: French and Italian articles are words, Ukrainian and English apostrophes are letters."""
    assert tokenize(text, "unicode") == tokenize(text, "characters") == tokens.split()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("这部ABC电影3.5分，很好！", "这 部 abc 电 影 3.5 分 ， 很 好 ！"),
        ("カタカナのコーヒー", "カ タ カ ナ の コー ヒー"),
        ("ที่นี่ดี good", "ที่ นี่ ดี good"),
        ("ພາສາ", "ພ າ ສ າ"),
        ("ភាសា", "ភា សា"),
        ("မြန်မာ", "မြ န် မာ"),
    ],
)
def test_scripts_without_spaces_are_cut_into_characters(text: str, tokens: str) -> None:
    """Marks stay with their letter, and so does the sign that makes a Katakana vowel long."""
    assert tokenize(text, "characters") == tokens.split()


def test_unicode_keeps_katakana_whole() -> None:
    assert tokenize("カタカナのコーヒー", "unicode") == ["カタカナ", "の", "コーヒー"]


@pytest.mark.parametrize(
    ("sample", "tokenizer", "reason"),
    [
        (["A naïve film.", "x" * 2000], "english", "99.8% of the letters are a to z"),
        (["123 :)", ""], "english", "100.0% of the letters are a to z"),
        ([], "english", "100.0% of the letters are a to z"),
        (["Das Gerät ist schön."], "unicode", "87.5% of the letters are a to z"),
        (["Хороший фильм"], "unicode", "0.0% of the letters are a to z"),
        (["좋은 영화"], "unicode", "0.0% of the letters are a to z"),
        (["很好 good bad"], "characters", "22% of the letters are of scripts without spaces"),
        (["很好 good bad film"], "unicode", "84.6% of the letters are a to z"),
        (["ที่นี่"], "characters", "100% of the letters are of scripts without spaces"),
    ],
)
def test_the_letters_choose_the_tokenizer(sample: list[str], tokenizer: str, reason: str) -> None:
    letters = count_letters(sample)
    assert choose_tokenizer(letters) == tokenizer
    assert describe_letters(letters) == reason


@pytest.mark.parametrize("mixed", [["good"] * 3000 + ["很好"] * 3000, ["good", "很好"] * 3000, ["很好", "good"] * 2000])
def test_the_choice_looks_at_texts_from_all_over(mixed: list[str]) -> None:
    """At 2,000 of them: a file may begin with another language than most of it has, or have languages in turn."""
    found = count_letters(mixed)
    assert found == {"english": pytest.approx(2 / 3, abs=0.02), "unspaced": pytest.approx(1 / 3, abs=0.02)}
    assert count_letters(mixed) == found


def test_an_unknown_tokenizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown tokenizer 'klingon'; choose one of english, unicode, characters"):
        tokenizer_name("regex-2030.1/klingon/lower")


@pytest.mark.parametrize("table", ["STARTING_QUOTES", "PUNCTUATION", "ENDING_QUOTES", "CONTRACTIONS2"])
def test_a_tokenizer_that_does_more_than_its_tables_say_is_refused(monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    class Other:
        """Of whose tables one lacks a step."""

        def __getattr__(self, name: str) -> Any:
            found = getattr(load_nltk_tokenizer(), name)
            return found[1:] if name == table else found

    monkeypatch.setattr(core.data.tokenizer, "load_nltk_tokenizer", Other)
    with pytest.raises(UserError, match=r"rules of nltk-.* cannot be exported: it splits '.*' in another way"):
        tokenizer_as_regexes([], "english")


@pytest.fixture(scope="module")
def alone() -> Callable[[str], list[str]]:
    """The tokenizer imported as in a process that has not imported NLTK."""
    stashed = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "nltk"}
    try:
        tokenizer = load_nltk_tokenizer()
        assert "nltk" not in sys.modules
    finally:
        sys.modules.update(stashed)
    tokenize: Callable[[str], list[str]] = tokenizer.tokenize
    return tokenize


@given(text=texts)
def test_tokens_are_those_of_word_tokenize(alone: Callable[[str], list[str]], text: str) -> None:
    assert alone(text) == word_tokenize(text, preserve_line=True)


def test_where_nltk_is_imported_already_it_is_used() -> None:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    assert isinstance(load_nltk_tokenizer(), NLTKWordTokenizer)


@pytest.mark.slow
def test_another_thread_may_import_modules_meanwhile() -> None:
    """As the thread that starts Ray does."""
    over = threading.Event()

    def imports() -> None:
        for number in itertools.takewhile(lambda _: not over.is_set(), itertools.count()):
            sys.modules[f"fake{number % 500}"] = types.ModuleType("fake")
            sys.modules.pop(f"fake{(number + 250) % 500}", None)

    before = sys.getswitchinterval()
    with patch.dict(sys.modules):
        thread = threading.Thread(target=imports)
        sys.setswitchinterval(1e-6)
        thread.start()
        try:
            found = [core.data.tokenizer._import_without_package().NLTKWordTokenizer() for _ in range(50)]
        finally:
            over.set()
            thread.join()
            sys.setswitchinterval(before)
    assert {tuple(each.tokenize("can't stop")) for each in found} == {("ca", "n't", "stop")}


def test_two_threads_may_load_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one must not find the modules that are in place only for the first one's import."""
    find, both = importlib.util.find_spec, threading.Barrier(2)

    def slow(name: str) -> Any:
        time.sleep(0.02)
        return find(name)

    def load() -> None:
        both.wait()
        found.append(load_nltk_tokenizer().tokenize("can't stop"))

    monkeypatch.setattr(importlib.util, "find_spec", slow)
    found: list[list[str]] = []
    with patch.dict(sys.modules):
        for name in [name for name in sys.modules if name.split(".")[0] == "nltk"]:
            del sys.modules[name]
        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert found == [["ca", "n't", "stop"]] * 2


def test_an_nltk_that_cannot_be_taken_apart_is_imported_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("cannot import name 'x' from 'nltk'")

    import nltk.tokenize.destructive as whole

    monkeypatch.setattr(core.data.tokenizer, "_import_without_package", broken)
    monkeypatch.delitem(sys.modules, "nltk")
    assert isinstance(load_nltk_tokenizer(), whole.NLTKWordTokenizer)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_version_that_is_installed_later_is_not_that_of_this_process(
    tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook whose kernel was not restarted."""
    tokenize("A text.", tokenizer)
    before = tokenizer_version(tokenizer)
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "0.1")
    assert tokenizer_version(tokenizer) == before


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_an_accent_is_a_part_of_its_letter_however_it_is_written(tokenizer: str) -> None:
    assert tokenize("Cafe\u0301", tokenizer) == tokenize("Caf\xe9", tokenizer) == ["caf\xe9"]
