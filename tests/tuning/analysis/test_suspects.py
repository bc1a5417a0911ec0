"""Sentences whose label is most likely wrong."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.cells import cell_len

from core.data.corpus import TEST, VAL
from core.data.load import load_corpus
from core.errors import DataError
from core.log_odds import round_log_odds
from tests.support.assessed_studies import SPEC, attributes, trial, write_study
from tests.support.cli import sentune
from tests.support.epochs import epoch
from tuning.analysis.suspects import (
    _fold_files,
    find_suspects,
    mean_probabilities,
    suspects_of,
    suspects_table,
    suspects_text,
)
from tuning.confirm.runs import ConfirmRun
from tuning.journal.predictions import pack_labels
from tuning.journal.probabilities import epoch_name, file_name, pack_log_odds, save_probabilities
from tuning.journal.records import read_study


def test_the_most_confident_contradiction_comes_first_and_agreement_is_left_out() -> None:
    labels = np.array([0, 0, 1, 0])
    probabilities = np.array([[0.4, 0.6], [0.9, 0.1], [0.8, 0.2], [0.5, 0.5]])
    found = find_suspects(labels, probabilities, ["neg", "pos"], ["mild", "right", "wrong", "even"])
    assert [(each.sentence, each.label, each.predicted, each.text) for each in found] == [
        (2, "pos", "neg", "wrong"),
        (0, "neg", "pos", "mild"),
    ]
    assert (found[0].label_probability, found[0].predicted_probability) == (0.2, 0.8)


def test_similar_names_of_classes_stay_different_in_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    similar = ["card payment fee charged", "card payment fee wrong"]
    found = find_suspects(np.array([0]), np.array([[0.2, 0.8]]), similar, ["a text"])
    monkeypatch.setattr("tuning.analysis.suspects.suspects_of", lambda *_: (found, 1))
    monkeypatch.setattr(
        "tuning.analysis.suspects.load_corpus", lambda **_: SimpleNamespace(fingerprint=SPEC["fingerprint"])
    )
    write_study(tmp_path, [trial(0, [])], attributes())
    row = suspects_text(tmp_path, None, "text").splitlines()[2]
    assert row.split("  ")[-5:] == [similar[0], "0.20", similar[1], "0.80", "a text"]


@pytest.mark.parametrize(("columns", "below"), [("120", False), ("80", False), ("60", True)])
def test_the_table_is_as_wide_as_the_terminal(columns: str, below: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    classes, texts = ["a rather long name of a class", "体育新闻"], ["word " * 50, "新闻" * 50]
    found = find_suspects(np.array([0, 1]), np.array([[0.2, 0.8], [0.7, 0.3]]), classes, texts)
    table = "\n".join(suspects_table(found)).splitlines()
    assert len(table) == (7 if below else 4)
    assert max(map(cell_len, table)) <= int(columns)
    assert all(line.endswith("...") for line in (table[4::2] if below else table[2:]))


def store(folder: Path, name: str, probabilities: np.ndarray) -> None:
    save_probabilities(folder, name, pack_log_odds(round_log_odds(np.log(probabilities))))


def test_the_best_quarter_of_the_trials_counts(tmp_path: Path) -> None:
    trials = [trial(number, range(40 - 5 * number)) for number in range(5)]  # the best quarter: 4 and 3
    for number in range(5):
        share = 0.5 + number / 10
        store(tmp_path, epoch_name(number, 2), np.full((200, 2), [share, 1 - share]))
    found = mean_probabilities(tmp_path, trials, 200, 2)
    assert found is not None
    assert found.shape == (200, 2)
    assert found[0] == pytest.approx([0.85, 0.15], abs=1e-3)


def test_probabilities_of_another_epoch_do_not_count(tmp_path: Path) -> None:
    store(tmp_path, epoch_name(0, 1), np.full((200, 2), 0.5))
    assert mean_probabilities(tmp_path, [trial(0, [])], 200, 2) is None


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of a file, validated on its split of 8 sentences; trial 0 is sure that the first label is wrong."""
    rows = [f"Ticket No. {i} about \x1b[31mpage {i * 7},{'ab'[i % 2]}" for i in range(80)]
    (tmp_path / "tickets.csv").write_text("\n".join(["text,label", *rows]))
    data = {"dataset": str(tmp_path / "tickets.csv"), "vectors": "none", "embedding_dim": 4, "validation": "split"}
    columns = dict.fromkeys(("text_column", "label_column", "split_column", "encoding"))
    corpus = load_corpus(**data, **columns, cache_dir=tmp_path / "cache")  # type: ignore[arg-type]
    labels = corpus.labels[corpus.indices(VAL)]
    spec = SPEC | {"data": data | columns, "fingerprint": corpus.fingerprint}
    kept = {"spec": spec, "validation": {"labels": pack_labels(labels), "classes": list(corpus.classes)}}
    record = trial(0, [], epochs=(epoch(1, 7 / 8),), predictions=(pack_labels(labels),))
    write_study(tmp_path / "tickets", [record], kept)
    probabilities = np.where(labels[:, None] == np.arange(2), 0.9, 0.1)
    probabilities[0] = probabilities[0, ::-1]
    store(tmp_path / "tickets", epoch_name(0, 1), probabilities)
    return tmp_path / "tickets"


