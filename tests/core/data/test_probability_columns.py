"""Columns with probabilities: their classes, valid rows, and their use in a corpus."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.audit import render_audit
from core.data.corpus import TRAIN, Corpus
from core.data.load import load_corpus, load_texts
from core.data.probability_columns import labels_of_classes, parse_names, read_targets
from core.errors import ConfigError, DataError
from core.io.text import quoted
from tests.support.reviews import table


def test_columns_are_put_in_the_order_of_the_classes() -> None:
    found = table(label=["neg", "pos"], p_pos=["0.25", "1"], probability_neg=["0.75", "0"])
    labels, classes, targets = read_targets(found, "label", ["p_pos", "probability_neg"])
    assert (labels.tolist(), classes) == ([0, 1], ("neg", "pos"))
    assert targets is not None
    assert targets.dtype == np.float32
    assert targets.tolist() == [[0.75, 0.25], [0.0, 1.0]]


def test_classes_named_like_their_columns_keep_the_prefix() -> None:
    found = table(label=["p_a", "p_b"], p_a=["0.75", "0"], p_b=["0.25", "1"])
    _, classes, targets = read_targets(found, "label", ["p_b", "p_a"])
    assert classes == ("p_a", "p_b")
    assert targets is not None
    assert targets.tolist() == [[0.75, 0.25], [0.0, 1.0]]


def test_without_labels_a_sentence_has_its_most_probable_class() -> None:
    columns = {"p_10": ["0.2", "0.5", "1"], "p_9": ["0.8", "0.5", "0"]}
    labels, classes, _ = read_targets(table(**columns), None, list(columns))
    assert classes == ("9", "10")  # as numbers
    assert labels.tolist() == [0, 0, 1]


def test_without_columns_there_are_no_targets() -> None:
    labels, classes, targets = read_targets(table(label=["b", "a"]), "label", [])
    assert (labels.tolist(), classes, targets) == ([1, 0], ("a", "b"), None)


def test_a_sentence_without_probabilities_keeps_its_label() -> None:
    found = table(label=["a", "b"], a=["0.25", None], b=["0.75", " "])
    labels, _, targets = read_targets(found, "label", ["a", "b"])
    assert targets is not None
    assert targets.tolist() == [[0.25, 0.75], [0.0, 1.0]]
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize("shares", [("0.333", "0.333", "0.33"), ("0.33", "0.33", "0.33"), ("0.17", "0.67", "0.17")])
def test_rounded_probabilities_are_normalised(shares: tuple[str, ...]) -> None:
    a, b, c = ([share] * 2 for share in shares)
    _, _, targets = read_targets(table(a=a, b=b, c=c), None, ["a", "b", "c"])
    assert targets is not None
    assert targets.sum(axis=1) == pytest.approx([1, 1], abs=1e-7)


@pytest.mark.parametrize(
    ("columns", "names", "problem"),
    [
        ({"p_a": ["1"], "p_b": ["x"]}, "p_a,p_b", r"line 2: column 'p_b' must be a number from 0 to 1, got 'x'"),
        (
            {"p_a": ["1"], "p_b": ["nan"]},
            "p_a,p_b",
            r"line 2: column 'p_b' must be a number from 0 to 1, got 'nan'",
        ),
        (
            {"p_a": ["inf"], "p_b": ["0"]},
            "p_a,p_b",
            r"line 2: column 'p_a' must be a number from 0 to 1, got 'inf'",
        ),
        ({"p_a": ["-.1"], "p_b": ["1.1"]}, "p_a,p_b", r"column 'p_a' must be a number from 0 to 1, got '-\.1'"),
        (
            {"p_a": [None], "p_b": ["1"]},
            "p_a,p_b",
            r"line 2: column 'p_a' must be a number from 0 to 1, got an empty cell",
        ),
        (
            {"p_a": ["1", ".5"], "p_b": ["0", ".3"]},
            "p_a,p_b",
            r"line 3: probabilities must have the sum 1, got 0\.8 \(p_a 0\.5, p_b 0\.3\)",
        ),
        ({"p_a": ["30"], "p_b": ["70"]}, "p_a,p_b", r"line 2: column 'p_a' must be a number from 0 to 1, got '30'"),
        ({"p_a": ["1e308"], "p_b": ["1e308"]}, "p_a,p_b", r"column 'p_a' must be a number from 0 to 1, got '1e308'"),
        ({"p_a": ["0"], "p_b": ["0"]}, "p_a,p_b", r"line 2: probabilities must have the sum 1, got 0 "),
        (
            {f"p_{k}": ["0.00"] for k in range(200)},
            ",".join(f"p_{k}" for k in range(200)),
            r"line 2: probabilities must have the sum 1, got 0 ",
        ),
        (
            {f"p_{k}": ["0.005"] for k in range(600)},
            ",".join(f"p_{k}" for k in range(600)),
            r"line 2: probabilities must have the sum 1, got 3 ",
        ),
        ({"p_a": ["1"]}, "p_a,p_b", r"no column 'p_b'; choose --probability-columns from 'p_a'"),
        (
            {"label": ["1", "2"], "1": ["1", "0"], "1.0": ["1", "0"], "2": ["0", "1"]},
            "1,1.0,2",
            r"column '1' and '1\.0' have the same class '1'; rename it",
        ),
        ({"p_a": ["1"], "a": ["0"]}, "p_a,a", r"column 'p_a' and 'a' have the same class 'a'; rename it"),
        ({"p_": ["1"], "a": ["0"]}, "p_,a", r"column 'p_' names no class; rename it"),
        (
            {"p_a": ["1", "1"], "p_b": ["0", "0"], "label": ["a", "c"]},
            "p_a,p_b",
            r"--probability-columns and label column 'label' must have the same classes, only one of the two has "
            r"'b', 'c'; pass one column for",
        ),
    ],
)
def test_what_is_no_probability_is_named(columns: dict[str, list[str | None]], names: str, problem: str) -> None:
    label = "label" if "label" in columns else None
    with pytest.raises(DataError, match=rf"data\.csv.*{problem}"):
        read_targets(table(**columns), label, parse_names(names))


@pytest.mark.parametrize("names", ["p_a", "", "p_a,,p_b", "p_a, p_a", "p_a\nx,p_b", ",".join(map(str, range(1001)))])
def test_fewer_than_two_columns_or_too_many_are_refused(names: str) -> None:
    message = f"--probability-columns must be 2 to 1,000 different columns, separated by commas, got {quoted(names)}"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        parse_names(names)


def test_a_name_with_a_comma_is_quoted_as_in_csv() -> None:
    names = parse_names('"p_a, b", "p_""c""",p_d')
    assert names == ["p_a, b", 'p_"c"', "p_d"]
    found = table(**{"p_a, b": ["0.5"], 'p_"c"': ["0.25"], "p_d": ["0.25"]})
    assert read_targets(found, None, names)[1] == ('"c"', "a, b", "d")


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """Arguments of load_corpus for a file with soft labels, of which those of every fourth sentence are wrong."""
    rows = []
    for i in range(80):
        p_a = 0.75 if (i % 2 == 0) == (i % 4 > 0) else 0.125
        rows.append(f"Ticket No. {i} about page {i * 7},{'ab'[i % 2]},{p_a},{1 - p_a}")
    path = tmp_path / "tickets.csv"
    path.write_text("\n".join(["text,label,p_a,p_b", *rows]))
    return {"dataset": str(path), "vectors": "none", "embedding_dim": 4, "cache_dir": tmp_path / "cache"}


