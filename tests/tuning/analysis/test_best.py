"""The verb `best`: from a journal to the text for the user."""

import csv
import dataclasses
import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.assessed_studies import (
    AUDIT,
    CONFIG,
    FULL_SPEC,
    SPEC,
    attributes,
    predicting,
    reading,
    trial,
    write_study,
    write_study_with_ensemble,
)
from tests.support.cli import sentune
from tests.support.epochs import epoch
from tests.support.pages import made
from tuning.analysis.best import candidates_text, had_no_choice, members_text, table_of, why_not_corrected
from tuning.analysis.filters import RowFilter, parse_where
from tuning.analysis.ranking import read_assessed, shares
from tuning.console import called_from_python, study_command
from tuning.journal.writer import open_study
from tuning.report.headline import cards, remarks


def trials() -> list[Any]:
    small = CONFIG.replace(hidden_dim=2).to_dict()
    return [
        trial(0, range(30, 110)),
        trial(1, range(40), origin="random"),
        trial(2, range(1, 42), state="PRUNED", config=small, origin="random"),
        trial(3, range(5), state="FAIL", error="TrainingError: the loss is nan", epochs=()),
        trial(4, range(5), state="RUNNING", epochs=(epoch(1, 0.9),)),
        trial(5, range(60, 160), state="PRUNED", epochs=(epoch(1, 0.5),), origin="random"),
    ]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "mine"
    write_study(
        folder, trials(), attributes(test_evaluations=[reading(1, 0.75), reading(1, 0.8, seed=2), reading(0, 0.59)])
    )
    return folder


def test_the_table_fits_80_columns_and_compares_the_recommended_trial_with_the_best(study: Path) -> None:
    """tests/golden/study has the other lines."""
    text = table_of(study, RowFilter(top=2), "table")
    assert max(map(len, text.splitlines())) <= 80
    assert text.splitlines()[1:3] == [
        "batch=50 bi=yes emb.drop=0 lstm.drop=0 emb.lr=1 decay=0 smooth=0 ema=none",
        "schedule=constant w.drop=0",
    ]
    for said in (
        "- never recommended: predicts one class, or is not better than the majority",
        "Trial 2 is recommended (+): it is within one standard error of the best, and no useful trial at less than "
        "half its cost (160 multiplications per word) is.",
        "Corrected, it is 0.0042 worse than the best (95% interval -0.0285 to 0.0202: either may be better), at 0.7923 "
        "(95% interval 0.7308 to 0.8489).",
    ):
        assert said in " ".join(text.split())


def test_first_trials_a_warm_start_and_epochs_that_are_no_pass_are_named_below_the_table(tmp_path: Path) -> None:
    first = {"source": "mine.yaml", "trials": 8, "sha256": "0" * 64}
    spec = SPEC | {"first_trials": first, "warm_start": {"study": "other", "trials": 1}, "epoch_sentences": 5000}
    write_study(tmp_path / "s", trials(), attributes(spec=spec))
    lines = table_of(tmp_path / "s", RowFilter(), "table").splitlines()
    assert "first trials: 8 from mine.yaml" in lines
    assert "warm start: the sampler used 1 trial of study other" in lines
    assert "each epoch trains on 5,000 sentences, which is not a pass over the data" in lines


def test_the_number_of_tied_trials_is_that_of_the_study_if_the_table_shows_fewer(study: Path) -> None:
    for selection in (RowFilter(top=1), RowFilter(where=(parse_where("hidden_dim=2"),))):
        assert "tied: 2 trials; with at least" in table_of(study, selection, "table")


def test_an_interval_that_contains_the_majority_class_is_named_in_table_and_report(tmp_path: Path) -> None:
    write_study(tmp_path / "s", [trial(0, range(56, 144))], attributes())
    sentence = "The 95% interval of the best trial contains 0.5000, the accuracy of the majority class."
    assert sentence in " ".join(table_of(tmp_path / "s", RowFilter(), "table").split())
    assert sentence in remarks(read_assessed(tmp_path / "s"))


