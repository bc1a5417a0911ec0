"""tuning.api: calls become the options of the command; a study shows the content of its journal."""

import inspect
import logging
import re
from pathlib import Path
from typing import Any

import altair
import pandas as pd
import pytest

import tuning
from benchmarks.inputs.recorded_study import record_study
from core.errors import ConfigError, DataError, UserError
from tuning import Study, load_study, search
from tuning.console import command_line, print_note
from tuning.journal.folder import JOURNAL
from tuning.retrain.reproduction import Reproduction
from tuning.run import SearchEnd
from tuning.run_options import RunOptions

FRAME = pd.DataFrame({"body": ["a fine film", "so dull"] * 20, "stars": [5, 1] * 20})


class Run:
    """Takes the place of the search, and keeps how it was called."""

    def __init__(self) -> None:
        self.options: RunOptions | None = None
        self.command = ""
        self.end = SearchEnd(finished=True, hints=[])
        self.error: Exception | None = None

    def __call__(self, options: RunOptions) -> SearchEnd:
        self.options, self.command = options, command_line()
        if self.error:
            raise self.error
        return self.end


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    found = Run()
    monkeypatch.setattr("tuning.run.search_study", found)
    monkeypatch.chdir(tmp_path)
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("results") / "mine"
    record_study(folder, trials=24, classes=("<b>bad</b>", "good"), error="<script>alert(1)</script>\u202e")
    return load_study("mine", results=folder.parent)


