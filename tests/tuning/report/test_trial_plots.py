"""The plots: what is drawn, of which trials, and what is said where there is nothing to draw."""

from datetime import timedelta
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.support.assessed_studies import FULL_SPEC, attributes, trial, write_study
from tests.support.pages import facts_of
from tests.support.recorded_study import BEGAN, record_study
from tests.support.small_study import add, small_study
from tuning.report.compose import figures
from tuning.report.facts import Figure, ReportData
from tuning.report.setting_plots import MIN_TRIALS, fill_params, importance_bars, importances, parallel, slices
from tuning.report.timeline_plot import last_moment, timeline, worker_rows
from tuning.report.trial_plots import budget, curves, history, rungs
from tuning.space.load import load_space

NOW = BEGAN.astimezone().replace(tzinfo=None) + timedelta(hours=1)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    folder = tmp_path_factory.mktemp("studies") / "s"
    record_study(folder, trials=40, running=2)
    return facts_of(folder)


def drawn(figure: Figure, *, with_class: str) -> list[int]:
    """The numbers of the trials that elements of a class stand for."""
    found = []
    for picture in figure.drawings:
        for part in str(picture).split("<")[1:]:
            if f'class="{with_class}' in part and 'data-t="' in part:
                found.append(int(part.split('data-t="')[1].split('"')[0]))
    return sorted(found)


def test_the_history_marks_every_trial_that_ended_once(facts: ReportData) -> None:
    ended = sorted(record.number for record in facts.records if record.state != "RUNNING")
    assert drawn(history(facts), with_class="mark ") == ended
    assert drawn(history(facts), with_class="mark failed") == [7, 15, 23, 31]
    assert facts.winner is not None
    assert drawn(history(facts), with_class="mark winner") == [facts.winner.trial]


def test_the_curves_are_of_every_trial_and_end_in_a_cross_where_it_was_stopped(facts: ReportData) -> None:
    figure = curves(facts)
    assert drawn(figure, with_class="curve ") == [record.number for record in facts.records]
    stopped = [record.number for record in facts.records if record.state == "PRUNED"]
    assert drawn(figure, with_class="mark stopped") == stopped
    assert rungs(facts) == [2]
    assert ">rung 2<" in figure.drawings[0]


def test_parallel_coordinates_have_a_line_for_each_ranked_trial_and_an_axis_for_each_setting(facts: ReportData) -> None:
    figure = parallel(facts)
    assert drawn(figure, with_class="strand") == sorted(row.trial for row, _ in facts.ranked)
    for name in facts.rows[0].params:
        assert f">{name}<" in figure.drawings[0]


def test_a_slice_shows_only_trials_in_which_the_setting_plays_a_part(facts: ReportData) -> None:
    names = [dimension.name for dimension in facts.space.dimensions]
    picture = slices(facts).drawings[names.index("lstm_dropout")]
    shown = drawn(Figure(key="", title="", says="", drawings=(picture,)), with_class="mark ")
    assert shown == sorted(record.number for _, record in facts.ranked if "lstm_dropout" in record.params)
    assert 0 < len(shown) < len(facts.ranked)


@pytest.mark.slow
def test_importances_find_the_settings_that_matter(tmp_path: Path) -> None:
    record_study(tmp_path / "s", trials=200)
    resources = importances(facts_of(tmp_path / "s"))
    assert sum(resources.values()) == pytest.approx(1)
    assert list(resources)[:2] == ["n_layers", "freeze_embedding"]


@pytest.mark.slow
@pytest.mark.parametrize(("trials", "says"), [(6, "trials are too few to tell"), (24, "mostly chance"), (40, None)])
def test_importances_of_few_trials_carry_a_warning(tmp_path: Path, trials: int, says: str | None) -> None:
    record_study(tmp_path / "s", trials=trials)
    figure = importance_bars(facts_of(tmp_path / "s"))
    assert bool(figure.drawings) == (trials > 6)
    assert (says is None and figure.notes == ()) or says in figure.notes[0]
    assert MIN_TRIALS == 30


