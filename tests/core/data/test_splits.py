"""Split rules: sizes, strata, and copies in the same split."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.corpus import TEST, TRAIN, VAL, Dataset
from core.data.splits import (
    NO_FOLD,
    SplitRule,
    assign_folds,
    duplicate_groups,
    fold_split,
    normalize_text,
    notebook_split,
    parse_split_value,
    stratified_split,
)
from core.errors import ConfigError, DataError

CLASSES = ("neg", "pos")


def sentences(n: int) -> tuple[list[str], np.ndarray]:
    return [f"sentence number {i}" for i in range(n)], np.arange(n) % 2


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    """Texts with copies that differ in case and punctuation; each class has 3 distinct texts of its own at least."""
    n_classes = draw(st.integers(2, 4))
    texts = [f"own {label} {i}" for label in range(n_classes) for i in range(3)]
    labels = [label for label in range(n_classes) for _ in range(3)]
    for number in draw(st.lists(st.integers(0, 12), max_size=60)):
        texts.append(draw(st.sampled_from(["text {}", "TEXT {}!", "te xt, {}"])).format(number))
        labels.append(draw(st.integers(0, n_classes - 1)))
    order = draw(st.permutations(range(len(texts))))
    return [texts[i] for i in order], np.array([labels[i] for i in order]), tuple("abcd"[:n_classes])


def sides(texts: list[str], codes: np.ndarray) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for text, code in zip(texts, codes.tolist(), strict=True):
        found.setdefault(normalize_text(text), set()).add(code)
    return found


def test_the_split_follows_the_seed_and_not_the_order() -> None:
    texts, labels = sentences(200)
    codes = stratified_split(texts, labels, CLASSES, 42)
    assert (codes != stratified_split(texts, labels, CLASSES, 43)).any()
    backwards = stratified_split(texts[::-1], labels[::-1], CLASSES, 42)
    assert (backwards[::-1] == codes).all()


def test_folds_are_the_same_for_ever() -> None:
    """The rule is part of the key by its name only, so its outcome must not move; tests/golden has a split.

    Sentences 3 and 7 are copies.
    """
    texts, labels = sentences(20)
    texts[7] = texts[3].upper()
    found = assign_folds(texts, labels, CLASSES, 3, 42)
    assert found.tolist() == [0, 2, 0, 1, 0, 0, 1, 1, 1, 2, 2, 2, 1, 1, 2, 0, 2, 1, 0, 0]


@pytest.mark.slow
@given(corpora())
def test_every_class_is_on_every_side_and_no_copy_crosses(data: tuple[list[str], np.ndarray, tuple[str, ...]]) -> None:
    """A text under two labels counts for its first one."""
    texts, labels, classes = data
    codes = stratified_split(texts, labels, classes, 7)
    assert all(len(where) == 1 for where in sides(texts, codes).values())
    counted = labels[duplicate_groups(texts)]
    for label in range(len(classes)):
        assert set(codes[counted == label].tolist()) == {TRAIN, VAL, TEST}


def test_many_copies_of_one_text_stay_in_train() -> None:
    texts = ["the same"] * 28 + ["one", "two"] + [f"other {i}" for i in range(30)]
    labels = np.repeat([0, 1], 30)
    codes = stratified_split(texts, labels, CLASSES, 42)
    assert set(codes[:28].tolist()) == {TRAIN}
    assert sorted(codes[28:30].tolist()) == [VAL, TEST]


@pytest.mark.parametrize(("more", "expected"), [(0, [72, 9, 9]), (12, [70, 10, 10])])
def test_copies_of_frequent_texts_do_not_take_the_other_texts_out_of_train(more: int, expected: list[int]) -> None:
    """They are no part of the total, of which validation and test have a share."""
    copies = ["the same"] * 400 + ["OK."] * more
    texts = copies + [f"own {i}" for i in range(90)] + [f"other {i}" for i in range(200)]
    codes = stratified_split(texts, np.repeat([0, 1], [len(copies) + 90, 200]), CLASSES, 42)
    assert set(codes[: len(copies)].tolist()) == {TRAIN}
    assert np.bincount(codes[len(copies) : -200]).tolist() == expected
    assert np.bincount(codes[-200:]).tolist() == [160, 20, 20]


def test_a_class_of_frequent_texts_alone_has_one_in_validation_and_in_test() -> None:
    texts = [text for text in ("one", "two", "three", "four", "five") for _ in range(100)] + list(map(str, range(500)))
    codes = stratified_split(texts, np.repeat([0, 1], 500), ("frequent", "other"), 42)
    assert np.bincount(codes[:500]).tolist() == [300, 100, 100]


def test_a_class_of_skewed_copies_keeps_a_part_of_its_share() -> None:
    """Leaving out the largest texts again and again would leave validation a single sentence."""
    sizes = [30, 20, 12, 8, 5, 3, 2, 2, *[1] * 18]
    texts = [f"hello {i}" for i, size in enumerate(sizes) for _ in range(size)] + [f"other {i}" for i in range(400)]
    codes = stratified_split(texts, np.repeat([0, 1], [100, 400]), CLASSES, 42)
    assert np.bincount(codes[:100]).tolist() == [92, 4, 4]


def test_copies_of_one_sentence_do_not_make_a_class() -> None:
    texts = ["Good.", "good", "GOOD!"] + [f"bad {i}" for i in range(9)]
    labels = np.array([1] * 3 + [0] * 9)
    message = r"has 1 distinct sentence \(3 in all\), a split needs at least 3; add some, or leave out the class$"
    with pytest.raises(DataError, match=message):
        stratified_split(texts, labels, CLASSES, 42)


def test_all_classes_that_are_too_small_are_named_with_those_that_are_written_almost_alike() -> None:
    classes = ("DELIVERY", "Delivery", "de livery", "invoice", "other")
    labels = np.repeat(np.arange(5), (2, 9, 1, 9, 1))
    message = (
        "class 'DELIVERY' has 2 distinct sentences (2 in all), class 'de livery' has 1 distinct sentence (1 in all), "
        "class 'other' has 1 distinct sentence (1 in all), a split needs at least 3; add some, or leave out the "
        "classes; labels that may be the same: 'DELIVERY' and 'Delivery', 'DELIVERY' and 'de livery'; "
        "write them in one way"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        stratified_split(sentences(22)[0], labels, classes, 42)


def test_of_many_classes_that_are_too_small_five_are_named() -> None:
    classes = [f"class {i}" for i in range(30)]
    with pytest.raises(DataError, match=r"^(class 'class \d' has 2 dis[^,]*, ){4}class .* \(2 in all\) and 25 more, a"):
        stratified_split(sentences(60)[0], np.arange(60) % 30, classes, 42)


@pytest.mark.slow
@given(corpora(), st.integers(0, 100))
def test_each_sentence_is_tested_in_exactly_one_fold(
    data: tuple[list[str], np.ndarray, tuple[str, ...]], seed: int
) -> None:
    texts, labels, classes = data
    each = [fold_split(texts, labels, classes, 3, fold, seed) for fold in range(3)]
    tested = np.stack([codes == TEST for codes in each])
    assert (tested.sum(axis=0) == 1).all()
    for fold, codes in enumerate(each):
        assert ((codes == VAL) == tested[(fold + 1) % 3]).all()
        assert all(len(where) == 1 for where in sides(texts, codes).values())


def test_folds_are_even_and_stratified() -> None:
    texts, labels = sentences(203)
    for fold in range(10):
        codes = fold_split(texts, labels, CLASSES, 10, fold, 42)
        counts = np.bincount(labels[codes == TEST], minlength=2)
        assert counts.min() >= 10
        assert counts.max() <= 11
        assert 20 <= counts.sum() <= 21


def test_more_folds_than_sentences_of_a_class_are_refused() -> None:
    texts, labels = sentences(10)
    with pytest.raises(
        DataError, match=r"class 'neg' has 5 distinct sentences .* at least 6; use at most 5 folds, add"
    ):
        fold_split(texts, labels, CLASSES, 6, 0, 42)
    with pytest.raises(DataError, match=r"needs at least 6; add some"):  # no split has two folds
        fold_split(texts[:5], labels[:5], CLASSES, 6, 0, 42)


@pytest.mark.parametrize("split", ["80/10/10", "notebook"])
def test_validation_in_folds_uses_each_sentence_that_is_not_in_the_test_split(split: str) -> None:
    texts, labels = sentences(203)
    texts[7] = texts[3].upper()
    rule, plain = SplitRule.of(split, 42, None, None, "folds:5"), SplitRule.of(split, 42, None, None)
    data = Dataset(texts=texts, labels=labels, classes=CLASSES, notes={})
    codes, folds = rule.assign(data)
    before, none = plain.assign(data)
    assert none is None
    assert folds is not None
    assert np.array_equal(codes == TEST, before == TEST)
    assert not (codes == VAL).any()
    assert set(folds[codes == TRAIN]) == set(range(5))
    assert (folds[codes == TEST] == NO_FOLD).all()
    assert folds[7] == folds[3]
    sizes = np.bincount(folds[codes == TRAIN])
    assert sizes.max() - sizes.min() <= 3
    assert rule.inputs()["validation_folds"] == 5
    assert "validation_folds" not in plain.inputs()
    _, others = SplitRule.of(split, 43, None, None, "folds:5").assign(data)
    assert others is not None
    assert (folds != others).any()  # the notebook's split itself has no seed


def test_validation_folds_count_the_sentences_outside_the_test_split() -> None:
    labels = np.array([0] * 26 + [1] * 5)
    data = Dataset(texts=[f"text {i}" for i in range(31)], labels=labels, classes=CLASSES, notes={})
    message = r"class 'pos' has 4 .* \(4 in all\) outside the test split, a split needs at least 5; use at most 4 folds"
    with pytest.raises(DataError, match=message):
        SplitRule.of("80/10/10", 42, None, None, "folds:5").assign(data)
    few = dataclasses.replace(data, texts=data.texts[:29], labels=labels[:29])
    with pytest.raises(DataError, match="use at most 2 folds"):
        SplitRule.of("80/10/10", 42, None, None, "folds:3").assign(few)


@pytest.mark.parametrize("validation", ["folds", "folds:1", "folds:21", "folds:x", "folds:٥", "5", ""])
def test_another_validation_is_refused(validation: str) -> None:
    with pytest.raises(ConfigError, match=rf"folds:K with K from 2 to 20, got '{validation}'"):
        SplitRule.of("80/10/10", 42, None, None, validation)


@pytest.mark.parametrize(
    ("split", "sizes"), [("80/10/10", (160, 20, 20)), ("70/15/15", (140, 30, 30)), ("50/45/5", (100, 90, 10))]
)
def test_a_split_has_the_shares_that_were_asked_for(split: str, sizes: tuple[int, ...]) -> None:
    texts, labels = sentences(200)
    codes, _ = SplitRule.of(split, 42, None, None).assign(
        Dataset(texts=texts, labels=labels, classes=CLASSES, notes={})
    )
    assert tuple(np.bincount(codes, minlength=3)) == sizes
    assert (np.bincount(labels[codes == VAL]) == sizes[1] // 2).all()


def test_a_split_without_test_needs_two_sentences_of_a_class() -> None:
    texts, labels = sentences(4)
    data = Dataset(texts=texts, labels=labels, classes=CLASSES, notes={})
    codes, _ = SplitRule.of("75/25/0", 42, None, None).assign(data)
    assert tuple(np.bincount(codes, minlength=3)) == (2, 2, 0)
    with pytest.raises(DataError, match=r"class 'neg' has 2 distinct sentences .* needs at least 3"):
        SplitRule.of("50/25/25", 42, None, None).assign(data)


@pytest.mark.parametrize(
    ("split", "count", "sizes"), [("10/10/80", 6, (2, 2, 2)), ("10/80/10", 6, (2, 2, 2)), ("10/90/0", 4, (2, 2, 0))]
)
def test_a_small_class_keeps_a_sentence_in_train_whatever_the_shares(
    split: str, count: int, sizes: tuple[int, ...]
) -> None:
    texts, labels = sentences(count)
    data = Dataset(texts=texts, labels=labels, classes=CLASSES, notes={})
    assert tuple(np.bincount(SplitRule.of(split, 42, None, None).assign(data)[0], minlength=3)) == sizes


def test_the_shares_are_part_of_the_key() -> None:
    assert SplitRule.of("70/15/15", 42, None, None).inputs() == {"rule": "70/15/15", "seed": 42, "fold": None}


@pytest.mark.parametrize("split", ["70/15/10", "90/0/10", "80/20/20"])
def test_shares_that_are_not_possible_are_refused(split: str) -> None:
    expected = f"must be whole percentages with the sum 100, of which only TEST may be 0, got '{split}'"
    with pytest.raises(ConfigError, match=expected):
        SplitRule.of(split, 42, None, None)


@pytest.mark.parametrize("n", [10, 101, 1234])
def test_notebook_split_is_that_of_scikit_learn(n: int) -> None:
    from sklearn.model_selection import train_test_split

    texts, _ = sentences(n)
    train, val = train_test_split(np.arange(n), test_size=0.1, random_state=42)
    codes = notebook_split(texts)
    assert np.flatnonzero(codes == VAL).tolist() == sorted(val.tolist())
    assert np.flatnonzero(codes == TRAIN).tolist() == sorted(train.tolist())


def test_in_the_notebook_split_copies_follow_the_first() -> None:
    texts = [f"sentence {i % 50}{'!' * (i // 50)}" for i in range(100)]
    codes = notebook_split(texts)
    assert (codes[:50] == codes[50:]).all()
    assert set(codes.tolist()) == {TRAIN, VAL}


@pytest.mark.parametrize("texts", [[], ["one"], ["same", "SAME"], ["a"] * 3 + ["b"] + ["a"] * 6])
def test_notebook_split_needs_two_sides(texts: list[str]) -> None:
    expected = f"got {len(texts)} with copies, which leave train or validation empty; .* choose another --split$"
    with pytest.raises(DataError, match=expected):
        notebook_split(texts)


def test_a_split_column_is_read_in_any_case_and_by_its_usual_names() -> None:
    cells = ("train", "Validation ", "TEST", "dev", "val", "valid", "training", "testing")
    assert [parse_split_value(cell) for cell in cells] == [TRAIN, VAL, TEST, VAL, VAL, VAL, TRAIN, TEST]


def rows(values: list[str], labels: list[int]) -> Dataset:
    """Return different sentences with these values of the split column."""
    texts, _ = sentences(len(values))
    codes = np.array([parse_split_value(value) for value in values], dtype=np.uint8)
    return Dataset(texts=texts, labels=np.array(labels), classes=CLASSES, split=codes, notes={})


@pytest.mark.parametrize(("values", "absent"), [(["train", "test"], "val"), (["val", "test"], "train")])
def test_a_split_column_needs_train_and_val(values: list[str], absent: str) -> None:
    with pytest.raises(DataError, match=f"the split column has no row {absent}; pass --validation folds:5, add"):
        SplitRule.of("column", 42, None, "part").assign(rows(values, [0, 1]))


def test_a_split_column_needs_no_val_for_validation_in_folds() -> None:
    rule, data = SplitRule.of("column", 42, None, "part", "folds:2"), rows(["train"] * 4 + ["test"], [0, 1, 0, 1, 0])
    codes, folds = rule.assign(data)
    assert codes.tolist() == [TRAIN] * 4 + [TEST]
    assert folds is not None
    assert sorted(folds.tolist()) == [0, 0, 1, 1, NO_FOLD]


def test_a_class_may_have_all_its_sentences_in_val_for_validation_in_folds() -> None:
    data = rows(["train", "train", "val", "val"], [0, 0, 1, 1])
    rule = SplitRule.of("column", 42, None, "part", "folds:2")
    assert rule.assign(data)[0].tolist() == [TRAIN] * 4
    with pytest.raises(DataError, match="class 'pos' has no sentence in train; add some, or leave out the class"):
        SplitRule.of("column", 42, None, "part").assign(data)


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "90/10",
        "folds:",
        "folds:x",
        "folds:-3",
        "Notebook",
        "folds:99999",
        "folds:٥",
        "8٠/10/10",
        "080/10/10",
        "100/0/0",
    ],
)
def test_an_unknown_rule_is_refused_by_value(rule: str) -> None:
    expected = f"split must be TRAIN/VAL/TEST in percent such as 80/10/10, notebook or column, got {rule!r}"
    with pytest.raises(ConfigError, match=expected):
        SplitRule.of(rule, 1, None, None)


@pytest.mark.parametrize(("rule", "usual"), [("folds:5", 5), ("folds:1", 2), ("folds:50", 20)])
def test_folds_without_a_fold_are_refused_with_the_option_for_validation(rule: str, usual: int) -> None:
    message = (
        rf"is for load_corpus\(fold=\.\.\.\), got '{rule}' without a fold; did you mean --validation folds:{usual}\?"
    )
    with pytest.raises(ConfigError, match=message):
        SplitRule.of(rule, 1, None, None)


@pytest.mark.parametrize("fold", [1.5, True, 5, -1])
def test_a_fold_that_is_none_is_refused(fold: Any) -> None:
    with pytest.raises(ConfigError, match=f"fold must be a whole number from 0 to 4 with split folds:5, got {fold}"):
        SplitRule.of("folds:5", 1, fold, None)


def test_two_folds_are_too_few() -> None:
    with pytest.raises(ConfigError, match=r"needs K of at least 3 .* got 2"):
        SplitRule.of("folds:2", 1, 0, None)


def test_a_fold_without_folds_is_refused() -> None:
    with pytest.raises(ConfigError, match="fold is for split folds:K only, got fold 1 with split 'notebook'"):
        SplitRule.of("notebook", 1, 1, None)


def test_groups_point_at_the_first_copy() -> None:
    assert duplicate_groups(["a b", "c", "A-B!", "C"]).tolist() == [0, 1, 0, 1]


def test_normalise_drops_case_punctuation_and_space() -> None:
    assert (
        normalize_text(" A\tgood\r\nfilm -- really!\u200b\u00a0\u200d\ufeff")
        == normalize_text("a Good, film (really)")
        == "agoodfilmreally"
    )


def test_normalise_keeps_texts_of_punctuation_apart() -> None:
    assert normalize_text(":)") == ":)"
    assert normalize_text(":)") != normalize_text(":(")
    assert normalize_text("  ") == ""


def test_normalise_keeps_emoji() -> None:
    assert normalize_text("Great 😀") != normalize_text("Great 😡")


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_normalise_twice_changes_nothing(text: str) -> None:
    assert normalize_text(normalize_text(text)) == normalize_text(text)


def test_texts_that_have_a_row_for_each_of_their_labels_are_counted() -> None:
    """No text of the second class comes first."""
    texts = [f"question {i // 2}" for i in range(18)]
    said = r"'pos' has 0 distinct sentences \(9 in all\), .*; texts with several labels, .*: 9; keep one label of each$"
    with pytest.raises(DataError, match=said):
        stratified_split(texts, np.arange(18) % 2, CLASSES, 42)


def test_accents_are_normalised_to_one_form() -> None:
    assert normalize_text("Cafe\u0301!") == normalize_text("caf\xe9")


def test_a_turkish_capital_i_with_its_dot_equals_the_small_letter() -> None:
    assert normalize_text("İyi film") == normalize_text("iyi film")


def test_all_classes_without_a_sentence_in_train_are_named() -> None:
    data = dataclasses.replace(rows(["train", "val", "test"], [0, 1, 2]), classes=("neg", "new", "pos"))
    expected = "classes 'new', 'pos' have no sentence in train; add some, or leave out the classes$"
    with pytest.raises(DataError, match=expected):
        SplitRule.of("column", 42, None, "part").assign(data)
