"""A page of many trials: the sample that is shown, and the figures of all trials."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from benchmarks.inputs.recorded_study import record_study
from tests.support.pages import made
from tuning.analysis.ranking import AssessedStudy, TrialRow, read_assessed
from tuning.report import chart_data as module
from tuning.report.chart_data import chart_data, sample_trials


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "s"
    record_study(path, trials=120)
    return path


@pytest.fixture
def study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AssessedStudy:
    """120 trials, of which 40 may be shown."""
    monkeypatch.setattr(module, "MAX_CHARTED", 40)
    monkeypatch.setattr(module, "KEEP_BEST", 20)
    return read_assessed(folder)


def test_as_many_as_may_be_are_shown_and_the_best_are_among_them(study: AssessedStudy) -> None:
    few = sample_trials(study)
    assert len(few) == 40
    assert few[:20] == study.rows[:20]
    assert any(row.baseline for row in few)
    rest = {row.trial for row in few} - {row.trial for row in study.rows[:20]}
    assert min(rest) < 20  # from begin to end
    assert max(rest) > 100


def test_the_recommended_trial_is_shown_whatever_its_rank(study: AssessedStudy) -> None:
    for rank in range(21, 61):
        rows = [replace(row, recommended=row.rank == rank) for row in study.rows]
        few = sample_trials(replace(study, rows=rows))
        assert (len(few), sum(row.recommended for row in few)) == (40, 1)


@pytest.mark.slow
def test_a_study_that_is_small_enough_is_shown_whole(folder: Path) -> None:
    study = read_assessed(folder)
    assert sample_trials(study) is study.rows
    assert len(chart_data(study).rows) == 120


def test_the_line_of_the_best_so_far_rises_where_it_did(study: AssessedStudy) -> None:
    def records(rows: Sequence[TrialRow]) -> list[float]:
        ranked = sorted((row.trial, row.val_accuracy) for row in rows if row.rank is not None and row.val_accuracy)
        return sorted(set(accumulate((accuracy for _, accuracy in ranked), max)))

    assert len(records(study.rows)) > 2
    assert records(sample_trials(study)) == records(study.rows)


def test_ranks_are_among_all_trials(study: AssessedStudy) -> None:
    ranks = [row["rank"] for row in chart_data(study).rows if row["rank"]]
    assert ranks[0] == 1
    assert max(ranks) > 40


@pytest.mark.slow
def test_the_page_says_what_it_leaves_out_and_names_the_command_that_lists_every_trial(study: AssessedStudy) -> None:
    page = made(study.folder)
    assert len(page.rows) == 40
    assert "Of 120 trials, the table and the charts show 40" in page.text
    assert "Run sentune best s --state all --format csv for a list of all." in page.text
