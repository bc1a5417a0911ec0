"""tuning.journal.file: the process that runs a study."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tuning.journal.file import is_locked, study_lock


def test_a_study_has_a_driver_while_one_runs(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with study_lock(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_a_killed_driver_is_none_and_another_hosts_is_believed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    note = tmp_path / "driver.json"
    note.write_text(json.dumps({"pid": ended.pid, "host": socket.gethostname()}))
    assert not is_locked(tmp_path)
    note.write_text(json.dumps({"pid": ended.pid, "host": "elsewhere"}))
    assert is_locked(tmp_path)
    note.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    assert is_locked(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 100_000, '{"pid": 1e999, "host": "h"}', '{"pid": 0, "host": "h"}']
)
def test_a_damaged_driver_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "driver.json").write_text(text)
    assert not is_locked(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the start of a process is unknown here")
def test_a_process_that_has_the_number_of_a_killed_driver_is_not_the_driver(tmp_path: Path) -> None:
    note = tmp_path / "driver.json"
    with study_lock(tmp_path):
        who = json.loads(note.read_text())
    note.write_text(json.dumps(who))
    assert is_locked(tmp_path)
    note.write_text(json.dumps(who | {"started": who["started"] - 1}))
    assert not is_locked(tmp_path)
