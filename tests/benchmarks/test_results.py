"""benchmarks.results: a file of results survives an interruption, and a short form decides no claim."""

from pathlib import Path

import pytest

from benchmarks.results import add_result, has_result, read_results, verdict


def test_a_partial_last_line_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines before it are not written again: a kill in between would lose them."""
    monkeypatch.setattr(Path, "write_bytes", None)
    path = tmp_path / "results.jsonl"
    assert read_results(path) == []
    path.write_text('{"number": 1}\n{"numb')
    assert read_results(path) == [{"number": 1}]
    assert path.read_text() == '{"number": 1}\n'


def test_a_result_is_found_by_some_of_its_values(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    add_result(path, {"set": "trec", "fold": 1, "test": 0.9})
    add_result(path, {"set": "trec", "fold": 2, "test": 0.8})
    assert has_result(path, {"set": "trec", "fold": 2})
    assert not has_result(path, {"set": "trec", "fold": 3})


def test_a_short_form_does_not_decide() -> None:
    assert [verdict(True), verdict(False)] == ["holds", "DOES NOT HOLD"]
    assert verdict(True, conclusive=False) == "run too small to decide"
