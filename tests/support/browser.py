"""Chromium for tests, and its logs."""

import json
from contextlib import AbstractContextManager

import pytest
from selenium.webdriver import Chrome

import benchmarks.chromium
from benchmarks.chromium import NOT_FOUND, find_chromium, open_page, set_window

__all__ = ["chromium", "complaints", "open_page", "requested", "set_window"]


def chromium() -> AbstractContextManager[Chrome]:
    """Start the browser; the test is skipped if it is not installed."""
    if find_chromium() is None:
        pytest.skip(NOT_FOUND)
    return benchmarks.chromium.chromium()


def complaints(browser: Chrome) -> list[str]:
    """Errors and warnings on the console since the last call, among them each breach of the page's policy."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def requested(browser: Chrome) -> set[str]:
    """Every address that was asked for since the last call."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
