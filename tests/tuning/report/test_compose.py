"""The whole page: its figures are those of `best`, nothing in a study becomes markup, and it loads no other file."""

import base64
import hashlib
import json
import re
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import altair
import pytest

from benchmarks.inputs.recorded_study import record_study, some_audit
from core.errors import CorruptionError
from core.io.text import printable
from tests.support.assessed_studies import write_study_with_ensemble
from tests.support.pages import Page, chart_data_of, made
from tuning.analysis.best import table_of
from tuning.analysis.filters import RowFilter
from tuning.analysis.ranking import read_assessed
from tuning.report.chart_data import default_results
from tuning.report.charts import CONFIG, KINDS, SHADES, history
from tuning.report.compose import page_data, specifications

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028\u202e'\"&{{ 7 * 7 }}"
CSS = (files("tuning.report") / "assets" / "page.css").read_text()
LIGHT, DARK = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in CSS.split("@media")[:2])
TEXT = [
    *[(text, behind) for text in ("ink", "muted", "accent") for behind in ("paper", "card")],
    *[("ink", shade) for shade in ("q0", "q1", "q2")],
    *[("strong", shade) for shade in ("q4", "q5", "q6")],
    ("warn-ink", "warn"),
]
MARKS = [(kind, "card") for kind in ("done", "stopped", "failed", "best", "baseline", "running", "paused")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "s"
    record_study(path, trials=24, running=1)
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return made(folder)


def best(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(table_of(folder, RowFilter(state="all"), "json"))
    return rows


def check_rows(page: Page, folder: Path) -> None:
    """Compare the rows of a page with those of `best`."""
    states = {"COMPLETE": "done", "PRUNED": "stopped", "FAIL": "failed", "RUNNING": "running"}
    for row, trial in zip(page.rows, best(folder), strict=True):
        for name, value in {**trial, **trial["params"], "state": states[trial["state"]]}.items():
            if isinstance(value, float):
                assert row[name] == pytest.approx(value, rel=1e-5)
            elif name != "params":
                unknown = None if name in trial else "none"
                assert row[name] == {True: "yes", False: "no", None: unknown}.get(value, value) or row[name] == value


@pytest.mark.slow
def test_the_page_holds_the_rows_of_best(page: Page, folder: Path, tmp_path: Path) -> None:
    check_rows(page, folder)
    record_study(tmp_path / "s", trials=24, running=1, space="default")
    check_rows(made(tmp_path / "s"), tmp_path / "s")


@pytest.mark.slow
def test_the_headline_has_the_figures_of_best(page: Page, folder: Path) -> None:
    first = best(folder)[0]
    notebook = next(row for row in best(folder) if row["baseline"])
    plain, majority = json.loads(table_of(folder, RowFilter(), "json"))[-2:]
    assert (plain["trial"], majority["trial"]) == ("plain", "major")
    shown = [float(each["value"] or "nan") for each in page.named("data")]
    expected = [first["corrected"], *(row["val_accuracy"] for row in (first, notebook, plain, majority))]
    assert shown == expected
    assert "TF-IDF of words and word pairs with logistic regression; 95% interval" in page.text
    assert f"95% interval {first['corrected_low']:.4f} to {first['corrected_high']:.4f}" in page.text


@pytest.mark.slow
def test_an_ensemble_that_gains_is_a_figure_and_one_that_does_not_a_remark(tmp_path: Path) -> None:
    write_study_with_ensemble(tmp_path / "good study", (range(40), range(60, 110), range(120, 180)), range(100, 150))
    ensemble = best_and_others(tmp_path / "good study")["ensemble"]
    page = made(tmp_path / "good study")
    assert ensemble["corrected"] in [float(each["value"] or "nan") for each in page.named("data")]
    assert f"Corrected gain over the best trial: {ensemble['difference']:+.4f}; 95% interval" in page.text
    assert "Run sentune ensemble 'good study'" in page.text
    write_study_with_ensemble(tmp_path / "bad", (range(40), range(41), range(42)), range(90))
    page = made(tmp_path / "bad")
    assert "An ensemble is not expected to be better than the best trial" in page.text
    assert "sentune ensemble" not in page.text


def best_and_others(folder: Path) -> dict[Any, dict[str, Any]]:
    return {row["trial"]: row for row in json.loads(table_of(folder, RowFilter(), "json"))}


@pytest.mark.slow
@pytest.mark.parametrize("damage", [{"sentences": "x"}, {"sentences": 0, "single_tokens": 1}])
def test_a_damaged_audit_is_named(tmp_path: Path, damage: dict[str, Any]) -> None:
    record_study(tmp_path / "s", audit=some_audit(("a", "b")) | damage)
    with pytest.raises(CorruptionError, match="the audit of the study is damaged "):
        made(tmp_path / "s")


@pytest.mark.slow
def test_nothing_in_a_study_becomes_markup(tmp_path: Path) -> None:
    classes = (EVIL, "b" + EVIL)
    folder = tmp_path / "<b>name&amp;"
    record_study(folder, classes=classes, error=EVIL, command=EVIL, audit=some_audit(classes),
                 data={"dataset": EVIL, "seed": 1})  # fmt: skip
    page = made(folder, command=EVIL)
    assert [attributes.get("type") for attributes in page.named("script")] == ["application/json", None, None]
    assert page.named("img") == page.named("b") == []
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]
    assert "<b>name&amp;" in page.text
    assert page.text.count("</script><script>alert(1)</script>") >= 6
    assert "{{ 7 * 7 }}" in page.text
    assert not {"\u2028", "\u202e"} & set(page.source)
    assert printable(EVIL) in [row["error"] for row in page.rows]


def test_a_theme_and_a_transformer_of_the_callers_altair_change_no_chart(tmp_path: Path) -> None:
    """As in a notebook whose author has enabled them for other charts, which keep them."""
    record_study(tmp_path / "s")
    chart = {"history": history(chart_data_of(tmp_path / "s"))}
    expected = specifications(chart)
    with altair.theme.enable("opaque"), altair.data_transformers.enable("vegafusion", consolidate_datasets=False):
        assert specifications(chart) == expected
        assert (altair.theme.active, altair.data_transformers.active) == ("opaque", "vegafusion")


def test_json_cannot_end_its_script_element() -> None:
    text = page_data({"name": EVIL}, {"rows": [EVIL, "<!--"]}, CSS)
    assert not {"<", ">", "&", "\u2028"} & set(text)
    assert json.loads(text) == [{"name": EVIL}, {"rows": [EVIL, "<!--"]}]


@pytest.mark.slow
def test_every_colour_of_the_charts_is_one_of_the_style(page: Page) -> None:
    styled = json.dumps(json.loads(page.raw["json"])[0])
    assert re.findall("#[0-9a-f]{6}", styled) == []
    assert re.search(r"#[0-9a-f]{6}", json.dumps([CONFIG, KINDS, SHADES]))


def test_only_its_own_style_and_script_may_run(page: Page) -> None:
    policy = next(each["content"] for each in page.named("meta") if each.get("http-equiv")) or ""
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for name in ("style", "script"):
        parts = re.findall(f"<{name}>(.*?)</{name}>", page.source, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts]
        assert rules[f"{name}-src"].split() == [f"'sha256-{digest}'" for digest in digests]


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    for tag, attributes in page.elements:
        assert "style" not in attributes, tag  # the policy would drop it
        for name in ("src", "href", "srcset", "action", "data"):
            assert re.match(r"#|data:,$", attributes.get(name) or "#"), tag
    assert "url(" not in page.raw["style"]


@pytest.mark.slow
def test_many_classes_are_listed_as_confusions(tmp_path: Path) -> None:
    record_study(tmp_path / "s", classes=tuple(f"class {i}" for i in range(20)))
    text = made(tmp_path / "s").text
    assert "20 classes are too many for a matrix" in text
    found = re.findall(r"class (\d+) classified as class (\d+): \d", text)
    assert found
    assert [int(said) for _, said in found] == [(int(right) + 1) % 20 for right, _ in found]


@pytest.mark.slow
def test_each_class_has_its_scores(page: Page, folder: Path) -> None:
    results = default_results(read_assessed(folder))
    assert results is not None
    assert any(f"{each.precision:.3f}" != f"{each.recall:.3f}" for each in results.scores)
    for each in results.scores:
        row = each.name
        for name in ("precision", "recall", "f1"):
            interval = getattr(each, f"{name}_interval")
            row += f"{getattr(each, name):.3f} ({interval.low:.3f} to {interval.high:.3f})"
        assert f"{row}{each.support}" in page.text


def test_a_study_without_trials_has_a_page_that_names_no_folder(tmp_path: Path) -> None:
    data = {"dataset": "/home/anna/t.csv"}
    record_study(tmp_path / "s", trials=0, data=data, command="sentune run /home/anna/t.csv")
    page = made(tmp_path / "s", command="sentune report s --out /home/anna/page.html")
    assert "/home/anna" not in page.source
    for shown in ("sentune run t.csv", "sentune report s --out page.html", "datasett.csv"):
        assert shown in page.text
    assert "No trial has ended with a value yet." in page.text
    assert page.rows == []


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "behind", "least"), [(*p, 4.5) for p in TEXT] + [(*p, 3.0) for p in MARKS])
def test_contrast(scheme: dict[str, str], front: str, behind: str, least: float) -> None:
    dim, bright = sorted((luminance(scheme[front]), luminance(scheme[behind])))
    assert (bright + 0.05) / (dim + 0.05) >= least


@pytest.mark.slow
def test_the_page_begins_with_a_verdict_and_the_classes(page: Page, folder: Path, tmp_path: Path) -> None:
    used = next(row for row in best(folder) if row["recommended"])
    text = page.text
    assert f"Use trial {used['trial']}. Its expected accuracy on new sentences is {used['corrected']:.4f} (95%" in text
    assert "The search is shown to be better than the plain baseline." in text
    assert text.index("Verdict") < text.index(f"Scores of trial {used['trial']} for each class") < text.index("Filter")
    write_study_with_ensemble(tmp_path / "s", (range(50), range(50, 100), range(100, 150)), range(80, 180))
    assert re.search(
        r"An ensemble is 0\.\d{4} better than the best trial: sentune ensemble s\n", made(tmp_path / "s").text
    )


def test_the_page_names_the_zone_of_its_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser draws the timeline in the reader's zone."""
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    try:
        assert re.search(r"Created \d{4}-\d\d-\d\d \d\d:\d\d:\d\d CET by sentune", made(folder).text)
    finally:
        monkeypatch.undo()
        time.tzset()
