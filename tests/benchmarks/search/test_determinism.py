"""Kills of a study that may be faster than its killer."""

import random
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.search import determinism
from tuning.journal.file import JOURNAL


def test_a_study_that_ends_before_it_is_killed_is_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = tmp_path / "search"
    search.write_text("#!/bin/sh\nexit 0\n")
    search.chmod(0o700)
    for name in ("workers-2", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / JOURNAL).write_text("{}\n" * (10 if name == "workers-2" else 1))
    monkeypatch.setattr(sys, "executable", str(search))
    monkeypatch.setattr(determinism, "whole", lambda folder, name, arguments, workers: [name, workers])
    arguments = Namespace(trials=1, epochs=1)
    assert determinism.killed(tmp_path, "killed", arguments, random.Random(0)) == ["killed", 2]
