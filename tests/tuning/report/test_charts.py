"""tuning.report.charts: the drawn trials, and the notes if there is nothing to draw."""

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
import vl_convert
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from benchmarks.inputs.recorded_study import BEGAN, record_study
from tests.support.assessed_studies import FULL_SPEC, SPACE, attributes, trial, write_study
from tests.support.pages import chart_data_of
from tests.support.small_study import add, small_study
from tuning.journal.file import study_lock
from tuning.report import charts
from tuning.report.chart_data import (
    ChartData,
    chart_data,
    default_results,
    plain,
    searched_trials,
    setting_importances,
)
from tuning.report.figures import WIDEST_CHART, Figure, figures, reasons
from tuning.scheduling.asha import Asha
from tuning.space.space import Dimension, Space, midpoint


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ChartData:
    folder = tmp_path_factory.mktemp("studies") / "s"
    record_study(folder, trials=40, running=2)
    return chart_data_of(folder)


@pytest.fixture(scope="module")
def drawn(data: ChartData) -> dict[str, Figure]:
    return figures(data)


def svg(chart: charts.AnyChart) -> str:
    drawn: str = vl_convert.vegalite_to_svg(chart.to_dict(), vl_version=charts.VEGA_LITE)
    return drawn


def marked(chart: charts.AnyChart, field: str, kind: str = "") -> list[int]:
    """Return this field of all marks whose description names a kind."""
    labels = re.findall(r'aria-label="([^"]*)"', svg(chart))
    found = [re.search(rf"\b{field}: (\d+)\b", label) for label in labels if f"kind: {kind}" in label]
    return sorted(int(each[1]) for each in found if each)


@pytest.fixture(scope="module")
def slices(data: ChartData) -> str:
    return svg(charts.slices(data))


def numbers(data: ChartData, *states: str) -> list[int]:
    return [record.number for record in data.study.records if record.state in states]


@pytest.mark.slow
def test_the_history_marks_every_trial_that_ended_once(data: ChartData) -> None:
    chart = charts.history(data)
    assert marked(chart, "trial") == numbers(data, "COMPLETE", "PRUNED", "FAIL")
    assert marked(chart, "trial", "failed") == [7, 15, 23, 31]
    assert data.study.winner is not None
    assert marked(chart, "trial", "best") == [data.study.winner.trial]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 5])
def test_an_axis_of_few_whole_numbers_names_each_once(tmp_path: Path, count: int) -> None:
    """Without values of its own, Vega drew 0, 0.5 and 1 as 0 1 1."""
    trials = [trial(number, range(20 + number), origin="random") for number in range(count)]
    running = trial(count, range(40), state="RUNNING", epochs=())
    write_study(tmp_path / "s", [*trials, running], attributes(spec=FULL_SPEC | {"epochs": count}))
    data = chart_data_of(tmp_path / "s")

    def shown(chart: charts.AnyChart) -> list[str]:
        [labels, *_] = re.findall("role-axis-label(.*?)role-axis-domain", svg(chart))
        return re.findall(">([^<]+)</text>", labels)

    numbers = [str(number) for number in range(count + 1)]
    assert shown(charts.history(data)) == numbers[:-1]
    assert shown(charts.curves(data)) == shown(charts.losses(data)) == numbers[1:]
    if count > 1:
        assert shown(charts.expected(data)) == numbers[1:]
    depth = next(each for each in data.study.space.dimensions if each.name == "n_layers")
    assert shown(charts.setting_slice(data, depth)) == ["1", "2"]


@pytest.mark.slow
def test_each_trial_has_a_curve_and_a_rung_counts_the_promoted_ones(data: ChartData) -> None:
    chart = charts.curves(data)
    lengths = [len(record.epochs) for record in data.study.records]
    assert f">rung 2: {sum(n > 2 for n in lengths)} of {sum(n >= 2 for n in lengths)}<" in svg(chart)
    ends = marked(chart, "epoch", "stopped")
    assert ends.count(2) >= len(numbers(data, "PRUNED"))
    assert len(re.findall('aria-roledescription="line mark"', svg(chart))) == 40


