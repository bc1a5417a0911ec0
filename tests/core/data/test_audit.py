"""The audit counts what can mislead, and its text contains no control characters."""

import json
import re
from typing import Any

import numpy as np
import pytest

from core.data.audit import audit, audit_sections, audit_warnings, count_leaks, render_audit, vector_coverage
from core.data.corpus import TEST, TRAIN, VAL
from core.data.vocabulary import encode_corpus, tokenize_all, train_words

ROWS = [
    ("a good film", "pos", TRAIN),
    ("A good film!", "pos", TRAIN),
    ("a good film", "pos", TRAIN),
    ("a bad film", "neg", TRAIN),
    ("a bad film", "pos", TRAIN),
    ("so long", "neg", TRAIN),
    ("so long ", "neg", VAL),
    ("So, long...", "neg", TEST),
    ("unseen words only", "pos", TEST),
    ("", "neg", TRAIN),
    ("  ", "pos", VAL),
]
CLEAN: dict[str, Any] = {
    "empty_texts": 0,
    "duplicates_across": {pair: {"exact": 0, "near": 0} for pair in ("train/val", "train/test", "val/test")},
    "duplicates_within": {name: {"exact": 0, "near": near} for name, near in (("train", 90), ("val", 0), ("test", 2))},
    "conflicts": {"texts": 0},
    "coverage": {"by_token": 0.9},
    "sentences": 1000,
    "splits": {"train": 800, "val": 100, "test": 100},
    "single_tokens": 50,
    "tokens": {"max": 300},
    "classes": [{"name": "a", "sentences": 909}, {"name": "b", "sentences": 91}],
}


def classes(**counts: int) -> dict[str, Any]:
    return {"classes": [{"name": name, "sentences": count} for name, count in counts.items()]}


def audited(rows: list[tuple[str, str, int]] = ROWS, coverage: dict[str, Any] | None = None) -> dict[str, Any]:
    texts = [text for text, _, _ in rows]
    classes = sorted({label for _, label, _ in rows})
    labels = np.array([classes.index(label) for _, label, _ in rows])
    split = np.array([code for _, _, code in rows], dtype=np.uint8)
    tokens = tokenize_all(texts, "english")
    flat, offsets = encode_corpus(tokens, train_words(tokens, split))
    return audit(texts, labels, classes, split, flat, offsets, coverage)


@pytest.mark.parametrize(
    ("most", "said"), [(6, "the 4 most frequent words of train"), (8, "train and the word vectors")]
)
def test_a_vocabulary_that_leaves_words_out_is_said(monkeypatch: pytest.MonkeyPatch, most: int, said: str) -> None:
    for module in ("vocabulary", "audit"):
        monkeypatch.setattr(f"core.data.{module}.MAX_WORDS", most)
    rows = [("a b c d e", "x", TRAIN), ("f", "y", VAL), ("g", "x", TEST)]
    coverage = {"found": 1, "vocabulary": 2, "by_word": 0.5, "by_token": 0.5, "missing": []}
    text = render_audit(audited(rows, coverage))
    assert f"unknown     val 100.0%, test 100.0% of the tokens, for a vocabulary made from {said}\n" in text


def test_the_baseline_answers_trains_most_frequent_class() -> None:
    found = audited()["majority_baseline"]
    assert found.pop("train_shares") == pytest.approx([3 / 7, 4 / 7])
    assert found == {"class": "pos", "val": 0.5, "test": 0.5}


def test_blank_texts_are_no_copies_of_one_another() -> None:
    found = audited([("", "a", TRAIN), (" ", "b", VAL), ("x", "a", TRAIN), ("y", "b", TRAIN)])
    assert count_leaks(found) == 0
    assert found["conflicts"]["texts"] == 0
    assert found["empty_texts"] == 2


def test_examples_after_a_blank_text_are_the_right_ones() -> None:
    found = audited([("", "a", TRAIN), ("so long", "a", TRAIN), ("So long!", "b", VAL)])
    assert found["leak_examples"] == [{"splits": "train/val", "text": "So long!"}]
    assert found["conflicts"]["examples"] == [{"text": "so long", "labels": ["a", "b"]}]


