"""Recordings continue after an interruption, and a complete one can become longer."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.simulation.recording import read_finished, read_recording, record_all, write_recording

ABOUT = {"seed": 1}


def train(job: dict[str, Any]) -> dict[str, Any]:
    return {**job, "curve": [[0.5, 0.7]], "seconds": 1.0}


def record(path: Path, count: int, about: dict[str, Any] = ABOUT) -> list[dict[str, Any]]:
    jobs = [{"set": name, "number": number} for number in range(count) for name in ("a", "b")]
    return record_all(path, about, jobs, ("set", "number"), train, processes=1)


def test_a_part_file_continues_without_its_partial_line_and_another_command_restarts(tmp_path: Path) -> None:
    path, part = tmp_path / "c.json.gz", tmp_path / "c.json.gz.part"
    assert read_finished(path, ABOUT) == []
    with part.open("a") as file:
        file.write('{"number": 0}\n{"num')
    assert read_finished(path, ABOUT) == [{"number": 0}]
    assert read_finished(path, {"seed": 2}) == []
    assert part.read_text() == '{"seed": 2}\n'


def test_the_part_file_is_replaced_and_never_emptied(tmp_path: Path) -> None:
    """A kill while it is written again would otherwise lose the trainings of hours."""
    part, old = tmp_path / "c.json.gz.part", tmp_path / "old"
    part.write_text('{"seed": 1}\n{"number": 0}\n')
    old.hardlink_to(part)
    read_finished(tmp_path / "c.json.gz", {"seed": 2})
    assert old.read_text() == '{"seed": 1}\n{"number": 0}\n'


def test_an_interrupted_recording_trains_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = record(tmp_path / "c.json.gz", 2)
    assert [(each["set"], each["number"]) for each in first] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    capsys.readouterr()
    assert record(tmp_path / "c.json.gz", 3)[:4] == first
    assert "4 trainings finished, 2 left" in capsys.readouterr().out


def test_a_complete_recording_becomes_longer_or_shorter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.json.gz"
    curves = record(path, 2)
    write_recording(path, "module", {**ABOUT, "curves": curves})
    assert list(tmp_path.iterdir()) == [path]
    assert read_recording(path)["curves"] == curves
    capsys.readouterr()
    assert len(record(path, 3)) == 6
    assert record(path, 1) == curves[:2]
    assert "4 trainings finished, 2 left" in capsys.readouterr().out
    write_recording(path, "module", {**ABOUT, "curves": curves})
    assert len(record(path, 2, {"seed": 2})) == 4
    assert "0 trainings finished, 4 left" in capsys.readouterr().out
