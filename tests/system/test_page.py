"""The page in a real browser: it draws and links its charts, loads nothing, sorts and filters."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks.inputs.recorded_study import record_study
from tests.support.browser import chromium, complaints, open_page, requested, set_window
from tests.support.command import Command
from tests.support.patience import PATIENCE_SECONDS, wait_until

EVIL = "<img src=https://example.org/x.png onerror=alert(1)>"
CHARTS = ("history", "curves", "losses", "expected", "parallel", "importances", "timeline", "slices")
SIZES = ("clientWidth", "scrollWidth")


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def report(command: Command) -> Path:
    """The page of a recorded study with hostile names, made by the real command."""
    record_study(command.results / "seen", trials=60, running=2, error=EVIL, classes=("negative", EVIL))
    command.succeed("report", "seen", "--images", str(command.results / "charts"))
    return command.results / "seen" / "report.html"


@pytest.fixture
def tab(browser: Chrome) -> Iterator[Chrome]:
    """The browser with an empty tab, which is closed after the test."""
    before = browser.current_window_handle
    browser.switch_to.new_window("tab")
    yield browser
    browser.close()
    browser.switch_to.window(before)


@pytest.fixture(scope="module")
def opened(browser: Chrome, report: Path) -> tuple[list[str], set[str]]:
    """What the report complained of and asked for when it was opened, once: to draw its charts takes seconds."""
    complaints(browser), requested(browser)
    show(browser, report)
    return complaints(browser), requested(browser)


@pytest.fixture
def page(browser: Chrome, opened: tuple[list[str], set[str]]) -> Chrome:
    """The browser with the report as it is opened."""
    set_window(browser)
    filter_by(browser, "")
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    return browser


def wait_for_charts(browser: Chrome) -> None:
    wait = WebDriverWait(browser, PATIENCE_SECONDS, poll_frequency=0.02)
    wait.until(lambda made: made.find_elements(By.CSS_SELECTOR, "body.drawn"))


def show(browser: Chrome, path: Path, **window: Any) -> None:
    """Open a page and wait until its charts are drawn."""
    open_page(browser, path, **window)
    wait_for_charts(browser)


def cells(browser: Chrome, field: str) -> list[str]:
    """A column of the table as it is shown."""
    script = (
        "const at = [...document.querySelectorAll('#trials th')].findIndex(h => h.textContent === arguments[0]);"
        "const rows = [...document.querySelectorAll('#trials tbody tr')].filter(r => !r.hidden);"
        "return rows.map(r => r.cells[at].innerText)"
    )
    found: list[str] = browser.execute_script(script, field)
    return found


def sort_by(browser: Chrome, field: str) -> None:
    browser.find_element(By.XPATH, f"//table[@id='trials']//th/button[text()='{field}']").click()


def filter_by(browser: Chrome, text: str) -> None:
    script = (
        "const box = document.getElementById('filter'); box.value = arguments[0]; box.dispatchEvent(new Event('input'))"
    )
    browser.execute_script(script, text)


def test_it_opens_from_disk_without_a_complaint_asks_for_nothing_and_draws_every_chart_within_its_place(
    page: Chrome, opened: tuple[list[str], set[str]], report: Path
) -> None:
    said, asked = opened
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}
    check_places(page, 1280, "light")


def test_it_does_so_in_a_narrow_dark_window(tab: Chrome, report: Path) -> None:
    complaints(tab), requested(tab)
    show(tab, report, width=400, scheme="dark")
    assert complaints(tab) == []
    assert {url for url in requested(tab) if not url.startswith("data:")} == {report.as_uri()}
    check_places(tab, 400, "dark")


def check_places(tab: Chrome, width: int, scheme: str) -> None:
    """Each chart is drawn within its place, in the colours of the scheme, and hostile text is text."""
    # Nothing is wider than the window: wide tables and plots scroll in boxes of their own.
    assert tab.execute_script("return document.documentElement.scrollWidth") <= width
    paper = tab.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) > 380) == (scheme == "light")
    for key in CHARTS:
        charts = tab.find_elements(By.CSS_SELECTOR, f"#{key} .chart")
        assert charts, key
        for chart in charts:
            assert chart.get_attribute("aria-label"), key
            assert len(chart.find_elements(By.CSS_SELECTOR, "svg path")) > 5, key
            room, used = (tab.execute_script(f"return arguments[0].{name}", chart) for name in SIZES)
            assert key == "parallel" or used <= room + 1, key
    script = (
        "const [plot, ...texts] = [document.querySelector('#importances svg'),"
        "...document.querySelectorAll('#importances .role-mark.mark-text text')].map(e => e.getBoundingClientRect());"
        "return texts.map(text => plot.right - text.right)"
    )
    assert min(tab.execute_script(script)) >= 0  # no figure is cut
    assert tab.find_elements(By.TAG_NAME, "img") == []
    assert EVIL in tab.find_element(By.ID, "confusion").text


def test_a_click_in_the_table_does_not_move_it(page: Chrome) -> None:
    box = page.find_element(By.CSS_SELECTOR, "#table .tall")
    page.execute_script("arguments[0].scrollTop = 60; trials[25].row.querySelector('button').click()", box)
    assert None not in lit(page)  # every chart has it
    assert page.execute_script("return arguments[0].scrollTop", box) == 60


def test_a_page_that_is_loaded_again_shows_what_it_showed(tab: Chrome, report: Path) -> None:
    """Also the last page of a watched study, which is not loaded again."""
    show(tab, report)
    filter_by(tab, "val_accuracy>0")
    sort_by(tab, "seconds")
    tab.execute_script(
        "location.hash = '#curves'; select(3); document.querySelector('#table .tall').scrollTop = 90;"
        "document.getElementById('parallel').scrollIntoView()"
    )
    state = "return [filter.value, order, selected, document.querySelector('#table .tall').scrollTop, scrollY]"
    *before, y = tab.execute_script(state)
    tab.refresh()
    wait_for_charts(tab)
    *after, again = tab.execute_script(state)
    assert after == before
    assert before[3] == 90
    assert again == pytest.approx(y, abs=5)


def test_a_time_of_hours_is_no_power_of_ten(page: Chrome) -> None:
    assert page.execute_script("return [12345.7, 0.00123456].map(shown)") == ["12345.7", "0.001235"]


def test_dark_mode_has_other_colours_without_a_reload(page: Chrome) -> None:
    colour = "return getComputedStyle(document.querySelector('#history .mark-line path')).stroke"
    assert page.execute_script(colour) == "rgb(10, 122, 72)"
    media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    assert page.execute_script(colour) == "rgb(95, 211, 154)"


def test_the_images_are_written_without_a_browser(report: Path) -> None:
    begins = {"png": b"\x89PNG", "svg": b"<svg"}
    images = {f"{key}.{kind}": begin for key in (*CHARTS, "confusion") for kind, begin in begins.items()}
    assert {path.name: path.read_bytes()[:4] for path in (report.parents[1] / "charts").iterdir()} == images


def test_the_table_sorts_in_both_directions(page: Chrome) -> None:
    assert cells(page, "rank")[:3] == ["1", "2", "3"]
    sort_by(page, "seconds")
    up = [float(cell) for cell in cells(page, "seconds")]
    assert up == sorted(up)
    sort_by(page, "seconds")
    assert [float(cell) for cell in cells(page, "seconds")] == sorted(up, reverse=True)
    sort_by(page, "rank")
    ranks = [int(cell) for cell in cells(page, "rank") if cell != "-"]
    assert ranks == list(range(1, len(ranks) + 1))
    assert cells(page, "rank")[-1] == "-"  # what has no rank comes last
    sort_by(page, "rank")
    down = cells(page, "rank")
    assert down == [*map(str, reversed(ranks)), *["-"] * (len(down) - len(ranks))]  # also in this direction
    [heading] = page.find_elements(By.CSS_SELECTOR, "#trials th[aria-sort]")
    assert heading.get_attribute("aria-sort") == "descending"
    sort_by(page, "rank")


def test_the_table_filters_by_words_and_by_columns(page: Chrome) -> None:
    everything = len(cells(page, "trial"))
    page.find_element(By.ID, "filter").send_keys("failed")
    assert set(cells(page, "state")) == {"failed"}
    filter_by(page, "n_layers=1 val_accuracy>=0.6 bidirectional=yes")
    assert set(cells(page, "n_layers")) == {"1"}
    assert set(cells(page, "bidirectional")) == {"yes"}
    assert min(map(float, cells(page, "val_accuracy"))) >= 0.6
    assert page.find_element(By.ID, "count").text == f"{len(cells(page, 'trial'))} of {everything} trials"
    filter_by(page, "no such thing")
    assert cells(page, "trial") == []


def test_an_order_holds_only_between_numbers(page: Chrome) -> None:
    """As text, `none` was greater than each number."""
    filter_by(page, "ema_decay>0.995")
    assert set(cells(page, "ema_decay")) == {"0.9990"}
    filter_by(page, "ema_decay<=1")
    assert set(cells(page, "ema_decay")) == {"0.9900", "0.9990"}
    filter_by(page, "ema_decay=none")
    assert set(cells(page, "ema_decay")) == {"none"}
    for wrong in ("state>=running", "val_accuracy >="):
        filter_by(page, wrong)
        assert page.find_element(By.ID, "count").text == "write a number after >="
        assert cells(page, "trial") == []


def test_each_operator_keeps_its_own_values(page: Chrome) -> None:
    kept = {}
    for said in ("!=1", "<2", "<=1", ">1", ">=2"):
        filter_by(page, f"n_layers{said}")
        kept[said] = set(cells(page, "n_layers"))
    assert kept == {"!=1": {"2"}, "<2": {"1"}, "<=1": {"1"}, ">1": {"2"}, ">=2": {"2"}}


def test_a_filter_may_have_blanks_short_names_and_columns_that_are_not_shown(page: Chrome) -> None:

    def count(text: str) -> str:
        filter_by(page, text)
        return page.find_element(By.ID, "count").text

    everything = len(cells(page, "trial"))
    assert 0 < int(count("val_accuracy > 0.7").split()[0]) < everything
    assert min(map(float, cells(page, "val_accuracy"))) > 0.7
    assert count("layers = 1 lr<0.005") == count("n_layers=1 learning_rate<0.005") != f"0 of {everything} trials"
    assert count("test_accuracy<1") == f"0 of {everything} trials"  # no model was evaluated on the test split
    assert count("test_accuracy!=1") == f"{everything} of {everything} trials"  # as in `best --where`
    assert count("metric==accuracy") == f"{everything} of {everything} trials"
    assert count("copy_of=none") == f"{everything} of {everything} trials"
    assert count("copy_of!=none") == f"0 of {everything} trials"
    for as_json, shown in (("bidirectional=true", "bidirectional=yes"), ("state!=FAIL", "state!=failed")):
        assert count(as_json) == count(shown)
        assert cells(page, "trial")
    assert count("n_layers=1 foo>2") == "no column foo"
    assert cells(page, "trial") == []


def test_an_order_is_that_of_the_stored_numbers_and_not_of_the_rounded_ones(page: Chrome) -> None:
    exact = page.execute_script("return trials.map(trial => trial.learning_rate)")
    text = sorted(cells(page, "learning_rate"))[len(exact) // 2]
    filter_by(page, f"learning_rate>{text}")
    assert len(cells(page, "trial")) == sum(rate > float(text) for rate in exact)
    filter_by(page, f"learning_rate={text}")
    assert set(cells(page, "learning_rate")) == {text}


def lit(browser: Chrome) -> set[int | None]:
    """The selected trials of all charts that show trials one by one; None for a chart that has none."""
    script = (
        "const done = arguments[0];"
        "Promise.all(views.map(view => view.runAsync())).then(() =>"
        "done(views.map(view => view.data('trial_store').map(each => each.values[0])[0] ?? null)))"
    )
    found = browser.execute_async_script(script)
    assert len(found) > 6
    return set(found)


def pressed(browser: Chrome) -> list[str]:
    return [each.text for each in browser.find_elements(By.CSS_SELECTOR, "tr.on button[aria-pressed='true']")]


def test_a_trial_is_selected_in_every_chart_by_keyboard_alone(page: Chrome) -> None:
    button = page.find_element(By.CSS_SELECTOR, "#trials tbody button")
    button.send_keys(Keys.ENTER)
    assert pressed(page) == [button.text]
    button.send_keys(Keys.ENTER)  # a second time ends the selection
    assert pressed(page) == []
    button.send_keys(Keys.ENTER)
    assert lit(page) == {int(button.text)}
    faint = page.find_elements(By.CSS_SELECTOR, "#history .mark-symbol path[opacity='0.12']")
    assert len(faint) > 50
    faint = page.find_elements(By.CSS_SELECTOR, "#parallel .mark-line path[stroke-opacity='0.12']")
    assert len(faint) > 40
    button.send_keys(Keys.ESCAPE)
    assert pressed(page) == []
    assert lit(page) == {None}
    assert page.find_elements(By.CSS_SELECTOR, "#history .mark-symbol path[opacity='0.12']") == []


def test_a_click_in_a_chart_selects_the_trial_in_the_table_and_in_every_chart(page: Chrome) -> None:
    for place in "#history .role-mark.mark-symbol path", "#timeline .mark-rect path", "#slices-1 .mark-symbol path":
        marks = page.find_elements(By.CSS_SELECTOR, place)
        mark = marks[-1]  # the best trial is on top of the others
        page.execute_script("document.querySelector('#table .tall').scrollTop = 9999")
        ActionChains(page).move_to_element(mark).click().perform()
        [chosen] = lit(page)
        assert chosen is not None, place
        assert pressed(page) == [str(chosen)]
        places = "['#table .tall', 'tr.on'].map(each => document.querySelector(each).getBoundingClientRect())"
        inside = f"const [box, row] = {places}; return box.top <= row.top && row.bottom <= box.bottom"
        assert page.execute_script(inside), place
        tip = page.find_element(By.ID, "tip").text.splitlines()
        assert tip[0] == f"trial {chosen}"
        assert any(line.startswith("learning_rate ") for line in tip)
        ActionChains(page).send_keys(Keys.ESCAPE).perform()
        assert lit(page) == {None}


def test_it_is_printed_without_scroll_boxes(tab: Chrome, report: Path) -> None:
    """In a tab of its own: charts that were drawn in the width of a printed page keep it."""
    show(tab, report, width=1030)  # A4 in landscape, less margins
    tab.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    boxes = tab.execute_script(
        "const hidden = e => [e.scrollHeight - e.clientHeight, e.scrollWidth - e.clientWidth];"
        "return [...document.querySelectorAll('.scroll')].map(hidden)"
    )
    assert boxes
    assert all(high <= 1 and wide <= 1 for high, wide in boxes)
    assert not tab.find_element(By.ID, "filter").is_displayed()
    assert tab.find_element(By.ID, "count").is_displayed()  # of a filter's rows, which hold on paper, too
    # The 27 columns fit, and no cell is cut into several lines.
    lines = tab.execute_script(
        "const all = document.createRange(); const lines = cell => {"
        "all.selectNodeContents(cell.querySelector('button') ?? cell);"
        "return new Set([...all.getClientRects()].map(each => cell.tagName === 'TH' ? each.left : each.top)).size };"
        "return [...document.querySelectorAll('#trials th:not(.more), #trials td:not(.more)')].map(lines)"
    )
    assert set(lines) == {1}


def test_a_watched_page_of_a_few_trials_keeps_its_filter_over_a_reload(tab: Chrome, command: Command) -> None:
    """Without a failed trial, it has no complaint either."""
    from tuning.report.command import page as make_page

    record_study(command.results / "watched", trials=3)
    folder = command.results / "watched"
    made = folder / "report.html"
    made.write_bytes(make_page(folder, cache_dir=folder, command="x", every_seconds=2)[0])
    complaints(tab)
    kept = "{ const own = setInterval; window.setInterval = (call, time) => own(window.tick = call, time) }"
    tab.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": kept})
    open_page(tab, made)
    tab.execute_script(  # at once: the page may be loaded again at any moment
        "document.querySelector('#trials tbody button').click();"
        "const box = document.getElementById('filter');"
        "box.value = 'stopped'; box.dispatchEvent(new Event('input')); window.old = true"
    )
    wait_until(lambda: not tab.execute_script("return window.old === true"), "the page is not loaded again", 0.5)
    tab.execute_script("document.getElementById('filter').focus()")  # who types keeps the page
    # The document is new; its script restores filter and selection.
    wait_until(lambda: set(cells(tab, "state")) == {"stopped"}, "the rows are not filtered", 0.1)
    wait_until(lambda: len(tab.find_elements(By.CSS_SELECTOR, "tr.on")) == 1, "no trial is selected", 0.1)
    assert tab.execute_script("return document.activeElement.id && window.tick()") is True  # it is not loaded again
    assert tab.execute_script("return document.getElementById('filter').value") == "stopped"
    wait_until(lambda: tab.find_elements(By.CSS_SELECTOR, "body.drawn"), "the charts are not drawn", 0.1)
    assert complaints(tab) == []


def test_a_thousand_trials_fit_in_3_megabytes_and_scroll(tab: Chrome, command: Command) -> None:
    folder = command.results / "large"
    record_study(folder, trials=1000, space="default", sentences=200)
    command.succeed("report", "large")
    assert (folder / "report.html").stat().st_size < 3e6
    show(tab, folder / "report.html")
    assert len(cells(tab, "trial")) == 1000
    for key in CHARTS:
        script = "document.getElementById(arguments[0]).scrollIntoView(); return scrollY"
        assert tab.execute_script(script, key) > 0
    box = tab.find_element(By.CSS_SELECTOR, "#table .tall")
    assert tab.execute_script("arguments[0].scrollTop = 9999; return arguments[0].scrollTop", box) == 9999
    assert complaints(tab) == []