def with_references(wrong: int) -> dict[str, Any]:
    """Attributes: the plain baseline is wrong on the first sentences, the majority class is right on half."""
    audit = {"majority_baseline": {"class": "b", "val": 0.5, "train_shares": [0.4, 0.6]}}
    return attributes(plain_baseline={"val_predictions": predicting(range(wrong))}, audit=audit)


def test_the_plain_baseline_and_the_majority_class_have_rows_below_the_trials(tmp_path: Path) -> None:
    write_study(tmp_path / "s", trials(), with_references(60))
    above, below = table_of(tmp_path / "s", RowFilter(top=1), "table").split("\n\n")
    assert [line.split() for line in above.splitlines()[-2:]] == [
        ["-", "plain", "0.7000", "0.633-0.759", *["-"] * 6],
        ["-", "major", "0.5000", "0.431-0.569", *["-"] * 6],
    ]
    assert (
        "plain: TF-IDF of words and word pairs with logistic regression\nmajor: the majority class, always 'b'" in below
    )
    gain = "Corrected, the best trial is 0.0964 better than the plain baseline (95% interval 0.0515 to 0.1404)."
    assert gain in " ".join(below.split())
    for form in ("json", "csv"):
        text = table_of(tmp_path / "s", RowFilter(), form)
        rows = json.loads(text) if form == "json" else list(csv.DictReader(io.StringIO(text)))
        assert [row["trial"] for row in rows][-2:] == ["plain", "major"]
        assert float(rows[-2]["val_accuracy"]) == 0.7
        assert rows[-1]["state"] == "REFERENCE"
    lines = table_of(tmp_path / "s", RowFilter(), "md").splitlines()
    assert {line.count("|") for line in lines[: lines.index("")]} == {lines[0].count("|")}
    for selection in (RowFilter(state="all"), RowFilter(where=(parse_where("trial>0"),))):
        assert "major" not in table_of(tmp_path / "s", selection, "csv")


def test_the_table_says_what_an_ensemble_would_gain_and_how_to_make_it(tmp_path: Path) -> None:
    write_study_with_ensemble(tmp_path / "s", (range(40), range(60, 110), range(120, 180)), range(100, 150))
    command = study_command("ensemble", tmp_path / "s", "--cache-dir /c")
    text = table_of(tmp_path / "s", RowFilter(), "table", ending=" --cache-dir /c")
    assert (text.count(command), text.endswith(f"next: {command}")) == (1, True)
    lines = table_of(tmp_path / "s", RowFilter(), "table", ending=" --cache-dir /c", finished=False).splitlines()
    at = lines.index(f"  {command}")
    figures = r"corrected 0\.\d{4} \(95% interval 0\.\d{4} to [01]\.\d{4}\), 0\.\d{4} better than the best"
    text = " ".join(lines[:at])
    assert re.search(rf" Ensemble of trials 0 \(\d+%\), 1 \(\d+%\).*, plain \(\d+%\): {figures} trial \(.*\)\.$", text)


def test_json_and_csv_have_the_ensemble_and_the_weights_of_its_members(tmp_path: Path) -> None:
    write_study_with_ensemble(tmp_path / "s", (range(40), range(60, 110), range(120, 180)), range(100, 150))
    rows = json.loads(table_of(tmp_path / "s", RowFilter(), "json"))
    assert [row["trial"] for row in rows] == [0, 1, 2, "ensemble", "plain", "major"]
    ensemble = rows[3]
    assert (ensemble["state"], ensemble["metric"], list(ensemble)) == ("ENSEMBLE", "accuracy", list(rows[0]))
    assert sum(row["weight"] or 0 for row in rows) == pytest.approx(1)
    assert ensemble["corrected_low"] < ensemble["corrected"] < ensemble["corrected_high"]
    assert ensemble["difference"] == pytest.approx(ensemble["corrected"] - rows[0]["corrected"])
    assert ensemble["multiplications"] == 4 + 384 * sum(row["weight"] is not None for row in rows[:3])
    lines = list(csv.DictReader(io.StringIO(table_of(tmp_path / "s", RowFilter(), "csv"))))
    assert float(lines[3]["corrected"]) == ensemble["corrected"]
    assert "ensemble" not in table_of(tmp_path / "s", RowFilter(state="all"), "csv")