def test_the_labels_of_neighbouring_rungs_are_on_different_lines(data: ChartData) -> None:
    spec = data.study.spec | {"stopping": Asha().to_dict()}  # six epochs: rungs after 1, 2 and 4
    study = replace(data.study, attributes={**data.study.attributes, "spec": spec})
    drawn = svg(charts.curves(replace(data, study=study)))
    assert re.findall(r">(<tspan/><tspan [^>]*>)?rung (\d): ", drawn) == [
        ("", "1"),
        ('<tspan/><tspan x="0" dy="13">', "2"),
        ("", "4"),
    ]


@pytest.mark.slow
def test_parallel_coordinates_have_a_line_for_each_ranked_trial_and_an_axis_for_each_setting(data: ChartData) -> None:
    drawn = svg(charts.parallel(data))
    assert len(re.findall(r'aria-label="setting: [^"]*; rank: [^"]*trial: ', drawn)) == len(data.study.ranked)
    assert all(f">{name}<" in drawn for name in data.settings)
    lines = re.findall(r'<path aria-label="[^"]*\brank: (\d+)[^>]* d="([^"]*)"[^>]* stroke="(#\w+)"', drawn)
    colours = {int(rank): colour for rank, _, colour in lines}
    assert [colours[rank] for rank in (1, 2, max(colours))] == [charts.GREEN, charts.SHADES[0], charts.SHADES[-1]]
    best = next(path for rank, path, _ in lines if rank == "1")
    assert float(best.rsplit(",", 1)[1]) == 0  # the highest accuracy is at the top of the last axis


@pytest.mark.slow
def test_a_line_has_an_opacity_of_its_stroke_only(data: ChartData) -> None:
    """With `opacity`, the PNG of 300 lines took 40 s instead of 3 s."""
    for chart, usual in ((charts.parallel(data), "0.75"), (charts.curves(data), "0.5")):
        lines = re.findall('<path aria-label="[^"]*trial: [^>]*"line mark"[^>]*>', svg(chart))
        assert len(lines) >= len(data.study.ranked)
        assert all(f'stroke-opacity="{usual}"' in line and " opacity=" not in line for line in lines)


def test_a_slice_shows_only_trials_in_which_the_setting_is_active(data: ChartData) -> None:
    dimension = next(each for each in data.study.space.dimensions if each.name == "lstm_dropout")
    active = [record for _, record in data.study.ranked if "lstm_dropout" in record.params]
    marks = re.findall(r'aria-label="[^"]*lstm_dropout: [^"]*kind: ', svg(charts.setting_slice(data, dimension)))
    assert len(marks) == len(active)
    assert 0 < len(active) < len(data.study.ranked)


def test_the_choices_of_a_slice_are_the_values_of_its_marks(tmp_path: Path) -> None:
    """Both have six significant digits."""
    (tmp_path / "space.yaml").write_text("settings: {learning_rate: [0.1234567, 0.2]}")
    record_study(tmp_path / "s", trials=8, space=str(tmp_path / "space.yaml"))
    data = chart_data_of(tmp_path / "s")
    shown = charts.setting_slice(data, data.study.space.dimensions[0]).to_dict()
    assert shown["encoding"]["x"]["scale"]["domain"] == [0.123457, 0.2]
    assert {row["learning_rate"] for row in data.rows} == {0.123457, 0.2}


