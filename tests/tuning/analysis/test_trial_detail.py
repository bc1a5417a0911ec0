"""`best --trial`: one trial with the scores of each class and its confusions."""

import dataclasses
import json
from pathlib import Path

import pytest
from sklearn.metrics import precision_recall_fscore_support

from core.class_report import WIDEST_MATRIX
from core.errors import UserError
from tests.support.assessed_studies import CONFIG, LABELS, SPEC, attributes, trial, write_study
from tests.support.epochs import epoch
from tests.support.golden_study import run
from tuning.analysis.trial_detail import trial_text
from tuning.journal.predictions import pack_labels

WRONG = range(1, 60, 2)
"""Sentences that trial 1 gets wrong: of class b alone."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "mine"
    failed = trial(2, range(5), state="FAIL", error="NaN \x1b[31m", epochs=())
    write_study(folder, [trial(0, range(80)), trial(1, WRONG), failed], attributes())
    return folder


def test_a_loss_is_shown_in_its_own_direction(tmp_path: Path) -> None:
    measured = (dataclasses.replace(epoch(1, 0.8), score=-0.4567),)
    record = trial(0, range(40), config=CONFIG.replace(metric="log_loss").to_dict(), epochs=measured)
    write_study(tmp_path / "s", [record], attributes(spec=SPEC | {"metric": "log_loss"}))
    assert json.loads(trial_text(tmp_path / "s", 0, "json"))["epochs"][0]["val_metric"] == 0.4567
    assert " 0.4567 " in trial_text(tmp_path / "s", 0, "table")


def test_json_has_the_figures_of_scikit_learn(study: Path) -> None:
    found = json.loads(trial_text(study, 1, "json"))
    predictions = LABELS.copy()
    predictions[list(WRONG)] = 0
    expected = precision_recall_fscore_support(LABELS, predictions)
    for at, name in enumerate(("precision", "recall", "f1", "support")):
        assert [each[name] for each in found["classes"]] == pytest.approx(expected[at])
    assert found["confusion"] == [[100, 0], [30, 70]]
    assert (found["trial"], found["state"], found["metric"], found["best_epoch"]) == (1, "COMPLETE", "accuracy", 2)
    assert [epoch["val_metric"] for epoch in found["epochs"]] == [epoch["val_accuracy"] for epoch in found["epochs"]]
    assert found["settings"]["hidden_dim"] == 4
    assert found["classes"][0]["recall_interval"]["low"] > 0.95


def test_the_table_shows_epochs_classes_and_confusions(study: Path) -> None:
    lines = run(study.parent, "best", "mine", "--trial", "1").splitlines()
    assert lines[0] == "trial 1: done, best epoch 2"
    assert any(line.split() == ["2", "0.3000", "0.5000", "0.8500", "0.5"] for line in lines)
    assert any(line.split()[:3] == ["b", "1.000", "0.948-1.000"] for line in lines)
    assert [line.split() for line in lines[-2:]] == [["a", "100", "0"], ["b", "30", "70"]]
    assert max(map(len, lines)) <= 120


def test_more_classes_than_a_matrix_has_columns_are_in_json_alone(tmp_path: Path) -> None:
    for count, has_matrix in ((WIDEST_MATRIX, True), (WIDEST_MATRIX + 1, False)):
        classes = [f"class {number}" for number in range(count)]
        kept = attributes(validation={"labels": pack_labels(LABELS), "classes": classes})
        write_study(tmp_path / f"of-{count}", [trial(0, WRONG)], kept)
        assert ("label \\ predicted" in trial_text(tmp_path / f"of-{count}", 0, "table")) == has_matrix
    last = trial_text(tmp_path / "of-16", 0, "table").splitlines()[-1]
    assert last.startswith("16 classes are too many for a confusion matrix here; it is in the output of ")
    assert last.endswith("of-16 --trial 0 --format json")
    assert len(json.loads(trial_text(tmp_path / "of-16", 0, "json"))["confusion"]) == 16


def test_a_failed_trial_has_its_error_and_no_figures(study: Path) -> None:
    text = trial_text(study, 2, "table")
    assert text.startswith(r"trial 2: failed (NaN \x1b[31m)")
    assert "precision" not in text
    assert json.loads(trial_text(study, 2, "json"))["classes"] is None


def test_a_trial_that_is_not_there_is_named(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^study 'mine' has no trial 7; choose from 0 to 2$"):
        trial_text(study, 7, "table")
    write_study(tmp_path / "new", [], attributes())
    with pytest.raises(UserError, match=r"^study 'new' has no trial 0; run the study first$"):
        trial_text(tmp_path / "new", 0, "table")


def test_names_of_classes_cannot_steer_the_terminal(tmp_path: Path) -> None:
    kept = attributes()
    kept["validation"] = {**kept["validation"], "classes": ["\x1b[31mred", "b" * 500]}
    write_study(tmp_path / "s", [trial(0, range(80))], kept)
    text = trial_text(tmp_path / "s", 0, "table")
    assert r"\x1b[31mred" in text
    assert "bbbbbbbbbbbbbbbbb..." in text
    assert "b" * 21 not in text


def test_in_a_narrow_terminal_numbers_replace_the_names_above_the_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for count in (2, 12):
        classes = [f"long name {number:>2}" for number in range(count)]
        kept = attributes(validation={"labels": pack_labels(LABELS), "classes": classes})
        write_study(tmp_path / f"of-{count}", [trial(0, WRONG)], kept)
        lines = trial_text(tmp_path / f"of-{count}", 0, "table").splitlines()
        assert max(map(len, lines[lines.index("") :])) <= 80
    assert any(line.split() == ["label", "\\", "predicted", *map(str, range(1, 13))] for line in lines)