def test_importances_of_equal_trials_say_that_they_are_equal(tmp_path: Path) -> None:
    write_study(tmp_path / "s", [trial(number, range(40)) for number in range(9)], attributes())
    assert importance_bars(facts_of(tmp_path / "s")).notes == (
        "All 9 ended trials have the same accuracy: there is nothing to explain.",
    )


def test_a_setting_without_a_part_counts_at_the_middle_of_its_range_and_on_its_grid() -> None:
    space = load_space(
        "notebook", ["hidden_dim=int(100,400,step=100)", "fc_dropout=float(0,0.5,step=0.1)", "learning_rate=log(0.1,1)"]
    )
    values = fill_params({}, {dimension.name: dimension.distribution for dimension in space.dimensions})
    assert all(dimension.contains(values[dimension.name]) for dimension in space.dimensions)
    assert values["learning_rate"] == pytest.approx(0.1**0.5)


def test_two_workers_have_two_rows_in_the_timeline(facts: ReportData) -> None:
    finished = [[bar.trial for bar in row] for row in worker_rows(facts, NOW)]
    assert finished[0][:3] == [0, 2, 4]
    assert finished[1][:3] == [1, 3, 5]
    assert drawn(timeline(facts, NOW), with_class="bar ") == [record.number for record in facts.records]


def test_a_trial_that_waited_has_a_bar_for_each_time_that_a_worker_had_it(tmp_path: Path) -> None:
    with small_study(tmp_path / "s") as journal:
        journal.set_study_attr("validation", attributes()["validation"])
        number = add(journal, 0.5)
        began = journal.records()[0].started_at or 0.0
        segment = {"worker": "node/7", "since": began - 9, "until": began - 7}
        journal.set_trial_attr(
            number, "segments", [segment, {"worker": "node/8", "since": began - 6, "until": began - 5}]
        )
        journal.finish_trial(number, TrialState.COMPLETE, {"worker": "node/7", "since": began - 1}, 1)
    facts = facts_of(tmp_path / "s")
    rows = [[(bar.start, bar.end) for bar in row if bar.trial == number] for row in worker_rows(facts, NOW)]
    first, second = (row for row in rows if row)
    assert first[0] == pytest.approx((-9, -7), abs=1e-3)
    assert first[1][0] == pytest.approx(-1, abs=1e-3)
    assert second == [pytest.approx((-6, -5), abs=1e-3)]
    assert facts.records[number].worker == "node/7"


def test_a_paused_trial_is_drawn_in_every_plot_of_trials(tmp_path: Path) -> None:
    """It is ranked: what it has reached so far counts."""
    trials = [trial(0, range(40)), trial(1, range(25)), trial(2, range(35), state="PAUSED")]
    write_study(tmp_path / "s", trials, attributes(spec=FULL_SPEC))
    facts = facts_of(tmp_path / "s")
    assert [facts.kind(record) for record in facts.records] == ["baseline", "winner", "paused"]
    for figure, element in ((history(facts), "mark"), (curves(facts), "curve"), (timeline(facts, NOW), "bar")):
        assert drawn(figure, with_class=f"{element} paused") == [2]


def test_a_running_trial_lasts_until_now(facts: ReportData) -> None:
    bars = {bar.trial: bar for row in worker_rows(facts, NOW) for bar in row}
    assert bars[38].end == 3600
    assert bars[0].end - bars[0].start == 9


def test_the_timeline_of_a_study_that_does_not_run_ends_with_its_last_news(facts: ReportData) -> None:
    assert last_moment(facts.records) == NOW - timedelta(hours=1) + timedelta(seconds=190)


def test_the_expected_best_says_what_it_is_made_from(facts: ReportData) -> None:
    figure = budget(facts)
    assert figure.drawings
    assert "It is made from 6 trials; 1 more failed." in figure.says


def test_a_study_that_has_just_begun_says_so_in_every_plot(tmp_path: Path) -> None:
    record_study(tmp_path / "s", trials=0)
    facts = facts_of(tmp_path / "s")
    for figure in figures(facts, facts, NOW):
        assert figure.drawings == ()
        assert figure.notes