def test_data_lists_them_in_three_formats(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data", "--suspects", str(study), "--cache-dir", str(study.parent / "cache"))
    status, out, _ = sentune(monkeypatch, capsys, *words)
    assert status == 0
    assert "in 1 of 8 sentences, the most probable class is not the label" in out
    assert "only the validation split was checked; to check all sentences, run:" in out
    assert " confirm " in out
    assert "\x1b" not in out
    _, out, _ = sentune(monkeypatch, capsys, *words, "--format", "json")
    (suspect,) = json.loads(out)
    assert suspect["sentence"] == 0
    assert suspect["label_probability"] == pytest.approx(0.1, abs=1e-3)
    assert suspect["text"].startswith("Ticket No. 2 ")  # the first sentence of the validation split
    _, out, _ = sentune(monkeypatch, capsys, *words, "--format", "csv")
    assert out.splitlines()[0] == "sentence,label,predicted,label_probability,predicted_probability,text"
    assert "\x1b[31mpage" in out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, out, _ = sentune(monkeypatch, capsys, *words, "--format", "csv")
    assert r"\x1b[31mpage" in out


def test_over_folds_the_best_setting_by_the_studys_metric_counts(study: Path) -> None:
    """Trial 1 has the higher accuracy and the higher log loss; it contradicts each label."""
    cache = study.parent / "cache"
    attributes, records = read_study(study)
    spec = attributes["spec"] | {"metric": "log_loss"}
    runs: dict[str, dict[str, float]] = {}
    for number, figures in enumerate(({"log_loss": 0.3, "accuracy": 0.8}, {"log_loss": 0.5, "accuracy": 0.9})):
        for fold in range(3):
            run = ConfirmRun(trial=number, seed=5, config={}, split=f"folds:3 fold {fold}", fold=fold, folds=3)
            runs[run.key] = {"trial": number, "seed": 5, "fold": fold, "folds": 3}
            runs[run.key] |= {f"test_{name}": value for name, value in figures.items()}
            corpus = load_corpus(**{**spec["data"], "split": "folds:3", "fold": fold}, cache_dir=cache)
            right = corpus.labels[corpus.indices(TEST)][:, None] == np.arange(2)
            store(study, file_name(run.key), np.where(right == (number == 0), 0.9, 0.1))
    assert suspects_of(study, {**attributes, "spec": spec, **runs}, records, cache) == ([], 80)


def test_over_folds_the_columns_are_those_of_the_study(study: Path) -> None:
    """The split column looks like labels too."""
    file, cache = study.parent / "tickets.csv", study.parent / "cache"
    rows = [f"a film of number {i},{'train' if i % 4 else 'val'},{1000 + i % 2}" for i in range(24)]
    file.write_text("\n".join(["sentence,side,y", *rows]))
    attributes, records = read_study(study)
    data = {**attributes["spec"]["data"], "split": "column", "split_column": "side"}
    corpus = load_corpus(**data, cache_dir=cache)
    spec = {**attributes["spec"], "data": data, "fingerprint": corpus.fingerprint}
    runs = {}
    for fold in range(3):
        run = ConfirmRun(trial=0, seed=5, config={}, split=f"folds:3 fold {fold}", fold=fold, folds=3)
        runs[run.key] = {"trial": 0, "seed": 5, "fold": fold, "folds": 3, "test_accuracy": 0.5}
        labels = load_corpus(**{**data, "split": "folds:3", "fold": fold}, cache_dir=cache)
        right = labels.labels[labels.indices(TEST)][:, None] == np.arange(2)
        store(study, file_name(run.key), np.where(right, 0.9, 0.1))
    validation = {**attributes["validation"], "classes": list(corpus.classes)}
    found = suspects_of(study, {**attributes, "spec": spec, "validation": validation, **runs}, records, cache)
    assert found == ([], 24)


def test_data_that_were_moved_are_read_at_their_new_path(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = study.parent / "moved.csv"
    (study.parent / "tickets.csv").rename(moved)
    words = ("data", "--suspects", str(study), "--cache-dir", str(study.parent / "cache"))
    status, _, err = sentune(monkeypatch, capsys, *words)
    assert status == 2
    command = f"sentune data PATH --suspects {study} --cache-dir {study.parent / 'cache'}"
    assert f"tickets.csv: no such file; if it was moved, pass its new path: {command}" in err
    for _ in range(2):
        status, out, _ = sentune(monkeypatch, capsys, *words, str(moved))
        assert status == 0
        assert "in 1 of 8 sentences" in out
        assert f" --folds 5 --dataset {moved} --cache-dir {study.parent / 'cache'}\n" in out
        shutil.rmtree(study.parent / "cache")  # the data are prepared again
    moved.write_text(moved.read_text().replace("Ticket", "Note"))
    status, _, err = sentune(monkeypatch, capsys, *words, str(moved))
    assert status == 2
    assert (
        "moved.csv, the word vectors, or the version of sentune, NLTK or regex, has changed since the study was" in err
    )


def test_vectors_that_were_moved_are_named_with_their_option(study: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.vec: no such file; .* data --vectors PATH --suspects "):
        suspects_text(study, None, "text", vectors=str(study.parent / "gone.vec"))
    new = study.parent / "new.csv"
    new.touch()
    with pytest.raises(DataError, match=rf"data {new} --vectors PATH --suspects "):  # what was passed is kept
        suspects_text(study, None, "text", dataset=str(new), vectors=str(study.parent / "gone.vec"))


def test_folds_that_are_not_numbered_from_0_do_not_count(study: Path) -> None:
    attributes, records = read_study(study)
    run = {"trial": 0, "seed": 5, "folds": 3, "test_accuracy": 1}
    runs = {f"confirm:0:5:{fold}/3": {**run, "fold": fold} for fold in (1, 2, 3)}
    assert suspects_of(study, {**attributes, **runs}, records, study.parent / "cache")[1] == 8


def test_a_study_without_probabilities_is_one_line(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "probabilities" / "00000-1.npz").unlink()
    status, _, err = sentune(monkeypatch, capsys, "data", "--suspects", str(study))
    assert status == 2
    assert "study 'tickets' has no probabilities yet; run its command until a trial has ended, or restore" in err


def test_which_run_ended_first_does_not_choose_the_setting() -> None:
    accuracies = {3: (0.81, 0.79, 0.80, 0.82, 0.78), 8: (0.78, 0.82, 0.80, 0.79, 0.81)}  # with equal means
    runs = {
        f"confirm:{trial}:7:{fold}/5": {"trial": trial, "seed": 7, "folds": 5, "fold": fold, "test_accuracy": value}
        for trial, values in accuracies.items()
        for fold, value in enumerate(values)
    }
    spec = {"spec": {"metric": "accuracy"}}
    assert _fold_files({**spec, **runs}) == _fold_files({**spec, **dict(reversed(runs.items()))})