@pytest.mark.parametrize(
    "call",
    [
        lambda study: study.retrain(out=""),
        lambda study: study.ensemble(out=""),
        lambda study: study.report(""),
        lambda study: study.report(images=""),
        lambda _: load_study("mine", results=""),
        lambda _: load_study("mine", cache_dir=""),
    ],
)
def test_an_empty_path_is_refused(call: Any, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a command line: it is from a variable without a value, and would be the working folder."""
    monkeypatch.setenv("SENTUNE_RESULTS", str(study.folder.parent))
    with pytest.raises(ConfigError, match=r"^a path is empty; pass a file or folder, or leave the option out$"):
        call(study)


def test_the_public_names_are_these() -> None:
    assert tuning.__all__ == dir(tuning) == ["Study", "load_study", "search"]
    with pytest.raises(AttributeError, match="module 'tuning' has no attribute 'serach'"):
        tuning.serach  # noqa: B018


@pytest.mark.slow
def test_a_path_may_begin_with_the_home_folder(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell replaces `~` in a call; a folder of this name would be made."""
    monkeypatch.setenv("HOME", str(study.folder.parent))
    assert load_study("~/mine").folder == load_study("mine", results="~").folder == study.folder
    assert load_study("~/mine", cache_dir="~/cache").cache_dir == study.folder.parent / "cache"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert study.report("~/page.html") == tmp_path / "page.html"
    assert re.search(r"this page</dt><dd><code>study.report\(", (tmp_path / "page.html").read_text())
    with pytest.raises(UserError, match=r"page\.html is a file; choose another folder"):
        study.retrain(out="~/page.html")


def test_a_path_gives_the_options_of_the_command(run: Run, tmp_path: Path) -> None:
    """The journal is then that of `sentune run`, with this call as its command."""
    study = search(
        Path("reviews.csv"), text="body", label="stars", trials=24, epochs=3, set={"hidden_dim": "int(4, 16)"},
        gpus_per_trial=0, time_budget="30m", tensorboard=False, lag=2, results=tmp_path / "mine", cache_dir="cache",
    )  # fmt: skip
    assert run.options == RunOptions(
        dataset="reviews.csv", text_column="body", label_column="stars", trials=24, epochs="3",
        overrides=["hidden_dim=int(4, 16)"], gpus_per_trial="0", time_budget="30m", lag=2.0, results=tmp_path / "mine",
        cache_dir=Path("cache"),
    )  # fmt: skip
    assert (study.folder, study.cache_dir) == (tmp_path / "mine" / "reviews-quick", Path("cache").absolute())
    assert run.command.startswith("search('reviews.csv', text='body', label='stars', trials=24, ")


def test_a_list_of_values_is_a_choice(run: Run) -> None:
    search("snippets", set={"pooling": ["last", "max"], "clip_norm": (None, 2.0)})
    assert run.options is not None
    assert run.options.overrides == ["pooling=[last, max]", "clip_norm=[None, 2.0]"]


def test_a_frame_is_kept_in_the_results_and_names_its_study(run: Run, tmp_path: Path) -> None:
    study = search(FRAME, text="body", label="stars")
    assert run.options is not None
    path = Path(run.options.dataset)
    assert path.parent == tmp_path / "results" / "frames"
    assert (run.options.text_column, run.options.label_column) == ("body", "stars")
    assert study.name == f"{path.stem}-quick"
    assert search((FRAME["body"], FRAME["stars"]), name="pair").name == "pair"
    assert (run.options.text_column, run.options.label_column) == ("text", "label")
    assert run.command == f"search({run.options.dataset!r}, name='pair', text='text', label='label')"  # it resumes


def test_the_results_folder_is_that_of_the_command(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SENTUNE_RESULTS", str(tmp_path / "elsewhere"))
    assert search("snippets").folder == tmp_path / "elsewhere" / "snippets-quick"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SENTUNE_RESULTS", "~/studies")
    assert search("snippets").folder == tmp_path / "home" / "studies" / "snippets-quick"


def test_the_signature_has_every_option_with_its_default() -> None:
    shown, options = (inspect.signature(each).parameters for each in (search, RunOptions))
    assert shown.keys() - options.keys() == {"data", "text", "label", "set"}
    assert options.keys() - shown.keys() == {"dataset", "text_column", "label_column", "overrides"}
    assert all(shown[name].default == options[name].default for name in shown.keys() & options.keys())


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"trails": 3}, "search has no option 'trails'; did you mean trials?"),
    "text": ({"text_column": "body"}, r"search has no option 'text_column'; did you mean text\?$"),
    "label": ({"label_column": "stars"}, r"search has no option 'label_column'; did you mean label\?$"),
    "overrides": ({"overrides": []}, r"search has no option 'overrides'; did you mean set\?$"),
    "dataset": ({"dataset": "a.csv"}, r"search has no option 'dataset'; did you mean data\?$"),
    "far": ({"xyz": 3}, "search has no option 'xyz'; choose from address, allow_leak, "),
    "rule": ({"workers": 0}, "workers must be from 1 to 10,000, got 0"),
    "text for a number": ({"trials": "12"}, "trials must be a whole number, got '12'"),
    "text for set": ({"set": "hidden_dim=64"}, "set must be a dictionary such as .+, got 'hidden_dim=64'"),
    "two words": ({"patience_trials": 0}, "patience_trials must be from 1 to 100,000, got 0"),
}