def test_an_ensemble_that_gains_nothing_is_not_proposed(tmp_path: Path) -> None:
    write_study_with_ensemble(tmp_path / "s", (range(40), range(41), range(42)), range(90))
    text = table_of(tmp_path / "s", RowFilter(), "table")
    assert "\nAn ensemble is not expected to be better than the best trial.\n" in text
    assert study_command("ensemble", tmp_path / "s", "") not in text


def test_references_show_the_metric_of_the_study(tmp_path: Path) -> None:
    kept = with_references(60)
    kept["plain_baseline"] |= {"val_metric": 0.65}
    kept["spec"] = kept["spec"] | {"metric": "macro_f1"}
    write_study(tmp_path / "s", [trial(0, range(80), config=CONFIG.replace(metric="macro_f1").to_dict())], kept)
    plain, major = json.loads(table_of(tmp_path / "s", RowFilter(), "json"))[-2:]
    assert (plain["metric"], plain["val_metric"], plain["val_accuracy"]) == ("macro_f1", 0.65, 0.7)
    assert major["val_metric"] == pytest.approx(1 / 3)  # F1 of 2/3 and 0
    lines = table_of(tmp_path / "s", RowFilter(), "table").splitlines()
    assert next(line for line in lines if " plain " in line).split()[2:4] == ["0.6500", "0.7000"]
    longer = "run more trials, or more epochs under another name"
    assert " ".join(lines[-2:]) == f"the plain baseline is better than the best trial; {longer}"


def test_the_figures_of_the_page_are_those_of_the_metric(tmp_path: Path) -> None:
    kept = with_references(60)
    kept["plain_baseline"] |= {"val_metric": 0.65}
    kept["spec"] = kept["spec"] | {"metric": "macro_f1"}
    measured = (dataclasses.replace(epoch(1, 0.6), score=0.55),)
    record = trial(0, range(80), config=CONFIG.replace(metric="macro_f1").to_dict(), epochs=measured)
    write_study(tmp_path / "s", [record], kept)
    found = {card.title: card.value for card in cards(read_assessed(tmp_path / "s"))}
    assert (found["Best validation macro F1"], found["Accuracy"], found["Baseline"]) == (0.55, 0.6, 0.55)
    assert (found["Plain baseline"], found["Majority class"]) == (0.65, pytest.approx(1 / 3))


def test_the_metric_of_the_study_is_shown_on_the_test_split_if_it_is_stored(tmp_path: Path) -> None:
    macro = CONFIG.replace(metric="macro_f1").to_dict()
    readings = [reading(0, 0.75, test_metric=0.5), reading(0, 0.8, seed=2, test_metric=0.6), reading(1, 0.7)]
    kept = attributes(test_evaluations=readings, spec=FULL_SPEC | {"metric": "macro_f1"})
    write_study(tmp_path / "s", [trial(0, range(60), config=macro), trial(1, range(80), config=macro)], kept)
    text = " ".join(table_of(tmp_path / "s", RowFilter(), "table").split())
    assert "Test macro F1 of trial 0: 0.5500; accuracy 0.7750 (95% interval 0.7316 to 0.8132; mean of 2 seeds)." in text
    assert "Test accuracy of trial 1: 0.7000 (95%" in text
    rows = json.loads(table_of(tmp_path / "s", RowFilter(), "json"))
    assert [row["test_metric"] for row in rows] == [pytest.approx(0.55), None, None]
    found = {each.title: each.value for each in cards(read_assessed(tmp_path / "s"))}
    assert found["Test macro F1"] == pytest.approx(0.55)


def test_json_and_csv_have_the_difference_of_the_recommended_trial(study: Path) -> None:
    """tests/golden/study has the fields and their order."""
    rows = json.loads(table_of(study, RowFilter(), "json"))
    assert rows[0]["test_accuracy"] == rows[0]["test_metric"] == pytest.approx(0.775)
    assert rows[0]["corrected_low"] < rows[0]["corrected"] < rows[0]["corrected_high"]
    assert (rows[1]["recommended"], rows[1]["n_parameters"], rows[1]["multiplications"]) == (True, 362, 160)
    assert rows[1]["difference_low"] < rows[1]["difference"] < rows[1]["difference_high"]
    assert rows[1]["corrected"] is not None
    table = list(csv.DictReader(io.StringIO(table_of(study, RowFilter(), "csv"))))
    assert float(table[0]["corrected"]) == rows[0]["corrected"]