def test_a_setting_that_is_active_in_no_trial_has_no_slice(data: ChartData) -> None:
    """Its chart was empty. A study whose only trial is a baseline outside the ranges has no slice at all."""
    every = data.study.space.dimensions
    rows = [data.rows[0] | {"idle": [at for at, each in enumerate(every) if each.name != "pooling"]}]
    assert [each.name for each in charts.sliced(data)] == [each.name for each in every]
    assert [each.name for each in charts.sliced(replace(data, rows=rows))] == ["pooling"]
    assert "slices" not in reasons(replace(data, rows=rows))
    rows = [data.rows[0] | {"idle": list(range(len(every)))}]
    assert reasons(replace(data, rows=rows))["slices"] == "No ended trial has a value in its searched range yet."


def test_the_axis_of_one_value_shows_it(data: ChartData) -> None:
    """Vega's own label of 0.67 alone was 1."""
    row = data.rows[0] | {"val_metric": 0.67}
    one = replace(data, rows=[row], text=json.dumps([row]))
    assert ">0.67<" in svg(charts.history(one))
    assert ">0.67<" in svg(charts.setting_slice(one, data.study.space.dimensions[0]))
    assert ">0.70<" in svg(charts.history(data))  # as wide as 0.65


@pytest.mark.slow
def test_every_setting_has_a_slice(data: ChartData, slices: str) -> None:
    assert all(f">{dimension.name}<" in slices for dimension in data.study.space.dimensions)
    assert ">mean</text>" in slices
    assert re.findall(r'<tspan/><tspan x="0" dy="[0-9.]+">([^<]+)<', slices) == ["max", "mean+max"]  # a line lower


@pytest.mark.slow
def test_the_marks_of_a_slice_are_in_the_same_places_among_other_slices(data: ChartData, slices: str) -> None:
    """With one scale for all, the marks of `pooling` were in the columns of other choices."""

    def places(drawn: str) -> list[str]:
        return re.findall(r'aria-label="[^"]*kind: [^>]*transform="translate\(([^)]*)\)', drawn)

    alone = [place for each in data.study.space.dimensions for place in places(svg(charts.setting_slice(data, each)))]
    assert len(alone) > len(data.study.ranked)
    assert places(slices) == alone


def test_importances_do_not_change_optunas_verbosity(data: ChartData) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)  # Optuna's default
    assert setting_importances(data.study)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


@pytest.mark.slow
def test_importances_find_the_settings_that_matter(tmp_path: Path) -> None:
    record_study(tmp_path / "s", trials=200)
    data = chart_data_of(tmp_path / "s")
    shares = setting_importances(data.study)
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares)[:2] == ["n_layers", "freeze_embedding"]
    assert f">{shares['n_layers']:.1%}<" in svg(charts.importances(data))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trials", "says"),
    [(6, "trials in the searched ranges are too few to compute importances"), (24, "mostly due to chance")],
)
def test_importances_of_few_trials_carry_a_warning(
    drawn: dict[str, Figure], tmp_path: Path, trials: int, says: str
) -> None:
    record_study(tmp_path / "s", trials=trials)
    figure = figures(chart_data_of(tmp_path / "s"))["importances"]
    assert (figure.chart is not None) == (trials > 6)
    assert says in str(figure.note)
    assert drawn["importances"].chart is not None
    assert drawn["importances"].note is None


@pytest.mark.slow
def test_importances_of_equal_trials_say_that_they_are_equal(tmp_path: Path) -> None:
    params = SPACE.resolve(lambda dimension: midpoint(dimension.distribution))
    same = [trial(number, range(40), params=params, config=SPACE.to_config(params).to_dict()) for number in range(9)]
    outside = trial(9, range(30))  # has a hidden_dim below its range
    write_study(tmp_path / "s", [*same, outside], attributes(spec=FULL_SPEC))
    note = reasons(chart_data_of(tmp_path / "s"))["importances"]
    assert note == "All 9 ended trials in the searched ranges have the same accuracy; there are no differences."