def test_nothing_but_blank_texts_is_audited_too() -> None:
    found = audited([("", "a", TRAIN), (" ", "b", VAL)])
    assert found["tokens"]["max"] == 1
    assert count_leaks(found) == 0


@pytest.mark.parametrize("block", [3, 1 << 20])
def test_coverage_by_word_and_by_token(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.data.audit._BLOCK", block)
    words = ["<pad>", "<unk>", "good", "rare", "often", "lost"]
    has = np.array([False, False, True, False, False, True])
    tokens = np.array([2, 2, 4, 4, 4, 3, 1], dtype=np.int32)
    assert vector_coverage(words, has, tokens) == {
        "found": 2,
        "vocabulary": 4,
        "by_word": 0.5,
        "by_token": 0.3333,
        "missing": [["often", 3], ["rare", 1]],
    }


def test_coverage_of_no_words() -> None:
    assert vector_coverage(["<pad>", "<unk>"], np.zeros(2, dtype=bool), np.ones(3, dtype=np.int32)) == {
        "found": 0,
        "vocabulary": 0,
        "by_word": 0.0,
        "by_token": 0.0,
        "missing": [],
    }


def test_an_audit_is_json() -> None:
    found = audited()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_lines_say_what_was_found() -> None:
    coverage = {"found": 2, "vocabulary": 4, "by_word": 0.5, "by_token": 0.3333, "missing": [["often", 3]]}
    lines = render_audit(audited(coverage=coverage)).splitlines()
    assert lines == [
        "sentences   11 (train 7, val 2, test 2)",
        "classes     2: neg 5 (45.5%), pos 6 (54.5%)",
        "majority    always predicting 'pos' is correct in val 50.0%, test 50.0%",
        "tokens      mean 2.6, median 3, 95% up to 4, longest 4; empty texts 2",
        "unknown     val 33.3%, test 71.4% of the tokens, for a vocabulary made from train and the word vectors",
        "duplicates  within splits: train 2 exact 3 near, val 0 exact 0 near, test 0 exact 0 near",
        "leaks       across splits: train/val 1 exact 1 near, train/test 0 exact 1 near, val/test 0 exact 1 near",
        "            train/val: so long",
        "            train/test: So, long...",
        "            val/test: So, long...",
        "conflicts   1 text has near copies with another label",
        "            neg and pos: a bad film",
        "vectors     2 of 4 words found (50.0%), 33.3% of train's tokens",
        "            most frequent without one: often 3",
        "warnings    sentences in two splits: train/val 1, train/test 1, val/test 1; remove the copies, or omit "
        "--split-column",
        "            validation sentences: 2, too few to distinguish trials; add sentences",
        "            empty texts: 2; pass --drop-missing, or fill them in",
        "            texts that have near copies with another label: 1; check these labels",
        "            classes with fewer than 15 sentences: 'neg' 5, 'pos' 6; add sentences, or merge classes",
        "            words of train without a word vector: 66.7%; choose --vectors in the language of the "
        "texts, with more of their words; of the named ones, all English, fasttext has the most",
    ]


def test_paragraphs_are_the_lines_by_their_headings() -> None:
    found = audited()
    parts = dict(audit_sections(found))
    assert parts["tokens"] == ["mean 2.6, median 3, 95% up to 4, longest 4; empty texts 2"]
    assert parts["conflicts"] == ["1 text has near copies with another label", "neg and pos: a bad film"]
    said = [f"{name if at == 0 else '':<12}{line}" for name, lines in parts.items() for at, line in enumerate(lines)]
    assert "\n".join(said) == render_audit(found)


def test_without_test_split_and_vectors_the_lines_leave_them_out() -> None:
    text = render_audit(audited([("a b", "x", TRAIN), ("c", "y", VAL)]))
    assert "test" not in text.partition("warnings")[0]
    assert "\nvectors     none: every word starts with a random vector\n" in text


def test_without_held_out_sentences_there_are_no_lines_about_them() -> None:
    """As with validation in folds and no test split."""
    headings = [heading for heading, _ in audit_sections(audited([("a b", "x", TRAIN), ("c", "y", TRAIN)]))]
    assert headings == ["sentences", "classes", "tokens", "duplicates", "conflicts", "vectors", "warnings"]


@pytest.mark.parametrize("evil", ["\x1b[2J\x1b]0;title\x07", "\u202egnp.exe", "a\nb", "\x9b31m", "\u2028", "\x00"])
def test_no_text_and_no_class_name_steers_the_terminal(evil: str) -> None:
    """Also if it is a class name, a leaked text, a contradiction and a missing word at once."""
    rows = [(f"x{evil}y", f"c{evil}", TRAIN), (f"x{evil}y", "other", VAL)]
    coverage = {"found": 0, "vocabulary": 1, "by_word": 0.0, "by_token": 0.0, "missing": [[evil, 1]]}
    for line in render_audit(audited(rows, coverage)).split("\n"):
        assert line.isprintable()


def test_many_classes_are_cut_short() -> None:
    rows = [(f"t {i}", f"class {i % 12:02}", TRAIN if i < 36 else VAL) for i in range(48)]
    (line,) = [line for line in render_audit(audited(rows)).splitlines() if line.startswith("classes")]
    assert line.startswith("classes     12: class 00 4 (8.3%), ")
    assert line.endswith("class 09 4 (8.3%), ...")


def test_a_clean_corpus_has_no_warning() -> None:
    assert audit_warnings(CLEAN) == []
    assert audit_warnings(CLEAN | {"coverage": None}) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"duplicates_across": CLEAN["duplicates_across"] | {"train/val": {"exact": 0, "near": 1200}}},
            "sentences in two splits: train/val 1,200; remove the copies, or omit --split-column",
        ),
        (
            {"single_tokens": 51},
            "sentences that are a single word: 51 (5.1%); pass --tokenizer characters if their script has no spaces",
        ),
        (
            {"splits": {"train": 170, "val": 21, "test": 21}},
            "validation sentences: 21, too few to distinguish trials; pass --validation folds:5",
        ),
        (
            {"tokens": {"max": 20_001}},
            "tokens of the longest sentence: 20,001; its batch takes much memory and time, so cut or split it",
        ),
        (
            {"duplicates_within": CLEAN["duplicates_within"] | {"test": {"exact": 5, "near": 11}}},
            "copies within a split: test 11; remove them, else the intervals are too narrow",
        ),
        ({"empty_texts": 11}, "empty texts: 11; pass --drop-missing, or fill them in"),
        ({"conflicts": {"texts": 3}}, "texts that have near copies with another label: 3; check these labels"),
        (
            {
                "splits": {"train": 900, "val": 0, "test": 100},
                "duplicates_within": CLEAN["duplicates_within"] | {"train": {"exact": 0, "near": 91}},
            },
            "copies within a split: train 91; remove them, else the intervals are too narrow",
        ),
        (
            {"coverage": {"by_token": 0.512}},
            "words of train without a word vector: 48.8%; choose --vectors in the language of the texts, with more of "
            "their words; of the named ones, all English, fasttext has the most",
        ),
        (
            classes(a=910, b=90),
            "class 'a' has 10 times as many sentences as 'b'; search with --metric macro_f1 and --set "
            "'class_weight=choice(none,balanced)'",
        ),
        (
            classes(a=99, b=14, c=15, d=13, e=12, f=11),
            "classes with fewer than 15 sentences: 'b' 14, 'd' 13, 'e' 12 and 1 more; add sentences, or merge classes",
        ),
        (
            classes(**{f"c{i}": 19 for i in range(21)}),
            "classes: 21, with 19.0 sentences on average; merge classes",
        ),
        (
            {
                "classes": [
                    {"name": name, "sentences": 100} for name in ("1", "Very good", "1.0", "very  good", "NaN", "nan")
                ]
            },
            "labels that may be the same: '1' and '1.0', 'Very good' and 'very  good', 'NaN' and 'nan'; write them in "
            "one way",
        ),
        (
            {
                "classes": [
                    {"name": name, "sentences": 100} for name in ("\xe9", "e\u0301", "A", "A\u200b", "\uff21", "b")
                ]
            },
            "labels that may be the same: '\xe9' and 'e\u0301', 'A' and 'A\\u200b', 'A' and '\uff21'; "
            "write them in one way",
        ),
    ],
)
def test_each_doubt_is_a_line(change: dict[str, Any], line: str) -> None:
    assert audit_warnings(CLEAN | change) == [line]