def test_one_trial_or_one_sentence_is_described_as_such() -> None:
    one: Any = SimpleNamespace(n_candidates=1, sentences=1)
    assert candidates_text(one, "accuracy") == "the epochs of one trial"
    assert why_not_corrected(one) == "there is only one validation sentence"


@pytest.mark.parametrize(
    ("metric", "candidates", "epochs", "none"),
    [("accuracy", 1, 1, True), ("accuracy", 1, 2, False), ("roc_auc", 1, 2, True), ("roc_auc", 2, 1, False)],
)
def test_one_trial_is_a_choice_only_among_epochs_that_the_correction_knows(
    metric: str, candidates: int, epochs: int, none: bool
) -> None:
    best: Any = SimpleNamespace(metric=metric, epochs=epochs)
    assessment: Any = SimpleNamespace(n_candidates=candidates)
    assert had_no_choice(best, assessment) is none


@pytest.mark.parametrize(("epochs", "corrected"), [(1, False), (2, True)])
def test_without_a_choice_neither_the_table_nor_the_page_calls_a_value_corrected(
    epochs: int, corrected: bool, tmp_path: Path
) -> None:
    measured = tuple(epoch(number, 0.8) for number in range(1, epochs + 1))
    write_study(tmp_path / "s", [trial(0, range(40), epochs=measured)], attributes())
    text = " ".join(table_of(tmp_path / "s", RowFilter(), "table").split())
    assert ("Only one trial has a value, so there was no choice to correct for." in text) is not corrected
    assert ("it was chosen among the epochs of one trial. Corrected for this selection bias" in text) is corrected
    titles = [card.title for card in cards(read_assessed(tmp_path / "s"))]
    assert ("Corrected for selection bias" in titles) is corrected


def test_a_study_that_kept_no_predictions_shows_a_dash(tmp_path: Path) -> None:
    older = [trial(0, range(80), predictions=()), trial(1, range(40), predictions=())]
    write_study(tmp_path / "old", older, attributes())
    text = table_of(tmp_path / "old", RowFilter(), "table")
    assert "It is not corrected for selection bias, because some predictions were not stored." in " ".join(text.split())
    assert "no use of the test split is recorded" in text
    assert text.splitlines()[5].split()[:6] == ["1", "1", "0.8000", "0.739-0.850", "+0.200", "-"]


def test_uses_of_the_test_split_by_other_studies_are_named_in_the_table_and_on_the_page(tmp_path: Path) -> None:
    used = attributes(test_evaluations=[reading(1, 0.75, test_fingerprint="same")])
    write_study(tmp_path / "first", trials()[:2], used)
    write_study(tmp_path / "s", trials()[:2], attributes(spec=FULL_SPEC, test_fingerprint="same"))
    note = "this study has not used the test split; by study first: 1"
    assert note in table_of(tmp_path / "s", RowFilter(), "table")
    assert note in remarks(read_assessed(tmp_path / "s"))