def test_importances_of_a_narrow_logarithmic_range_are_computed(data: ChartData) -> None:
    """Without the logarithms, the forest would take all its values for one."""
    decay = FloatDistribution(1e-10, 1e-8, log=True)
    space = Space(name="s", dimensions=(Dimension(name="weight_decay", field="weight_decay", distribution=decay),))
    records = [replace(each, params={"weight_decay": 1e-10 * 1.1**each.number}) for each in data.study.records]
    assert setting_importances(replace(data.study, space=space, records=records)) == {"weight_decay": 1.0}


def test_one_trial_is_too_few_for_importances(tmp_path: Path) -> None:
    params = SPACE.resolve(lambda dimension: midpoint(dimension.distribution))
    one = trial(0, range(40), params=params, config=SPACE.to_config(params).to_dict())
    write_study(tmp_path / "s", [one], attributes(spec=FULL_SPEC))
    note = reasons(chart_data_of(tmp_path / "s"))["importances"]
    assert note == "1 ended trial in the searched ranges is too few to compute importances."


@pytest.mark.slow
def test_a_trial_outside_the_searched_ranges_is_left_out_of_the_importances(data: ChartData) -> None:
    """The usual baseline has another optimizer, which is missing in its parameters. It is not the first choice."""
    best = data.study.ranked[0][1]
    without = [row for row in data.study.rows if row.trial != best.number]
    records = list(data.study.records)
    rest = dict(best.params)
    del rest["optimizer"]
    records[best.number] = replace(best, params=rest)
    found = setting_importances(replace(data.study, records=records))
    assert found == setting_importances(replace(data.study, rows=without))
    assert found != setting_importances(data.study)


def segments(data: ChartData, number: int) -> list[tuple[str, float, float]]:
    """Return worker, start and end of a trial's bars, in seconds since the first trial of a recorded study."""
    [row] = [row for row in data.rows if row["trial"] == number]
    return [(worker, a / 1000 - BEGAN.timestamp(), b / 1000 - BEGAN.timestamp()) for worker, a, b in row["segments"]]


def test_the_timeline_has_a_bar_for_each_time_that_a_worker_had_a_trial(data: ChartData) -> None:
    assert segments(data, 1) == [("host/101", 0, 9)]
    drawn = svg(charts.timeline(data))
    assert len(re.findall('aria-roledescription="bar"', drawn)) == 40
    assert ">host/100<" in drawn


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hours", "ticks"), [(0.01, "14:00:05 "), (1, "14:05 "), (48, "21:00 Jan 03 03:00"), (480, "Jan 11 ")]
)
def test_the_timeline_has_24_hours_and_the_dates_of_days(data: ChartData, hours: float, ticks: str) -> None:
    """Vega's own format showed 14:01 as 02:01."""
    begin = datetime(2026, 1, 2, 14, 0, 1).timestamp()
    row = data.rows[0] | {"segments": [["host/1", 1000 * begin, 1000 * (begin + 3600 * hours)]]}
    drawn = svg(charts.timeline(replace(data, rows=[row], text=json.dumps([row]))))
    [labels] = re.findall("role-axis-label(.*?)role-axis-title.*?>time<", drawn)
    assert ticks in " ".join(re.findall(">([^<]+)</text>", labels))


def test_a_trial_that_paused_has_several_bars(tmp_path: Path) -> None:
    kept = attributes()
    with small_study(tmp_path / "s", kept.pop("spec")) as journal:
        for name, value in kept.items():
            journal.set_study_attr(name, value)
        number = add(journal, 0.5)
        segment = {"worker": "node/7", "since": 100.0, "until": 107.0}
        journal.set_trial_attr(number, "segments", [segment, {"worker": "node/8", "since": 108.0, "until": 109.0}])
        journal.finish_trial(number, TrialState.COMPLETE, {"worker": "node/7", "since": 110.0, "until": 111.0}, 1)
    bars = next(row["segments"] for row in chart_data_of(tmp_path / "s").rows if row["trial"] == number)
    assert bars == [("node/7", 100000, 107000), ("node/8", 108000, 109000), ("node/7", 110000, 111000)]


