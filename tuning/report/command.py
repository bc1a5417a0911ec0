"""The verb `report`: a study as one HTML page, written once or repeatedly while the study runs."""

import functools
import math
import os
import time
from pathlib import Path

from core.errors import UserError, check_rules
from core.io.atomic import atomic_write, check_parent, file_mode, folder_rule
from core.io.checked_folder import CHECKSUMS
from tuning.analysis.ranking import read_assessed
from tuning.console import say_if_slow
from tuning.journal.file import is_searched, remote_driver
from tuning.journal.folder import is_in_study
from tuning.report.chart_data import chart_data
from tuning.report.compose import render_page, vega_bundle
from tuning.report.figures import Figure, figures, write_images
from tuning.report.mistakes import mistakes_section

EVERY_SECONDS = 5
"""Minimum number of seconds between two pages while the study runs."""
PAUSE = 9
"""Time between two pages over that of making one: a page of a million sentences takes seconds of the trials' time."""


def write_report(
    folder: Path,
    out: Path,
    images: Path | None,
    *,
    cache_dir: Path | None,
    watch: bool,
    command: str,
) -> None:
    """Write the page; with `watch`, again and again while the study runs, and once at its end.

    Args:
        folder: Folder of the study.
        out: The file to write.
        images: Folder for each chart as PNG and SVG; None for no images.
        cache_dir: Folder of the data cache.
        watch: Whether to continue while the study runs.
        command: The user's command line.

    Raises:
        UserError: There is no such study, or a file cannot be written.
    """
    if images is not None:
        check_rules({"--images": folder_rule(images)})
        if is_in_study(images) or is_in_study(images / "x.png"):
            raise UserError(f"cannot write {images}: it is in the folder of a study; choose another folder")
        if file_mode(images / CHECKSUMS) and file_mode(images / "config.json"):
            raise UserError(f"cannot write {images}: it is a saved model; choose another folder")
    if out.name != "report.html" and is_in_study(out):
        raise UserError(f"cannot write {out}: it is in the folder of a study; choose another folder")
    for each in (out, Path(os.path.realpath(out))):  # a study from elsewhere may have a link to another file
        if each.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"cannot write {each}: the name of a report ends in .html; choose such a name")
    for path in (out, images):
        if path is not None and path.parent != folder:
            check_parent(path)
    make = functools.partial(page, folder, cache_dir=cache_dir, command=command)
    announced, pause = False, EVERY_SECONDS
    try:
        while watch and is_searched(folder):
            vega_bundle()  # only the first call takes time
            began = time.monotonic()
            atomic_write(out, make(every_seconds=pause)[0])
            pause = max(EVERY_SECONDS, math.ceil(PAUSE * (time.monotonic() - began)))
            if not announced:
                print(f"{out} is updated every {pause} s while the study runs; press Ctrl-C to stop", flush=True)
                if driver := remote_driver(folder):
                    why = f"it counts as running because of {driver}"
                    print(f"{why}; press Ctrl-C if that process was killed", flush=True)
                announced = True
            _wait(folder, pause)
    finally:
        with say_if_slow("writing the report ..."):
            content, drawn = make()  # without the reloading of a page that is updated
            atomic_write(out, content)
        print(f"report written to {out}")
        if images is not None:
            with say_if_slow("drawing the charts ..."):
                write_images(drawn, images)
            print(f"images written to {images}")


def _wait(folder: Path, seconds: int) -> None:
    """Wait this long, or until the study has ended."""
    while seconds > 0 and is_searched(folder):
        time.sleep(min(seconds, EVERY_SECONDS))
        seconds -= EVERY_SECONDS


def page(
    folder: Path, *, cache_dir: Path | None, command: str, every_seconds: int | None = None
) -> tuple[bytes, dict[str, Figure]]:
    """Return the page of the present state of a study, and its figures; arguments as in `write_report`."""
    data = chart_data(read_assessed(folder))
    drawn, wrong = figures(data), mistakes_section(data.study, cache_dir)
    return render_page(data, drawn, wrong, command=command, every_seconds=every_seconds), drawn