def test_the_last_ensemble_has_its_accuracy_on_test(tmp_path: Path) -> None:
    """In JSON only if it has the members of the row."""
    folder = tmp_path / "s"
    write_study_with_ensemble(folder, (range(40), range(60, 110), range(120, 180)), range(100, 150))
    assessment = read_assessed(folder).assessment
    assert assessment.ensemble is not None
    measured = {"test_accuracy": 0.875, "test_sentences": 400, "members": shares(assessment.ensemble)}
    with open_study(folder, FULL_SPEC) as journal:
        journal.log_test_evaluation(measured, verb="ensemble", trial=None, seed=None, on="train", split="80/10/10")
        journal.log_test_evaluation(measured, verb="ensemble", trial=None, seed=None, on="train+val", split="80/10/10")
    row = json.loads(table_of(folder, RowFilter(), "json"))[3]
    assert (row["trial"], row["test_metric"], row["test_accuracy"]) == ("ensemble", 0.875, 0.875)
    assert row["test_low"] < 0.875 < row["test_high"]
    text = " ".join(table_of(folder, RowFilter(), "table").split())
    assert f"Test accuracy of the ensemble of {members_text(measured['members'])}: 0.8750 (95% interval 0.8" in text
    (card,) = [each for each in cards(read_assessed(folder)) if each.title == "Test accuracy"]
    assert card.value == 0.875
    assert card.detail.startswith(f"ensemble of {members_text(measured['members'])}; 95% interval 0.8")
    with open_study(folder, FULL_SPEC) as journal:
        measured |= {"test_accuracy": 0.5, "members": {"1": 0.5, "plain": 0.5}}
        journal.log_test_evaluation(measured, verb="ensemble", trial=None, seed=None, on="train", split="80/10/10")
        other = measured | {"test_accuracy": 0.25}  # of another split of the data
        journal.log_test_evaluation(other, verb="ensemble", trial=None, seed=None, on="train", split="70/15/15")
    assert json.loads(table_of(folder, RowFilter(), "json"))[3]["test_accuracy"] is None
    text = " ".join(table_of(folder, RowFilter(), "table").split())
    assert "Test accuracy of the ensemble of trial 1 (50%), plain (50%): 0.5000 (95%" in text
    with open_study(folder, FULL_SPEC) as journal:
        alone = measured | {"members": {"1": 1.0}}  # then it is the test result of trial 1
        journal.log_test_evaluation(alone, verb="ensemble", trial=1, seed=42, on="train", split="80/10/10")
    assert "Test accuracy of the ensemble" not in table_of(folder, RowFilter(), "table")


@pytest.mark.slow
def test_a_study_without_a_test_split_says_so(tmp_path: Path) -> None:
    kept = attributes(spec=FULL_SPEC, audit=AUDIT | {"splits": {"train": 100, "val": 200, "test": 0}})
    write_study(tmp_path / "s", trials()[:2], kept)
    for text in (table_of(tmp_path / "s", RowFilter(), "table"), made(tmp_path / "s").text):
        assert "there is no test split" in text
        assert "no use of the test split" not in text


def test_without_corrected_figures_a_cheaper_trial_is_not_called_the_best(tmp_path: Path) -> None:
    kept = [*trials()[:3], trial(3, range(60, 160), predictions=())]
    write_study(tmp_path / "s", kept, attributes())
    text = " ".join(table_of(tmp_path / "s", RowFilter(), "table").split())
    assert "no useful trial at less than half its cost (160 multiplications per word) is. no use of the test" in text


def test_in_python_the_advice_if_nothing_was_learned_names_keywords(tmp_path: Path) -> None:
    write_study(tmp_path / "s", [trial(0, range(100)), trial(1, range(101))], attributes())
    with called_from_python("search(...)"):
        text = " ".join(table_of(tmp_path / "s", RowFilter(), "table").split())
    advice = (
        'search with more trials, or with another name more epochs or metric="macro_f1" for rare classes; check the '
    )
    assert advice in text


@pytest.mark.slow
def test_a_study_that_learned_nothing_has_a_page_that_says_so_once(tmp_path: Path) -> None:
    write_study(tmp_path / "s", [trial(0, range(100)), trial(1, range(101))], attributes(spec=FULL_SPEC))
    text = made(tmp_path / "s").text
    assert text.count("othing was learned: no trial is shown to be better than") == 1


def test_a_study_that_ended_at_its_target_says_what_that_adds_in_the_table_and_on_the_page(tmp_path: Path) -> None:
    notes = {"reason": "target 0.8 reached by trial 1", "n_trials": None}
    write_study(tmp_path / "early", [trial(0, range(80)), trial(1, range(40))], attributes(early_end=notes))
    said = [
        "the study ended early: target 0.8 reached by trial 1",
        "because of the target, the corrected figure may still be too good",
    ]
    assert table_of(tmp_path / "early", RowFilter(), "table").splitlines()[-3:-1] == said
    assert remarks(read_assessed(tmp_path / "early"))[-2:] == said