def test_a_running_trial_lasts_until_now_or_without_the_lock_of_a_search_until_the_last_event(tmp_path: Path) -> None:
    record_study(tmp_path / "s", trials=6, running=2)
    assert segments(chart_data_of(tmp_path / "s"), 5) == [("trial 5", 20, 20)]
    with study_lock(tmp_path / "s", searches=True):
        [(_, start, end)] = segments(chart_data_of(tmp_path / "s"), 5)
    assert end > start == 20


@pytest.mark.slow
def test_a_paused_trial_has_a_mark_of_its_own_in_every_chart_of_trials(tmp_path: Path) -> None:
    """It is ranked: what it has reached so far counts."""
    trials = [trial(0, range(40)), trial(1, range(25)), trial(2, range(35), state="PAUSED")]
    write_study(tmp_path / "s", trials, attributes(spec=FULL_SPEC))
    data = chart_data_of(tmp_path / "s")
    assert [row["kind"] for row in data.rows] == ["best", "paused", "baseline"]
    for draw in (charts.history, charts.curves, charts.timeline):
        drawn = svg(draw(data))
        assert ">paused<" in drawn  # in the legend
        assert "kind: paused" in drawn


@pytest.mark.parametrize(("best", "side"), [(0, "left"), (-1, "right")])
def test_the_text_of_the_best_epoch_is_within_the_chart(data: ChartData, best: int, side: str) -> None:
    assert data.study.winner is not None
    number, records = data.study.winner.trial, list(data.study.records)
    epochs = list(records[number].epochs)
    epochs[best] = replace(epochs[best], score=2.0)
    records[number] = replace(records[number], epochs=tuple(epochs))
    layers = charts.losses(replace(data, study=replace(data.study, records=records))).to_dict()["layer"]
    assert [each["mark"]["align"] for each in layers if each["mark"]["type"] == "text"] == [side]


def test_the_losses_of_the_best_trial_have_two_lines(data: ChartData) -> None:
    drawn = svg(charts.losses(data))
    assert len(re.findall('aria-roledescription="line mark"', drawn)) == 2
    assert ">best epoch<" in drawn
    sources = map(json.loads, charts.losses(data).to_dict()["datasets"].values())
    [rows] = [rows for rows in sources if "split" in rows[0]]
    assert data.study.winner is not None
    epochs = data.study.records[data.study.winner.trial].epochs
    assert [(row["epoch"], row["split"], row["loss"]) for row in rows] == [
        (each.epoch, split, plain(loss))
        for each in epochs
        for split, loss in (("train", each.train_loss), ("validation", each.val_loss))
    ]


def test_the_confusions_are_those_of_the_table(data: ChartData) -> None:
    results = default_results(data.study)
    row = data.study.default_trial
    assert results is not None
    assert row is not None
    assert results.confusion.trace() / results.confusion.sum() == pytest.approx(row.val_accuracy)
    drawn = svg(charts.confusion(data))
    found = re.findall(r'aria-label="answer: (\w+); label: (\w+); sentences: (\d+)', drawn)
    counts = {(label, answer): int(count) for answer, label, count in found}
    names = [each.name for each in results.scores]
    assert counts == {(a, b): results.confusion[i, j] for i, a in enumerate(names) for j, b in enumerate(names)}


def test_long_names_of_classes_are_slanted(tmp_path: Path) -> None:
    record_study(tmp_path / "s", trials=4, classes=("customer complaint", "account question"))
    chart = charts.confusion(chart_data_of(tmp_path / "s")).to_dict()
    assert chart["layer"][0]["encoding"]["x"]["axis"]["labelAngle"] == -45


def test_no_figure_denies_the_epochs_of_a_trial_in_training(tmp_path: Path) -> None:
    record_study(tmp_path / "s", trials=1, running=1)
    why = reasons(chart_data_of(tmp_path / "s"))
    assert "curves" not in why
    assert why["history"] == why["losses"] == "No trial has ended with a value yet."


