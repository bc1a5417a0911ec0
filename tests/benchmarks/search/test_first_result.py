"""The time of the first result."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.search import first_result as module


def test_epochs_that_are_recorded_between_two_polls_are_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = tmp_path / "search"
    search.write_text("#!/bin/sh\nexec sleep 60\n")
    search.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(search))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(module, "write_many", lambda path, count: None)
    monkeypatch.setattr(module, "descendants", lambda driver, title: [psutil.Process()])
    monkeypatch.setattr(module, "n_epochs", lambda journal: 2)
    found = module.first_result(10)
    assert found["path"] > 0
    assert found["seconds"] > 0
