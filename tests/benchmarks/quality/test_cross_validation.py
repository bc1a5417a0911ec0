"""The baseline is evaluated on the folds of confirm, and a study's row is what confirm stored."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.cross_validation import OverFolds, difference, of_study, plain, refit_fold
from core import TrialConfig, load_corpus
from core.data import splits
from core.data.corpus import TEST, Dataset
from tuning.confirm.execution import train_run
from tuning.journal.predictions import pack_labels
from tuning.resources.machine import TrialResources

WORDS = ("bad", "good")


def data(count: int = 90) -> Dataset:
    """Sentences whose class one word determines."""
    labels = np.arange(count) % 2
    texts = [f"{WORDS[label]} word{number} thing{number % 7}" for number, label in enumerate(labels)]
    return Dataset(texts=texts, labels=labels, classes=WORDS, notes={})


def fold(number: int, correct: list[int], folds: int = 3) -> dict[str, object]:
    """The outcome of a run as `confirm` stores it."""
    return {"trial": 4, "fold": number, "folds": folds, "correct": pack_labels(np.array(correct))}


def test_every_sentence_is_evaluated_once_on_the_folds_of_confirm() -> None:
    found = plain(data(), 3, seed=5)
    sizes = [int((splits.fold_split(data().texts, data().labels, WORDS, 3, k, 5) == TEST).sum()) for k in range(3)]
    assert [[len(each) for each in row.correct] for row in found] == [sizes, sizes]
    assert sum(sizes) == 90


def test_the_baseline_learns_from_single_words_and_nothing_from_the_test_split() -> None:
    assert all(accuracy == 1 for row in plain(data(), 3, seed=5) for accuracy in row.accuracies)
    lonely = data()  # each word occurs in one sentence only
    lonely = Dataset(texts=[f"word{n}" for n in range(90)], labels=lonely.labels, classes=WORDS, notes={})
    assert all(accuracy < 0.7 for row in plain(lonely, 3, seed=5) for accuracy in row.accuracies)


def test_a_study_s_row_has_its_folds_in_order_and_no_other_runs() -> None:
    attributes = {
        "confirm:4:7:1/3": fold(1, [1, 0]),
        "confirm:4:7:0/3": fold(0, [1, 1]),
        "confirm:4:7:2/3": fold(2, [0, 0]),
        "confirm:4:7:0/5": fold(0, [0, 0], folds=5),
        "confirm:4:7": {"trial": 4, "fold": None, "folds": None, "correct": pack_labels(np.array([1]))},
        "spec": {},
    }
    found = of_study(attributes, 3, 4)
    assert found.accuracies == [1.0, 0.5, 0.0]
    assert found.name == "sentune, trial 4"


def test_a_study_that_lacks_folds_is_refused() -> None:
    with pytest.raises(SystemExit, match="lacks 2 of 3 folds"):
        of_study({"confirm:4:7:1/3": fold(1, [1, 0])}, 3, 4)


@pytest.mark.slow
def test_a_refit_learns_the_fold_that_confirm_wrote_down_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTUNE_CACHE", str(tmp_path / "cache"))
    table = tmp_path / "data.csv"
    rows = [f"{text},{data().classes[label]}" for text, label in zip(data().texts, data().labels, strict=True)]
    table.write_text("text,label\n" + "\n".join(rows))
    read = {"dataset": str(table), "vectors": "none", "embedding_dim": 8, "seed": 5}
    spec = {"data": {**read, "validation": "folds:2"}, "threads": 1}  # the split of the search
    config = TrialConfig(hidden_dim=8, epochs=6, batch_size=8, learning_rate=0.02)
    corpus = load_corpus(**read, split="folds:3", fold=1)
    found = train_run(config.replace(seed=7).to_dict(), corpus, TrialResources(), str(tmp_path / "checkpoints"))
    run = {"fold": 1, "folds": 3, "seed": 7, **found}
    correct = refit_fold(config, spec, run)
    assert len(correct) == len(corpus.indices(TEST))
    assert correct.mean() > 0.9
    with pytest.raises(RuntimeError, match="fold 1 was not reproduced: its best epoch or validation loss differs"):
        refit_fold(config, spec, run | {"seed": 8})


def test_a_difference_is_in_points_and_only_for_the_same_sentences() -> None:
    right, half = np.ones(10, dtype=bool), np.arange(10) % 2 == 0
    one, other = OverFolds(name="a", correct=[right, right]), OverFolds(name="b", correct=[half, half])
    assert difference(one, other) == "+50.00 +- 0.00 points | 0.002"
    with pytest.raises(SystemExit, match="a was evaluated on other sentences; run confirm again"):
        difference(one, OverFolds(name="b", correct=[half, half[:9]]))
