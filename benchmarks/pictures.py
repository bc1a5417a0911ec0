"""Make the pictures of the report and the progress display from a real study.

    python -m benchmarks.pictures results/snippets-quick    some 10 seconds; needs Chromium and chromedriver

docs/images/page.png is the page that `report` writes, with a filter, as headless Chromium shows it.
docs/images/progress.svg is the progress display of a terminal after four fifths of the search's time, replayed from the
journal.
"""

import base64
import re
import tempfile
import time
from collections.abc import Sequence
from io import StringIO
from itertools import accumulate
from pathlib import Path

from rich.console import Console
from rich.text import Text
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks.chromium import NOT_FOUND, chromium, find_chromium, open_page
from benchmarks.results import new_parser
from benchmarks.simulation.clock_picture import config_of
from tuning.journal.records import TrialRecord, read_study
from tuning.report.command import page
from tuning.tracking.progress_state import SearchProgress
from tuning.tracking.progress_text import live_block
from tuning.tracking.remaining_time import RemainingTime

IMAGES = Path(__file__).parent.parent / "docs/images"
FILTER = "val_accuracy>0.79"
WIDTH, MARGIN = 1400, 10
"""Width of the page's picture, and margin below its content, in pixels."""
SCALE = 0.7
"""Size of the page's picture, as a fraction of the page."""
COLUMNS, LINES = 100, 30
"""Size of the terminal."""
SHARE = 0.8
"""Fraction of the search's time that has passed in the picture of the progress."""
MAX_BYTES = 300_000


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("study", type=Path, help="Folder of a complete study.")
    study = parser.parse_args().study
    if find_chromium() is None:
        raise SystemExit(NOT_FOUND)
    (IMAGES / "progress.svg").write_text(progress_picture(study))
    picture = page_picture(study)
    if len(picture) > MAX_BYTES:
        raise SystemExit(f"the picture of the page has {len(picture):,} bytes, more than {MAX_BYTES:,}: show less")
    (IMAGES / "page.png").write_bytes(picture)


def page_picture(study: Path) -> bytes:
    """Return a PNG of the page from the table to the learning curves."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        file = Path(folder, "report.html")
        file.write_bytes(page(study, cache_dir=None, command="sentune report")[0])
        open_page(browser, file, width=WIDTH)
        WebDriverWait(browser, 60).until(lambda made: made.find_elements(By.CSS_SELECTOR, "body.drawn"))
        browser.find_element(By.ID, "filter").send_keys(FILTER)
        browser.execute_script("document.documentElement.style.overflow = 'hidden'; scrollTo(0, 0)")  # no scroll bar
        browser.execute_script("document.activeElement.blur()")
        place = "document.getElementById('{}').getBoundingClientRect().{}"
        top = browser.execute_script(f"return {place.format('table', 'top')}") - MARGIN
        bottom = browser.execute_script(f"return {place.format('curves', 'bottom')}") + MARGIN
        clip = {"x": 0, "y": round(top), "width": WIDTH, "height": round(bottom - top), "scale": SCALE}
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        return base64.b64decode(shot["data"])


def progress_picture(study: Path) -> str:
    """Return an SVG of the progress display during a search; its text can be selected."""
    attributes, records = read_study(study)
    workers = len({segment.worker for record in records for segment in record.segments if segment.worker})
    config = config_of(attributes["spec"], len(records))
    progress = SearchProgress(
        records=[],
        remaining=RemainingTime(config=config, cost=lambda config: 1.0, workers=workers),
        searched=config.space.searched_fields,
    )
    elapsed = replay(progress, records, SHARE)
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    lines = ["$ sentune run", *live_block(progress, elapsed, COLUMNS, LINES)]
    console.print(Text("\n".join(lines)))
    # Rich makes the browser load a font from the network; any monospaced font is enough.
    return re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="sentune run"), flags=re.DOTALL)


def replay(progress: SearchProgress, records: Sequence[TrialRecord], share: float) -> float:
    """Report the events of the first `share` of the search's time to `progress`; return the seconds until then."""
    began = min(record.started_at for record in records if record.started_at)
    over = max(record.ended.timestamp() for record in records if record.ended)
    now = began + share * (over - began)
    progress.first_start = time.monotonic() - (now - began)
    for record in records:
        if record.ended and record.ended.timestamp() <= now:
            progress.end(record)
            progress.epochs += len(record.epochs)
        elif record.started_at and record.started_at <= now:
            progress.start(record.number, record.trial_config)
            for epoch in record.epochs[: epochs_done(record, now)]:
                progress.epoch(record.number, epoch)
            if not any(segment.since <= now < segment.until for segment in record.segments):
                progress.pause(record.number)
    return now - began


def epochs_done(record: TrialRecord, now: float) -> int:
    """Return the number of epochs that ended before `now`, in the segments of time in which a worker had the trial."""
    trained = sum(max(0.0, min(now, segment.until) - segment.since) for segment in record.segments)
    return sum(end <= trained for end in accumulate(epoch.seconds for epoch in record.epochs))


if __name__ == "__main__":
    main()
