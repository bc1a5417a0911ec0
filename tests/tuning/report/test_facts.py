"""A page of very many trials: what is shown one by one, and what is still of all of them."""

from pathlib import Path

import pytest

from tests.support.pages import facts_of, made
from tests.support.recorded_study import record_study
from tuning.report import facts as module
from tuning.report.facts import ReportData, sample_trials, sampling_note
from tuning.report.setting_plots import SHADES, importances, parallel
from tuning.report.trial_plots import history


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "s"
    record_study(path, trials=120)
    return path


@pytest.fixture
def facts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ReportData:
    """120 trials, of which 40 may be shown."""
    monkeypatch.setattr(module, "MAX_TRIALS", 40)
    monkeypatch.setattr(module, "KEEP_BEST", 20)
    return facts_of(folder)


def test_as_many_as_may_be_are_shown_and_the_best_are_among_them(facts: ReportData) -> None:
    few = sample_trials(facts)
    assert len(few.rows) == len(few.shown) == 40
    assert few.rows[:20] == facts.rows[:20]
    assert any(row.baseline for row in few.rows)
    rest = {record.number for record in few.shown} - {row.trial for row in facts.rows[:20]}
    assert min(rest) < 20  # from begin to end
    assert max(rest) > 100


@pytest.mark.slow
def test_a_study_that_is_small_enough_is_shown_whole(folder: Path) -> None:
    facts = facts_of(folder)
    assert sample_trials(facts) is facts
    assert sampling_note(facts) is None
    assert len(made(folder).rows) == 120


def test_the_line_of_the_best_so_far_rises_where_it_did(facts: ReportData) -> None:
    def heights(drawn: ReportData) -> list[str]:
        line = history(drawn).drawings[0].split('class="best-so-far"')[0].rsplit('d="M', 1)[1].split('"')[0]
        return list(dict.fromkeys(point.split()[1] for point in line.split("L")))

    assert len(heights(facts)) > 2
    assert len(heights(sample_trials(facts))) == len(heights(facts))


def test_colours_still_tell_the_rank_among_all(facts: ReportData) -> None:
    drawing = parallel(sample_trials(facts)).drawings[0]
    shades = {f"q{shade}" for shade in range(SHADES)}
    found = {part.split('"')[0] for part in drawing.split('class="strand ')[1:]}
    assert found <= {"winner", *shades}
    assert {"q0", f"q{SHADES - 1}"} <= found


@pytest.mark.slow
def test_the_page_says_what_it_leaves_out_and_counts_and_explains_all(facts: ReportData, folder: Path) -> None:
    page = made(folder)
    assert len(page.rows) == 40
    assert "Of 120 trials the table and the plots show 40" in page.text
    assert "done" in page.text
    resources = importances(facts)
    first = next(iter(resources))
    assert f"{first} {resources[first]:.1%}" in page.source
