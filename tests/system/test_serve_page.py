"""The page of `sentune serve` in a real Chromium: keyboard, screen readers, light and dark, hostile text."""

import csv
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

from core.inference.predictor import load_model
from tests.support.browser import chromium, requested
from tests.support.models import mixture, saved
from tests.support.patience import PATIENCE_SECONDS
from tests.support.servers import running
from tuning.serving.server import make_app

pytest.importorskip("fastapi", reason="needs the extra `serve`")

HOSTILE = '<img src=x onerror="window.hacked=1"> "good" bad \u202e</blockquote>'
CLASSES = ("<b onmouseover=alert(1)>no</b>", "yes & </th>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("page"), *mixture(), classes=CLASSES)


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with running(make_app(load_model(folder), "model", 0.7, rate=10**9)) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as made:
        yield made


@pytest.fixture
def page(browser: Any, address: str) -> Any:
    browser.get_log("browser"), requested(browser)
    browser.get(address)
    until(browser, lambda: "classes:" in text(browser, "#model"))
    return browser


def until(browser: Any, holds: Any) -> None:
    WebDriverWait(browser, PATIENCE_SECONDS, poll_frequency=0.02).until(lambda driver: holds())


def text(browser: Any, selector: str) -> str:
    found: str = browser.execute_script("return document.querySelector(arguments[0]).textContent", selector)
    return found


def press(browser: Any, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


ENTER, SHIFT, TAB = "\ue007", "\ue008", "\ue004"


def label(browser: Any, sentence: str) -> None:
    """By keyboard alone: the field has the focus when the page opens."""
    browser.execute_script("document.querySelector('#text').select()")
    browser.execute_cdp_cmd("Input.insertText", {"text": sentence})
    press(browser, ENTER)
    until(browser, lambda: text(browser, "blockquote") == sentence)


def test_a_sentence_is_typed_and_labelled_by_keyboard(page: Any, folder: Path) -> None:
    assert page.execute_script("return document.activeElement.id") == "text"
    press(page, "good movie", ENTER)
    until(page, lambda: text(page, "blockquote") == "good movie")
    (guess,) = load_model(folder).predict(["good movie"])
    unknown = "The model does not know 50% of the words"  # not `movie`
    assert text(page, "#said") == f"{guess.label}, with probability {guess.probability:.3f}. {unknown}"
    rows = cells(page, "#answer")
    ranked = sorted(guess.probabilities.items(), key=lambda item: -item[1])
    assert [row[:2] for row in rows] == [[name, f"{share:.4f}"] for name, share in ranked]


def test_no_answer_is_said_and_the_probabilities_are_shown(page: Any, folder: Path) -> None:
    assert text(page, "#model").endswith(". There is no answer below probability 0.7")
    label(page, "unknown words")
    (guess,) = load_model(folder).predict(["unknown words"])
    unknown = "The model does not know 100% of the words"
    said = f"No answer: the most probable class has probability {guess.probability:.3f}. {unknown}"
    assert text(page, "#said") == said
    assert page.execute_script("return document.querySelectorAll('tbody tr').length") == 2
    assert page.execute_script("return document.querySelectorAll('tr.best').length") == 0


def test_enter_and_the_button_do_the_same(page: Any) -> None:
    press(page, "bad", TAB, " ")
    until(page, lambda: text(page, "blockquote") == "bad")
    assert page.execute_script("return document.activeElement.tagName") in ("BUTTON", "BODY")


def test_several_sentences_have_a_table_and_a_file(page: Any, folder: Path, tmp_path: Path) -> None:
    """Shift+Enter starts a new line; empty lines are left out."""
    texts = ["good", 'a "bad" movie, really', "=1+1 bad good", "-1"]
    lines = [texts[0], "", *texts[1:]]
    for number, line in enumerate(lines):
        press(page, line)
        if number < len(lines) - 1:
            ActionChains(page).key_down(SHIFT).send_keys(ENTER).key_up(SHIFT).perform()
    press(page, ENTER)
    until(page, lambda: text(page, "#said") == "4 sentences labelled")
    guesses = load_model(folder).predict(texts, 0.7)
    assert cells(page, "#labels") == [
        [each, guess.label or "(no answer)", f"{guess.probability:.3f}"]
        for each, guess in zip(texts, guesses, strict=True)
    ]
    assert page.execute_script("return document.querySelector('#answer').hidden")
    assert page.execute_script("return document.querySelectorAll('main b').length") == 0
    rows = list(csv.reader(saved_file(page, tmp_path).splitlines()))
    assert rows[0] == ["text", "label", "probability"]
    texts[2] = "'=1+1 bad good"  # which is no formula
    assert [row[:2] for row in rows[1:]] == [[each, g.label or ""] for each, g in zip(texts, guesses, strict=True)]
    assert [float(row[2]) for row in rows[1:]] == [guess.probability for guess in guesses]


def test_a_file_of_many_sentences_is_labelled_in_several_requests(page: Any, tmp_path: Path) -> None:
    texts = [f"good movie {number}" for number in range(250)]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    page.find_element("id", "file").send_keys(str(tmp_path / "texts.txt"))
    until(page, lambda: text(page, "#said") == "250 sentences labelled")
    submit = "document.querySelector('form').requestSubmit(); return document.querySelector('#file').disabled"
    assert page.execute_script(submit)  # until the first file is labelled
    until(page, lambda: text(page, "#said") == "250 sentences labelled")
    assert [row[0] for row in cells(page, "#labels")] == texts
    assert len(saved_file(page, tmp_path).splitlines()) == 251
    label(page, "good")
    assert page.execute_script("return document.querySelector('#labels').hidden")


def test_an_error_names_the_sentence_by_its_place_in_the_whole_input(page: Any) -> None:
    lines = [*(f"good {number}" for number in range(149)), "x" * 20_001]
    page.execute_script("document.querySelector('#text').value = arguments[0]", "\n".join(lines))
    page.execute_script("document.querySelector('form').requestSubmit()")
    until(page, lambda: "No label" in text(page, "#said"))
    assert text(page, "#said").startswith("No label: sentence 150: ")
    assert "at most 20000 characters" in text(page, "#said")
    assert page.execute_script("return document.querySelector('#answer').hidden")
    page.get_log("browser")  # the browser itself logs the 422


def cells(page: Any, section: str) -> list[list[str]]:
    """The rows of a section's table."""
    rows = "[...document.querySelectorAll(`${arguments[0]} tbody tr`)]"
    script = f"return {rows}.map(row => [...row.cells].map(cell => cell.textContent))"
    found: list[list[str]] = page.execute_script(script, section)
    return found


def answer_with(page: Any, predictions: str) -> None:
    """Answer in place of the server: a JavaScript function of the texts."""
    page.execute_script(
        "window.fetch = async (_, { body }) => "
        f"Response.json({{ predictions: ({predictions})(JSON.parse(body).texts) }})"
    )


def submit(page: Any, texts: list[str]) -> None:
    """Label these sentences, and wait for the end."""
    page.execute_script("document.querySelector('#text').value = arguments[0]", "\n".join(texts))
    page.execute_script("document.querySelector('form').requestSubmit()")  # it disables the button at once
    until(page, lambda: page.execute_script("return !document.querySelector('button').disabled"))


def test_a_busy_server_is_asked_again_also_for_a_last_sentence_alone(page: Any) -> None:
    """The 13th sentence has a request of its own. The answer to one connection too many has no body."""
    page.execute_script(
        "const own = window.fetch, busy = { status: 503, headers: { 'Retry-After': '0.01' } }; let asked = 0;"
        "window.fetch = async (...request) => asked++ % 2 ? own(...request) : new Response('', busy)"
    )
    submit(page, ["good"] * 13)
    assert text(page, "#said") == "13 sentences labelled"


def test_a_file_in_another_encoding_is_refused(page: Any, tmp_path: Path) -> None:
    submit(page, ["good", "bad"])
    (tmp_path / "texts.txt").write_bytes("na\u00efve movie\ngood\n".encode("cp1252"))
    page.find_element("id", "file").send_keys(str(tmp_path / "texts.txt"))
    until(page, lambda: text(page, "#said").startswith("No label"))
    assert text(page, "#said") == "No label: the file is not in UTF-8; save it in UTF-8"
    assert page.execute_script("return document.querySelector('#labels').hidden")


@pytest.mark.parametrize("body", ["<h1>Bad Gateway</h1>", '{"message": "Bad Gateway"}', "null"])
def test_an_answer_of_a_proxy_is_named_by_its_status(page: Any, body: str) -> None:
    page.execute_script(f"window.fetch = async () => new Response({json.dumps(body)}, {{ status: 502 }})")
    submit(page, ["good"])
    assert text(page, "#said") == "No label: the server answered 502; try again later"


def test_the_file_has_all_sentences_and_no_formula(page: Any, tmp_path: Path) -> None:
    texts = ["+1 star", "-good", "@good", "3 stars", *(f"good {number}" for number in range(998))]
    answer_with(page, "texts => texts.map(() => ({ label: 'a', probability: 1 }))")
    submit(page, texts)
    assert text(page, "#said") == "1002 sentences labelled; the table shows the first 1000, the file has all"
    assert [row[0] for row in cells(page, "#labels")] == texts[:1000]
    rows = list(csv.reader(saved_file(page, tmp_path).splitlines()))
    assert [row[0] for row in rows[1:]] == ["'+1 star", "'-good", "'@good", *texts[3:]]


def test_the_most_probable_class_is_first_and_its_bar_is_the_longest(page: Any) -> None:
    shares = "{ a: 0.125, b: 0.5, c: 0.375 }"
    guess = f"{{ label: 'b', probability: 0.5, probabilities: {shares}, unknown_words: 0 }}"
    answer_with(page, f"() => [{guess}]")
    submit(page, ["good"])
    assert [row[:2] for row in cells(page, "#answer")] == [["b", "0.5000"], ["c", "0.3750"], ["a", "0.1250"]]
    bars = "return [...document.querySelectorAll('.share div')].map(each => each.style.width)"
    assert page.execute_script(bars) == ["50%", "37.5%", "12.5%"]
    assert page.execute_script("return [...document.querySelectorAll('tr.best th')].map(e => e.textContent)") == ["b"]


def test_enter_within_a_composed_word_sends_nothing(page: Any) -> None:
    script = (
        "const box = document.querySelector('#text'); box.value = 'good';"
        "box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: arguments[0] }));"
        "return document.querySelector('button').disabled"
    )
    assert [page.execute_script(script, composing) for composing in (True, False)] == [False, True]


def saved_file(page: Any, folder: Path) -> str:
    """What `Save as CSV` saves."""
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    page.find_element("id", "save").click()
    file = folder / "labels.csv"
    until(page, lambda: file.exists() and file.stat().st_size > 0)
    content = file.read_text(encoding="utf-8")
    assert content[0] == "\ufeff"  # otherwise a spreadsheet does not read UTF-8
    return content[1:]


def test_hostile_text_and_class_names_are_shown_as_text(page: Any) -> None:
    label(page, HOSTILE)
    assert text(page, "blockquote") == HOSTILE
    assert sorted(page.execute_script("return [...document.querySelectorAll('tbody th')].map(c => c.textContent)")) == (
        sorted(CLASSES)
    )
    assert page.execute_script("return document.querySelectorAll('main img, main b').length") == 0
    assert page.execute_script("return window.hacked") is None


def test_a_screen_reader_finds_names_and_hears_the_answer(page: Any) -> None:
    label(page, "good")
    tree = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node.get("ignored")}
    assert {("textbox", "Sentences, one per line"), ("button", "Label"), ("heading", "Label sentences")} <= named
    assert {"table", "columnheader", "rowheader", "status", "main"} <= {role for role, _ in named}
    assert page.execute_script("return document.documentElement.lang") == "en"


def test_it_reads_in_light_and_dark_on_narrow_and_wide_screens(page: Any) -> None:
    label(page, HOSTILE + " word" * 60)
    for width, scheme in product((400, 1400), ("light", "dark")):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        until(page, lambda width=width: page.execute_script("return innerWidth") == width)
        assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert page.execute_script(LINES) == [1, 1]
        dark = page.execute_script("return getComputedStyle(document.documentElement).getPropertyValue('--bar').trim()")
        assert dark == {"light": "#2a6fdb", "dark": "#6ea8ff"}[scheme]
        assert all(contrast >= 4.5 for contrast in page.execute_script(CONTRASTS))


LINES = """
return [...document.querySelectorAll("td.number")].map((each) => {
  const range = document.createRange();
  range.selectNodeContents(each);
  return range.getClientRects().length;
});
"""
"""How many lines each number takes."""

CONTRASTS = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const light = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((each) => {
    const share = each / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const probe = document.body.appendChild(document.createElement("div"));
probe.style.background = "Canvas";
const behind = getComputedStyle(probe).backgroundColor;
probe.remove();
return [...document.querySelectorAll("h1, p, label, th, td, blockquote")].map(
  (each) => contrast(getComputedStyle(each).color, behind));
"""


def test_nothing_is_logged_and_nothing_asked_of_anyone_else(page: Any, address: str) -> None:
    label(page, "good")
    assert page.get_log("browser") == []
    urls = requested(page)
    assert urls
    assert [url for url in urls if not url.startswith((address, "data:"))] == []


def test_a_sentence_from_right_to_left_is_shown_so(page: Any) -> None:
    label(page, "סרט טוב.")
    script = "return getComputedStyle(document.querySelector(arguments[0])).direction"
    assert [page.execute_script(script, each) for each in ("#text", "blockquote")] == ["rtl", "rtl"]


def test_of_many_classes_the_first_ones_are_named(browser: Any, folder: Path) -> None:
    model = load_model(folder)
    model.classes = tuple(f"class {number}" for number in range(60))
    with running(make_app(model, "model", rate=10**9)) as port:
        browser.get(f"http://127.0.0.1:{port}/")
        until(browser, lambda: "classes:" in text(browser, "#model"))
        assert text(browser, "#model").endswith("class 18, class 19 and 40 more")