@pytest.mark.parametrize(
    ("metric", "advice"),
    [
        ("accuracy", "search with --metric macro_f1 and --set 'class_weight=choice(none,balanced)'"),
        ("macro_f1", "look at each class with `sentune best STUDY --trial N`"),
    ],
)
def test_the_warning_about_unequal_classes_does_not_name_what_the_study_has(metric: str, advice: str) -> None:
    found = CLEAN | classes(rare=20, common=400)
    assert audit_warnings(found, metric) == [f"class 'common' has 20 times as many sentences as 'rare'; {advice}"]
    assert advice in render_audit(
        audited([("a b", "x", TRAIN)] * 300 + [("c", "y", TRAIN)] * 20 + [("c", "y", VAL)]), metric
    )


def test_a_column_with_an_empty_name_is_shown() -> None:
    found = audited([("a b", "x", TRAIN), ("c", "y", VAL)]) | {"text_column": "", "label_column": None}
    assert re.search(r"^columns +text ''$", render_audit(found), re.MULTILINE)


def test_folds_leave_no_validation_split_and_no_warning() -> None:
    assert audit_warnings(CLEAN | {"splits": {"train": 900, "val": 0, "test": 100}}) == []
    assert audit_warnings(CLEAN | classes(**{f"c{i}": 20 for i in range(21)})) == []