def test_a_corpus_keeps_them_in_the_cache(data: dict[str, Any]) -> None:
    def load() -> Corpus:
        return load_corpus(**data, text_column="text", label_column="label", probability_columns="p_a,p_b")

    corpus = load()
    assert corpus.targets is not None
    assert corpus.targets.shape == (80, 2)
    assert not corpus.targets.flags.writeable
    assert set(corpus.targets[:, 0].tolist()) == {0.75, 0.125}
    assert corpus.source["probability_columns"] == ["p_a", "p_b"]
    again = load()
    assert again.fingerprint == corpus.fingerprint
    assert np.array_equal(again.targets, corpus.targets)
    plain = load_corpus(**data, text_column="text", label_column="label")
    assert plain.targets is None
    assert plain.fingerprint != corpus.fingerprint
    assert np.array_equal(plain.labels, corpus.labels)


def test_the_audit_says_how_far_they_agree_with_the_labels(data: dict[str, Any]) -> None:
    corpus = load_corpus(**data, probability_columns="p_a,p_b")
    assert corpus.targets is not None
    train = corpus.indices(TRAIN)
    agree = (corpus.targets[train].argmax(axis=1) == corpus.labels[train]).mean()
    assert 0.4 < agree < 0.9
    found = corpus.source["audit"]
    assert found["soft_labels"]["agree"] == pytest.approx(agree, abs=1e-4)
    assert found["soft_labels"]["mean_probability"] == pytest.approx(corpus.targets[train].max(axis=1).mean(), abs=1e-4)
    assert f"the most probable class is the label in {agree:.1%}" in render_audit(found)


