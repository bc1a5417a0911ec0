"""tuning.analysis.listing: one line per study, also for one that runs or cannot be read."""

import errno
import json
from pathlib import Path

import pytest

from benchmarks.inputs.recorded_study import record_study
from core.errors import UserError
from tests.support.assessed_studies import write_study_with_ensemble
from tuning.analysis.listing import list_text
from tuning.analysis.ranking import read_assessed
from tuning.journal.folder import JOURNAL


@pytest.fixture
def results(tmp_path: Path) -> Path:
    data = {"dataset": "/home/me/my\x1b[31m data.csv"}
    record_study(tmp_path / "complete", trials=8, data=data, goal={"trials": 8})
    record_study(tmp_path / "early", trials=8, goal={"trials": 20}, early_end={"reason": "target", "n_trials": 8})
    record_study(tmp_path / "unfinished", trials=8, running=3, goal={"trials": 8})
    (tmp_path / "no-study").mkdir()
    return tmp_path


def test_each_study_has_a_line_with_state_and_figures(results: Path) -> None:
    title, rule, *lines = list_text(results, "table").splitlines()
    assert title.split() == ["study", "data", "trials", "state", "metric", "best", "corrected"]
    assert rule == "-" * len(title)
    best = read_assessed(results / "complete").rows[0]
    figures = [f"{best.val_metric:.4f}", f"{best.corrected:.4f}"]
    assert lines[0].split() == ["complete", r"my\x1b[31m", "data.csv", "8/8", "complete", "accuracy", *figures]
    assert "8/20  ended early  accuracy" in lines[1]
    assert lines[2].split()[2:4] == ["5/8", "unfinished"]
    assert len(lines) == 3


def test_no_ensemble_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study_with_ensemble(tmp_path / "s", (range(40), range(60, 110), range(120, 180)), range(100, 150))
    found = read_assessed(tmp_path / "s")
    assert found.assessment.ensemble is not None
    assert found.winner is not None
    monkeypatch.delattr("tuning.analysis.assessment.estimate_ensemble")
    (row,) = json.loads(list_text(tmp_path, "json"))
    assert (row["best"], row["corrected"]) == (found.winner.val_metric, found.winner.corrected)


def test_json_has_every_field(results: Path) -> None:
    first, *_ = json.loads(list_text(results, "json"))
    assert first["study"] == "complete"
    assert (first["trials"], first["goal"], first["state"], first["problem"]) == (8, 8, "complete", None)


def test_a_study_that_runs_says_so(tmp_path: Path) -> None:
    record_study(tmp_path / "one", trials=4, goal={"trials": 4})
    (tmp_path / "one" / "driver.json").write_text('{"pid": 1, "host": "another", "started": null, "searches": true}')
    text = list_text(tmp_path, "table")
    assert "4/4  running" in text
    assert text.endswith("\none: process 1 on another may have been killed; this machine cannot see it")


def test_a_damaged_study_does_not_hide_the_others(results: Path) -> None:
    (results / "early" / JOURNAL).write_bytes(b"{broken\n")
    lines = list_text(results, "table").splitlines()
    assert lines[3].split()[-5:] == ["-", "unreadable", "-", "-", "-"]
    assert lines[-1].startswith("early: line 1 of ")
    assert lines[2].startswith("complete ")
    journal = results / "complete" / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"dataset"', b'"other"'))
    assert "('dataset' is missing)" in list_text(results, "table")


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)  # root may read all
    with pytest.raises(UserError, match=rf"^cannot read {tmp_path} \(Permission denied\); ask its owner for access$"):
        list_text(tmp_path, "table")


def test_a_folder_without_studies_says_what_to_do(tmp_path: Path) -> None:
    expected = f"no study in {tmp_path}; run a search, or choose another folder with --results"
    assert list_text(tmp_path, "table") == expected
    assert json.loads(list_text(tmp_path / "gone", "json")) == []
