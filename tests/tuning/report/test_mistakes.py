"""What the winner gets wrong: counted, ordered, with sentences and confidences where they can be had."""

from pathlib import Path

import numpy as np
import pytest

from core.data.corpus import VAL
from core.data.load import load_corpus
from core.errors import UserError
from tests.support.pages import facts_of, made
from tests.support.recorded_study import record_study
from tuning.report.mistakes import Predictions, mistakes, read_predictions, same_model

ANSWERS = Predictions(
    classes=("a", "b", "c"),
    labels=np.array([0, 0, 1, 1, 2, 2]),
    winner=np.array([0, 1, 1, 0, 2, 0]),
    wrong=np.array([0.0, 0.5, 0.1, 0.9, 0.2, 0.5]),
)
PROBABILITIES = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0, 1, 0], [0.6, 0.4, 0], [0, 0, 1], [0.7, 0, 0.3]])


def test_sentences_are_counted_by_class_and_answer() -> None:
    assert ANSWERS.counts.tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 1]]
    assert ANSWERS.confusions == [("a", "b", 1), ("b", "a", 1), ("c", "a", 1)]


def test_shades_go_by_the_share_within_a_class() -> None:
    answers = Predictions(classes=("a", "b"), labels=np.zeros(4, int), winner=np.array([0, 0, 0, 1]), wrong=np.zeros(4))
    assert answers.matrix == [[(3, 5), (1, 2)], [(0, 0), (0, 0)]]


def test_without_a_model_the_mistakes_of_most_trials_come_first() -> None:
    found = mistakes(ANSWERS, ["s0", "s1", "s2", "s3", "s4", "s5"], None)
    assert [(each.sentence, each.right, each.said, each.text) for each in found] == [
        (3, "b", "a", "s3"),
        (1, "a", "b", "s1"),
        (5, "c", "a", "s5"),
    ]
    assert {each.confidence for each in found} == {None}


def test_with_a_model_the_most_confident_mistakes_come_first() -> None:
    found = mistakes(ANSWERS, None, PROBABILITIES)
    assert [(each.sentence, each.confidence) for each in found] == [(1, 0.8), (5, 0.7), (3, 0.6)]


def test_a_model_that_answers_otherwise_is_another_one() -> None:
    assert same_model(ANSWERS, PROBABILITIES)
    assert not same_model(ANSWERS, np.roll(PROBABILITIES, 1, axis=0))


def test_the_answers_agree_with_the_accuracy_in_the_table(tmp_path: Path) -> None:
    record_study(tmp_path / "s")
    facts = facts_of(tmp_path / "s")
    answers = read_predictions(facts)
    assert answers is not None
    assert facts.winner is not None
    assert np.trace(answers.counts) / answers.counts.sum() == facts.winner.val_accuracy


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.csv"
    rows = [f"<i>text</i> number {i} about page {i * 7},{'ab'[i % 2]}" for i in range(400)]
    path.write_text("\n".join(["text,label", *rows]))
    return path


def study_on(file: Path, folder: Path) -> None:
    """A study of that file, which is in the cache beside it."""
    data = {"dataset": str(file), "vectors": "none", "embedding_dim": 4, "seed": 42, "text_column": None,
            "label_column": None, "split_column": None, "encoding": None}  # fmt: skip
    corpus = load_corpus(**data, cache_dir=file.parent / "cache")
    labels = corpus.labels[corpus.indices(VAL)]
    record_study(folder, data=data, fingerprint=corpus.fingerprint, labels=labels, sentences=len(labels))


@pytest.mark.slow
def test_the_sentences_come_from_the_data_as_they_stand_there(tickets: Path, tmp_path: Path) -> None:
    study_on(tickets, tmp_path / "s")
    page = made(tmp_path / "s", cache_dir=tmp_path / "cache")
    assert "<i>text</i> number" in page.text
    assert "Without confidences: they need the best trial's model" in page.text


@pytest.mark.slow
def test_without_the_data_the_page_says_so_and_shows_the_rest(tickets: Path, tmp_path: Path) -> None:
    study_on(tickets, tmp_path / "s")
    with tickets.open("a") as file:
        file.write("\none more,a")
    page = made(tmp_path / "s", cache_dir=tmp_path / "cache")
    assert "tickets.csv has changed since the study was made: put the old file back" in page.text
    page = made(tmp_path / "s", cache_dir=tmp_path / "empty")
    assert "The sentences cannot be shown: the study's data are not in the cache" in page.text
    assert "Confusion matrix" in page.text


def test_a_model_that_is_named_must_be_there(tickets: Path, tmp_path: Path) -> None:
    study_on(tickets, tmp_path / "s")
    with pytest.raises(
        UserError, match=r"they need the best trial.s model and .*gone is none; make it with sentune retrain"
    ):
        made(tmp_path / "s", cache_dir=tmp_path / "cache", model=tmp_path / "gone")