def test_without_a_label_column_the_probabilities_are_enough(data: dict[str, Any], tmp_path: Path) -> None:
    """As in the table that `predict --probabilities` writes for sentences without labels."""
    path = tmp_path / "predicted.csv"
    header = "review,predicted_label,predicted_probability,probability_neg,probability_pos"
    rows = [f"Ticket No. {i} about page,{'pos' if i % 3 else 'neg'},0.9,{0.1 if i % 3 else 0.9},{0.9 if i % 3 else 0.1}"
            for i in range(60)]  # fmt: skip
    path.write_text("\n".join([header, *rows]))
    arguments = {**data, "dataset": str(path), "probability_columns": "probability_neg,probability_pos"}
    corpus = load_corpus(**arguments)
    assert corpus.classes == ("neg", "pos")
    assert corpus.labels.tolist() == [int(i % 3 > 0) for i in range(60)]
    assert corpus.source["label_column"] is None
    assert "no label column: validation and test are measured against the most probable class; pass --label-c" in (
        render_audit(corpus.source["audit"])
    )
    texts = load_texts(arguments, corpus.fingerprint, data["cache_dir"])
    assert texts[7] == "Ticket No. 7 about page"
    path.write_text("\n".join([header, *rows, "No. 60 without a probability,pos,,,"]))
    with pytest.raises(DataError, match="line 62: column 'probability_neg' must be a number from 0 to 1, got ''"):
        load_corpus(**arguments)
    assert len(load_corpus(**arguments, drop_missing=True).labels) == 60


@pytest.mark.parametrize("queue", ["ab", "12"])
def test_the_label_column_is_the_one_with_the_classes_of_the_probabilities(
    data: dict[str, Any], tmp_path: Path, queue: str
) -> None:
    """The teacher, whose most probable class is in `predicted_label`, is always wrong."""
    one, other = queue
    path = tmp_path / "tickets.csv"
    rows = [
        f"Ticket No. {i} about page,{(one, other)[i % 2]},{(other, one)[i % 2]},{i % 2},{1 - i % 2},{'xyz'[i % 3]}"
        for i in range(60)
    ]
    path.write_text("\n".join([f"body,queue,predicted_label,p_{one},p_{other},team", *rows]))
    corpus = load_corpus(**data, probability_columns=f"p_{one},p_{other}")
    assert corpus.source["label_column"] == "queue"
    assert corpus.labels.tolist() == [i % 2 for i in range(60)]
    shown = render_audit(corpus.source["audit"])
    assert "columns     text 'body', label 'queue'\n" in shown
    assert "no label column" not in shown


@pytest.mark.parametrize(
    "others",
    [
        {"queue": ["a", "a"]},
        {"queue": ["a", None]},
        {"queue": ["a", "b"], "second": ["b", "a"]},
        {"predicted_label": ["a", "b"]},
        {"queue": ["a", "c"]},
    ],
)
def test_columns_of_other_values_and_several_of_the_classes_are_no_labels(others: dict[str, list[str | None]]) -> None:
    found = table(text=["a", "b"], p_a=["1", "0"], p_b=["0", "1"], **others)
    assert labels_of_classes(found, ["p_a", "p_b"], {"text", "p_a", "p_b"}) is None


def test_the_share_of_unknown_words_is_no_label() -> None:
    found = table(text=["a", "b"], p_0=["1", "0"], p_1=["0", "1"], unknown_words=["0.0", "1.0"])
    assert labels_of_classes(found, ["p_0", "p_1"], {"text", "p_0", "p_1"}) is None
