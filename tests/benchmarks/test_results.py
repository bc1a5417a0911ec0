"""benchmarks.results: a file of results survives an interruption, and a short form decides no claim."""

import fcntl
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import add_result, has_result, measure_missing, read_results, run_step, table_head, verdict


def test_a_partial_last_line_is_ignored_until_a_result_takes_its_place(tmp_path: Path) -> None:
    """Reading does not change the file, to which a running command may be adding a line."""
    path = tmp_path / "results.jsonl"
    assert read_results(path) == []
    path.write_text('{"number": 1}\n{"numb')
    assert read_results(path) == [{"number": 1}]
    assert path.read_text() == '{"number": 1}\n{"numb'
    add_result(path, {"number": 2})
    assert path.read_text() == '{"number": 1}\n{"number": 2}\n'


def test_a_result_is_found_by_some_of_its_values(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    add_result(path, {"set": "trec", "fold": 1, "test": 0.9})
    add_result(path, {"set": "trec", "fold": 2, "test": 0.8})
    assert has_result(path, {"set": "trec", "fold": 2})
    assert not has_result(path, {"set": "trec", "fold": 3})


def measure(job: dict[str, Any]) -> dict[str, Any]:
    return {**job, "test": 0.5}


@pytest.mark.parametrize("processes", [None, 1])
def test_only_jobs_without_a_result_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], processes: int | None
) -> None:
    path = tmp_path / "results.jsonl"
    jobs = [{"set": "trec", "config": {"epochs": epochs}} for epochs in (1, 2)]
    add_result(path, {**jobs[0], "test": 0.9})
    measure_missing(path, jobs, measure, processes=processes)
    assert read_results(path) == [{**jobs[0], "test": 0.9}, {**jobs[1], "test": 0.5}]
    assert capsys.readouterr().out == '{"set": "trec", "config": {"epochs": 2}, "test": 0.5}\n'


def test_a_table_begins_with_its_columns_and_a_rule() -> None:
    assert table_head(("set", "test")) == ["| set | test |", "| --- | --- |"]


def test_a_short_form_does_not_decide() -> None:
    assert [verdict(True), verdict(False)] == ["holds", "DOES NOT HOLD"]
    assert verdict(True, conclusive=False) == "run too small to decide"


def test_a_step_has_one_thread_and_answers_in_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import json, os, sys\nprint('a note')\nprint(json.dumps({sys.argv[1]: os.environ['OMP_NUM_THREADS']}))"
    (tmp_path / "a_step.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert run_step("a_step", "word") == {"word": "1"}


def test_a_result_waits_while_another_command_writes(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    thread = threading.Thread(target=add_result, args=(path, {"number": 1}))
    with path.open("ab+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b'{"number": 0}')
        other.flush()
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        other.write(b"\n")
    thread.join()
    assert read_results(path) == [{"number": 0}, {"number": 1}]