def test_the_text_with_the_largest_share_of_its_class_is_named() -> None:
    """From three copies and a tenth on."""
    rows = [(f"own {i}", "a", TRAIN) for i in range(27)] + [("two", "b", VAL), ("two", "b", VAL)]
    assert "frequent_text" not in audited([*rows, *[("No comment.", "a", TRAIN)] * 3])
    found = audited([*rows, *[("No comment.", "a", TRAIN), ("no comment", "a", TRAIN)] * 2])["frequent_text"]
    assert found == {"text": "No comment.", "class": "a", "sentences": 4, "share": 0.129}
    assert audit_warnings(CLEAN | {"frequent_text": found}) == [
        "one text is 13% of class 'a': 'No comment.'; its 4 copies are all in one split, so an accuracy counts all of "
        "them or none: remove most of them"
    ]
    leak = {"duplicates_across": audited()["duplicates_across"]}
    assert len(audit_warnings(CLEAN | leak | {"frequent_text": found})) == 1


def test_long_texts_that_are_one_token_are_counted() -> None:
    rows = [("a" * 16, "x", TRAIN), ("a" * 15, "y", TRAIN), ("two words of a text", "x", VAL), ("  ", "y", VAL)]
    assert audited(rows)["single_tokens"] == 1


def test_three_of_many_contradictions_are_shown() -> None:
    found = audited([(f"film {i}", label, TRAIN) for i in range(5) for label in ("neg", "pos")])["conflicts"]
    assert (found["texts"], found["sentences"], len(found["examples"])) == (5, 10, 3)


def test_of_many_labels_of_one_text_the_first_are_named() -> None:
    rows = [("thank you", f"l{number}", TRAIN) for number in range(5)] + [("other", "l0", VAL)]
    assert "            l0, l1, l2 and 2 more: thank you\n" in render_audit(audited(rows))
