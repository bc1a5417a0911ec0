"""A real headless Chromium that opens a page from a file."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

NOT_FOUND = "no chromium or no chromedriver found; run apt-get install chromium chromium-driver"
SWITCHES = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "disable-background-networking")


def find_chromium() -> tuple[str, str] | None:
    """Return the paths of the browser and of its driver; None if one is missing."""
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (binary, driver) if binary and driver else None


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Start the browser, with logs of its console and its requests.

    Raises:
        FileNotFoundError: The browser or its driver is not installed.
    """
    found = find_chromium()
    if found is None:
        raise FileNotFoundError(NOT_FOUND)
    options = ChromeOptions()
    options.binary_location, driver = found
    for switch in SWITCHES:
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def set_window(browser: Chrome, *, width: int = 1280, height: int = 1000, scheme: str = "light") -> None:
    """Give the page this size, in pixels, and this colour scheme (light or dark)."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def open_page(browser: Chrome, path: Path, **window: Any) -> None:
    """Load a file in a window; `window` has the size and the colour scheme for `set_window`."""
    set_window(browser, **window)
    browser.get(path.as_uri())