@pytest.mark.slow
def test_too_many_classes_have_no_chart_of_confusions(tmp_path: Path) -> None:
    classes = tuple(f"class {number}" for number in range(WIDEST_CHART + 1))
    record_study(tmp_path / "s", trials=4, classes=classes)
    assert reasons(chart_data_of(tmp_path / "s"))["confusion"] == "41 classes are too many for a matrix."


def test_the_expected_best_is_drawn_for_each_number_of_random_trials(data: ChartData) -> None:
    chart = charts.expected(data)
    rows = json.loads(chart.data.values)
    assert [row["trials"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert ">trials (of 4.7 epochs each)<" in svg(chart)
    band, *lines = chart.to_dict()["layer"]
    assert (band["encoding"]["y"]["field"], band["encoding"]["y2"]["field"]) == ("low", "high")
    drawn = [(line["encoding"]["y"]["field"], line["mark"].get("strokeDash")) for line in lines]
    assert drawn == [("unbiased", None), ("plugin", [6, 4])]


def test_a_study_that_has_just_begun_says_so_in_every_figure(tmp_path: Path) -> None:
    record_study(tmp_path / "s", trials=0)
    for figure in figures(chart_data_of(tmp_path / "s")).values():
        assert figure.chart is None
        assert figure.note


def test_a_tooltip_has_every_setting(data: ChartData) -> None:
    shown = charts.history(data).to_dict()["layer"][2]["transform"][0]["calculate"]
    assert all(f"{name}: datum.{name}" in shown for name in data.settings)


def calibrated(data: ChartData) -> ChartData:
    """Return the study with test evaluations of two calibrated models, the second one of trial 3."""
    bins = [{"low": 0.6, "high": 0.7, "sentences": 9, "confidence": 0.65, "accuracy": 0.5}]
    last = {
        "verb": "retrain",
        "trial": 3,
        "on": "train",
        "split": data.study.test_split,
        "calibration": {"before": {"error": 0.15, "bins": bins}, "after": {"error": 0.05, "bins": bins}},
    }
    # A model of other data, as by `retrain --dataset`, does not count.
    other = last | {"split": "other sentences", "calibration": {"before": {"error": 0.9, "bins": bins}}}
    first = last | {"trial": 2}
    evaluations = {f"test_evaluation:{at}": each for at, each in enumerate([first, last, other])}
    study = replace(data.study, attributes={**data.study.attributes, **evaluations})
    return replace(data, study=study)


@pytest.mark.slow
def test_the_last_calibrated_model_has_a_reliability_diagram(data: ChartData) -> None:
    shown = figures(calibrated(data))["calibration"]

    assert shown.chart is not None
    drawn = svg(shown.chart)
    assert drawn.count("accuracy: 0.5") >= 2
    assert "state: before" in drawn
    assert "state: after" in drawn
    assert shown.note == (
        "Model of trial 3 by retrain, trained on train: expected calibration error 0.1500 before, 0.0500 after."
    )


@pytest.mark.slow
def test_an_evaluation_on_other_data_is_no_reason_for_no_diagram(data: ChartData) -> None:
    other = {"verb": "retrain", "split": "80/10/10 of other data", "calibration": {"before": {}}}
    kept = {**data.study.attributes, "test_evaluation:0": other}
    study = replace(data.study, attributes=kept, assessment=replace(data.study.assessment, sentences=200))
    assert "run sentune retrain or ensemble" in reasons(replace(data, study=study))["calibration"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentences", "why"),
    [
        ({"audit": {"splits": {"test": 0}}}, 200, "There is no test split on which"),
        ({"test_evaluation:0": {"verb": "retrain"}}, 200, "calibration needs at least 100 validation sentences with 5"),
        ({}, 99, "calibration needs at least 100 validation sentences with 5 mistakes."),
    ],
)
def test_no_command_is_named_that_would_give_no_calibrated_model(
    data: ChartData, change: dict[str, Any], sentences: int, why: str
) -> None:
    kept = {**data.study.attributes, **change}
    if "test_evaluation:0" in change:
        kept["test_evaluation:0"] = {"split": data.study.test_split, **change["test_evaluation:0"]}
    study = replace(data.study, attributes=kept, assessment=replace(data.study.assessment, sentences=sentences))
    note = reasons(replace(data, study=study))["calibration"]
    assert why in note
    assert "run " not in note


def test_a_loss_is_drawn_in_its_own_direction(data: ChartData) -> None:
    """The study with another metric: its scores, which are negated losses then, stay."""
    rows = [replace(row, metric="log_loss") for row in data.study.rows]
    loss = chart_data(replace(data.study, rows=rows))
    assert loss.rows[0]["curve"] == [-value for value in data.rows[0]["curve"]]
    for each, best in ((data, "max"), (loss, "min")):
        steps = charts.history(each).to_dict()["layer"][0]["transform"]
        assert [step["window"][0]["op"] for step in steps if "window" in step] == [best]


def test_a_trial_with_another_value_of_a_fixed_setting_is_not_in_the_searched_ranges(data: ChartData) -> None:
    """With `--set optimizer=adam`, each suggestion has the learning rate of adam. The usual baseline has adadelta."""
    decay, when = FloatDistribution(1e-10, 1e-8, log=True), (("optimizer", ("adam",)),)
    dimension = Dimension(name="weight_decay", field="weight_decay", distribution=decay, when=when)
    space = Space(name="s", dimensions=(dimension,))
    other = data.study.ranked[0][0].trial
    records = [
        replace(each, params={"weight_decay": 1e-9}, config={**each.config, "optimizer": "adam"})
        for each in data.study.records
    ]
    records[other] = replace(records[other], params={}, config={**records[other].config, "optimizer": "adadelta"})
    found = [row.trial for row, _ in searched_trials(replace(data.study, space=space, records=records))]
    assert found == [row.trial for row, _ in data.study.ranked if row.trial != other and row.copy_of is None]


def test_a_large_size_in_parallel_coordinates_is_no_power_of_ten(tmp_path: Path) -> None:
    """The text of 1024 was 1.02e+3."""
    (tmp_path / "space.yaml").write_text("settings: {hidden_dim: [512, 1024, 2048]}")
    record_study(tmp_path / "s", trials=9, space=str(tmp_path / "space.yaml"))
    drawn = svg(charts.parallel(chart_data_of(tmp_path / "s")))
    assert all(f">{size}<" in drawn for size in (512, 1024, 2048))
    assert "e+" not in "".join(re.findall(">([^<>]+)</text>", drawn))


@pytest.mark.slow
def test_workers_of_a_long_host_name_have_different_labels(data: ChartData) -> None:
    host = "raycluster-kuberay-worker-small-group-abcde"
    rows = [data.rows[0] | {"segments": [[f"{host}/{pid}", 1000, 2000] for pid in (101, 102)]}]
    drawn = svg(charts.timeline(replace(data, rows=rows, text=json.dumps(rows))))
    assert set(re.findall(r">(\.\.\.[^<]*)</text>", drawn)) == {f"...{host[-17:]}/{pid}" for pid in (101, 102)}


@pytest.mark.slow
def test_of_many_choices_some_have_a_label(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(f"settings: {{hidden_dim: {list(range(8, 808, 8))}}}")
    record_study(tmp_path / "s", trials=8, space=str(tmp_path / "space.yaml"))
    data = chart_data_of(tmp_path / "s")
    drawn = svg(charts.setting_slice(data, data.study.space.dimensions[0]))
    shown = {int(text) for text in re.findall(r">(\d+)<", drawn)}
    assert shown & {*range(8, 808, 8)} == {*range(8, 808, 40)}
