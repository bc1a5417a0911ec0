"""The section about mistakes: scores and confusions of the winner, and doubtful labels."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.inputs.recorded_study import record_study
from core.class_report import class_report, confusion_matrix
from core.data.corpus import VAL
from core.data.load import load_corpus
from core.log_odds import round_log_odds
from tests.support.pages import made
from tuning.analysis.ranking import read_assessed
from tuning.analysis.trial_detail import ClassResults
from tuning.journal.probabilities import epoch_name, pack_log_odds, save_probabilities
from tuning.report.mistakes import MistakesSection, mistakes_section


def section(labels: list[int], predictions: list[int], classes: tuple[str, ...]) -> MistakesSection:
    confusion = confusion_matrix(np.array(labels), np.array(predictions), len(classes))
    return MistakesSection(
        classes=classes, results=ClassResults(scores=class_report(confusion, classes), confusion=confusion)
    )


def test_confusions_are_the_most_frequent_first() -> None:
    found = section([0, 0, 1, 1, 2, 2, 2], [0, 1, 1, 0, 2, 0, 0], ("a", "b", "c"))
    assert found.confusions == [("c", "a", 2), ("a", "b", 1), ("b", "a", 1)]


def test_shades_go_by_the_share_within_a_class() -> None:
    assert section([0, 0, 0, 0], [0, 0, 0, 1], ("a", "b")).matrix == [[(3, 5), (1, 2)], [(0, 0), (0, 0)]]


def test_without_a_trial_that_has_ended_the_page_does_not_say_that_no_label_is_doubtful(tmp_path: Path) -> None:
    record_study(tmp_path / "s", trials=0)
    found = mistakes_section(read_assessed(tmp_path / "s"), tmp_path)
    assert (found.results, found.suspects) == (None, ())
    missing = "study 's' has no probabilities yet; run its command until a trial has ended, or restore its folder"
    assert found.note == f"The sentences cannot be shown: {missing} probabilities"


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.csv"
    rows = [f"<i>text</i> number {i} about page {i * 7},{'ab'[i % 2]}" for i in range(400)]
    path.write_text("\n".join(["text,label", *rows]))
    return path


@pytest.fixture
def study(tickets: Path, tmp_path: Path) -> Path:
    """A study of that file, which is in the cache next to it; its winner is sure that the first label is wrong."""
    data = {"dataset": str(tickets), "vectors": "none", "embedding_dim": 4, "seed": 42, "text_column": None,
            "label_column": None, "split_column": None, "encoding": None}  # fmt: skip
    corpus = load_corpus(**data, cache_dir=tmp_path / "cache")  # type: ignore[arg-type]
    labels = corpus.labels[corpus.indices(VAL)]
    folder = tmp_path / "s"
    record_study(folder, data=data, fingerprint=corpus.fingerprint, labels=labels, sentences=len(labels))
    winner = read_assessed(folder).winner
    assert winner is not None
    assert winner.best_epoch is not None
    probabilities = np.where(labels[:, None] == np.arange(2), 0.9, 0.1)
    probabilities[0] = probabilities[0, ::-1]
    name = epoch_name(winner.trial, winner.best_epoch)
    save_probabilities(folder, name, pack_log_odds(round_log_odds(np.log(probabilities))))
    return folder


@pytest.mark.slow
def test_doubtful_labels_are_shown_with_their_sentence(study: Path, tmp_path: Path) -> None:
    page = made(study, cache_dir=tmp_path / "cache")
    assert "Doubtful labels" in page.text
    assert "Sentences for which models that did not see them predict another class than the label" in page.text
    cells = r"<i>text</i> number (\d+) about page \d+(\w+ive)(\d\.\d{3})(\w+ive)(\d\.\d{3})"
    [(number, *shown)] = re.findall(cells, page.text)
    other, label = ("negative", "positive") if int(number) % 2 else ("positive", "negative")
    assert shown == [label, "0.100", other, "0.900"]
    assert f"{read_assessed(study).assessment.sentences} sentences were checked." in page.text


@pytest.mark.slow
def test_without_doubtful_labels_the_page_says_how_many_were_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_study(tmp_path / "s", trials=3)
    monkeypatch.setattr("tuning.report.mistakes.suspects_of", lambda *_: ([], 1234))
    assert "None of the 1,234 checked sentences." in made(tmp_path / "s").text


@pytest.mark.slow
def test_without_the_data_the_page_says_so_and_shows_the_rest(study: Path, tickets: Path, tmp_path: Path) -> None:
    note = mistakes_section(read_assessed(study), tmp_path / "empty").note
    assert note == (
        "The sentences cannot be shown: the study's data are not in the cache empty; pass the study's --cache-dir, or "
        "run its command again"
    )
    with tickets.open("a") as file:
        file.write("\none more,a")
    page = made(study, cache_dir=tmp_path / "cache")
    assert "tickets.csv has changed since the study was created; restore the old file" in page.text
    assert "Confusion matrix" in page.text


def test_only_the_first_mistakes_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, predictions = np.divmod(np.arange(36), 6)
    assert len(section(labels.tolist(), predictions.tolist(), tuple("abcdef")).confusions) == 20
    record_study(tmp_path / "s", trials=0)
    monkeypatch.setattr("tuning.report.mistakes.suspects_of", lambda *_: (range(100), 1000))
    found = mistakes_section(read_assessed(tmp_path / "s"), tmp_path)
    assert (found.suspects, found.n_suspects, found.n_checked) == (range(60), 100, 1000)