def test_a_study_in_which_nothing_ended_has_a_table(tmp_path: Path) -> None:
    write_study(tmp_path / "new", [trial(0, range(9), state="RUNNING")], attributes())
    assert "rank" in table_of(tmp_path / "new", RowFilter(), "table")
    assert "running" in table_of(tmp_path / "new", RowFilter(state="all"), "table")
    write_study(tmp_path / "empty", [], attributes())
    assert table_of(tmp_path / "empty", RowFilter(), "json") == "[]"


def test_the_options_reach_the_table(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("best", str(study), "--format", "json", "--where", "n_layers=1", "--where", "trial>0", "--sort", "-trial")
    code, out, err = sentune(monkeypatch, capsys, *words, "--state", "stopped")
    assert (code, err) == (0, "")
    assert [row["trial"] for row in json.loads(out)] == [5, 2]
    code, out, _ = sentune(monkeypatch, capsys, "best", str(study), "--state", "failed")
    assert (code, "trial 3 failed: TrainingError: the loss is nan" in out, "0.8000  0.739" in out) == (0, True, False)


def test_json_and_csv_have_every_trial_and_the_table_the_ten_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = [trial(number, range(5 + number), origin="random") for number in range(13)]
    write_study(tmp_path / "s", trials, attributes())

    def shown(form: str, *more: str) -> list[str]:
        code, out, _ = sentune(monkeypatch, capsys, "best", str(tmp_path / "s"), "--format", form, *more)
        assert code == 0
        found = json.loads(out) if form == "json" else csv.DictReader(io.StringIO(out))
        return [str(row["trial"]) for row in found if str(row["trial"]).isdigit()]

    every = [str(number) for number in range(13)]
    assert shown("json") == shown("csv") == every
    assert shown("json", "--top", "3") == every[:3]
    code, out, _ = sentune(monkeypatch, capsys, "best", str(tmp_path / "s"), "--format", "md")
    assert (code, len(re.findall(r"^\| \d", out, re.MULTILINE))) == (0, 10)


def test_csv_on_a_terminal_cannot_steer_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = trial(1, (), state="FAIL", error="TrainingError: \x1b[31m, red\u202e", epochs=())
    write_study(tmp_path / "s", [trial(0, range(5)), failed], attributes())
    words = ("best", str(tmp_path / "s"), "--format", "csv")
    _, out, _ = sentune(monkeypatch, capsys, *words)
    assert '"TrainingError: \x1b[31m, red\u202e"' in out  # a pipe or a file gets the values as they are
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, out, _ = sentune(monkeypatch, capsys, *words)
    assert r'"TrainingError: \x1b[31m, red\u202e"' in out


@pytest.mark.parametrize("form", ["table", "md"])
def test_a_selection_without_a_row_is_one_line(study: Path, form: str) -> None:
    hint = "; --where compares exact values, the table rounds them"
    assert table_of(study, RowFilter(where=(parse_where("val_accuracy=0.12"),)), form) == f"no trial matches{hint}"
    assert table_of(study, RowFilter(state="paused"), form) == "no trial matches"


def test_a_selection_without_a_row_has_the_columns_of_all(study: Path) -> None:
    header, *rows = table_of(study, RowFilter(where=(parse_where("trial=-1"),)), "csv").splitlines()
    assert (header, rows) == (table_of(study, RowFilter(), "csv").splitlines()[0], [])
    assert "learning_rate" in header.split(",")


def test_what_is_equal_is_not_called_better(tmp_path: Path) -> None:
    kept = attributes(plain_baseline={"val_predictions": predicting(())})
    write_study(tmp_path / "s", [trial(0, ()), trial(1, (), origin="random")], kept)
    text = " ".join(table_of(tmp_path / "s", RowFilter(), "table").split())
    assert "Corrected, the best trial is as good as the plain baseline (95% interval -" in text
    assert "0.0000 better" not in text


def test_the_curve_is_printed_in_the_given_format(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = sentune(monkeypatch, capsys, "best", str(study), "--expected", "--format", "json")
    assert (code, out[0]) == (0, "{")