@pytest.mark.parametrize(("options", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_wrong_option_is_named_before_any_data_are_read(
    options: dict[str, Any], message: str, run: Run, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        search(FRAME, **options)
    assert run.options is None
    assert not (tmp_path / "results").exists()


def test_an_error_names_keywords_in_place_of_options(run: Run) -> None:
    with pytest.raises(DataError, match=r"^the data frame: no column 'txt'; choose text from 'body', 'stars'$"):
        search(FRAME, text="txt")
    run.error = UserError("my--data.csv: run `ray start --head`, or pass --label-column, or --allow-leak")
    with pytest.raises(UserError, match=r"^my--data\.csv: run `ray start --head`, or pass label, or allow_leak$"):
        search(FRAME)


def test_a_note_names_keywords_in_place_of_options(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    note = "pass --text-column, or --metric macro_f1; look with `sentune best STUDY --trial N`"
    monkeypatch.setattr("tuning.run.search_study", lambda options: print_note(note) or run.end)
    search(FRAME)
    print_note(note)
    assert capsys.readouterr().err.splitlines() == [
        'pass text, or metric="macro_f1"; look with `sentune best STUDY --trial N`',
        note,
    ]


def test_a_call_leaves_the_loggers_of_the_process_as_they_were(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a notebook that uses Optuna or Ray Tune afterwards needs them."""
    loggers = [logging.getLogger(name) for name in ("optuna", "ray.tune", "ray.widgets")]

    def levels() -> list[int]:
        return [logger.level for logger in loggers]

    def searching(options: RunOptions) -> SearchEnd:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        raise KeyboardInterrupt

    before = levels()
    monkeypatch.setattr("tuning.run.search_study", searching)
    with pytest.raises(KeyboardInterrupt):
        search(FRAME)
    assert levels() == before


def test_an_interrupted_search_raises_keyboard_interrupt(run: Run) -> None:
    """A script must not continue with a study that is not finished."""
    run.end = SearchEnd(finished=False, hints=[])
    with pytest.raises(KeyboardInterrupt):
        search(FRAME)


def test_the_table_has_a_column_for_each_field_and_setting(study: Study) -> None:
    table = study.table()
    assert list(table["rank"].dropna().astype(int)) == list(range(1, table["rank"].notna().sum() + 1))
    fields = {*type(study.best).__slots__} - {"params"}
    assert sorted(table.columns) == sorted([*fields, *study.best.params])
    assert table["val_accuracy"][0] == study.best.val_accuracy == table["val_accuracy"].max()
    assert list(study.table(state="stopped")["state"].unique()) == ["PRUNED"]
    assert list(study.table(where="trial=-1").columns) == list(table.columns)
    assert study.table(top=2, where="n_layers=1", sort="-seconds")["n_layers"].eq(1).all()
    assert study.table(top=2, state="done", sort="trial")["trial"].tolist() == [0, 1]
    assert not (table["test_accuracy"] > 0.5).any()  # numbers, although no trial has one yet
    assert study.table(where="trial=-1")["corrected"].dtype == float
    assert study.table(where="trial=0")["copy_of"].dtype == float


def test_best_and_recommended_are_rows_of_the_table(study: Study) -> None:
    assert study.best.rank == 1
    assert study.best.params["hidden_dim"] == study.table()["hidden_dim"][0]
    assert study.recommended is not None
    assert study.recommended.recommended


def test_a_study_is_made_from_the_call_that_it_shows(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later change of the current folder does not matter."""
    monkeypatch.chdir(study.folder.parent)
    same = Study("mine", "cache")
    monkeypatch.chdir(tmp_path)
    assert (same.folder, same.cache_dir) == (study.folder, study.folder.parent / "cache")
    assert Study(str(study.folder)).best == study.best


def test_a_study_without_results_has_no_best(tmp_path: Path) -> None:
    record_study(tmp_path / "new", trials=2, running=2)
    new = load_study(tmp_path / "new")
    with pytest.raises(
        UserError,
        match=r"no trial of study 'new' has ended with a value; run the study first, or .* choose another name$",
    ):
        new.best  # noqa: B018
    assert new.recommended is None
    with pytest.raises(UserError, match="there is no chart history of study 'new': No trial has ended with"):
        new.charts.history()
    with pytest.raises(UserError, match=r'sampler="random", first_trials="random" under another name$'):
        new.charts.expected()


@pytest.mark.parametrize("field", ["best", "recommended"])
def test_a_field_of_a_damaged_study_names_keywords(field: str, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / JOURNAL).write_text("{}\n")
    with pytest.raises(UserError, match="another name"):
        getattr(Study(tmp_path / "s"), field)


def test_a_notebook_shows_table_and_summary_with_markup_escaped(study: Study) -> None:
    html = study._repr_html_()
    assert html.count("<table>") == 1
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in html
    assert "no use of the test split is recorded" in html
    assert str(study).splitlines()[0].split()[:2] == ["rank", "trial"]
    assert repr(study) == f"Study({str(study.folder)!r})"


@pytest.mark.slow
def test_each_chart_is_an_altair_chart(study: Study) -> None:
    names = ["history", "curves", "losses", "importances", "timeline", "parallel", "slices", "confusion"]
    assert set(names) < set(dir(study.charts))
    for name in ("history", "confusion"):
        chart = getattr(study.charts, name)()
        assert isinstance(chart, altair.TopLevelMixin), name
        assert chart.to_dict()["$schema"].startswith("https://vega.github.io/schema/vega-lite/"), name
    assert "history()" in repr(study.charts)
    assert "best so far" in str(study.charts.history.__doc__)
    with pytest.raises(AttributeError, match="there is no chart 'pie'; choose from history, curves, "):
        study.charts.pie()
    with pytest.raises(UserError, match=r"was evaluated on the test split yet; run study\.retrain\(\)\.$"):
        study.charts.calibration()


@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        ("retrain", {"trial": 99}, "^trial must be recommended, best or a number from 0 to 23, got '99'"),
        ("ensemble", {"size": 0}, "^size must be from 1 to 100, got 0"),
        ("confirm", {"top": 10**5000}, "^top must be from 1 to 100, got a number of more than 4,300 digits"),
        ("table", {"where": "x"}, "^cannot read where='x'"),
    ],
)
def test_a_wrong_argument_of_a_method_is_named(
    study: Study, verb: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        getattr(study, verb)(**arguments)


@pytest.mark.parametrize(
    ("verb", "work", "arguments", "text"),
    [
        (
            "retrain", "retrain.command.retrain_trial",
            {"trial": 0, "on": "train+val", "threads": 1, "precision": "bf16", "out": Path("model")},
            "trial=0, on='train+val', seeds=1, threads=1, precision='bf16', out='model'",
        ),
        (
            "retrain", "retrain.command.retrain_trial",
            {"seeds": 2, "strict": True, "dataset": "a.csv", "vectors": "none"},
            "trial='recommended', on='train', seeds=2, strict=True, dataset='a.csv', vectors='none'",
        ),
        (
            "ensemble", "ensemble.command.make_ensemble",
            {"max_cost": 9, "on": "train+val", "workers": 2, "dataset": "a.csv", "vectors": "none", "out": "model"},
            "size=5, max_cost=9, on='train+val', workers=2, dataset='a.csv', vectors='none', out='model'",
        ),
        (
            "confirm", "confirm.command.confirm_study",
            {"seeds": 4, "folds": 3, "workers": 2, "dataset": "a.csv", "vectors": "none"},
            "top=5, seeds=4, folds=3, workers=2, dataset='a.csv', vectors='none'",
        ),
    ],
)  # fmt: skip
def test_cards_and_messages_show_each_argument_of_a_call(
    study: Study, verb: str, work: str, arguments: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(options: object) -> None:
        raise KeyboardInterrupt(command_line(), options)

    monkeypatch.setattr(f"tuning.{work}", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        getattr(study, verb)(**arguments)
    said, options = caught.value.args
    assert said == f"study.{verb}({text})"
    given = {name: str(value) for name, value in arguments.items() if name != "strict"}
    assert {name: str(getattr(options, name)) for name in given} == given
    assert options.places == {name: given[name] for name in ("dataset", "vectors") if name in given}


def test_strict_refuses_a_search_that_is_not_reproduced(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Reproduction(epochs=3, equal=1, difference="epoch 2 has another loss")
    monkeypatch.setattr("tuning.retrain.command.retrain_trial", lambda options: found)
    with pytest.raises(UserError, match=r"^the search is not reproduced \(DIFFERS: 1/3 .*; pass strict=False to"):
        study.retrain(strict=True)


def test_a_study_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no study 'gone' in .+; the folder has none"):
        load_study("gone", results=tmp_path)
