"""Computations from a part of a search, and the claims."""

import pytest

from benchmarks.search.ray_and_optuna import Searched
from benchmarks.search.whole_search import Row, row_of_part, show_claims


def test_the_whole_is_computed_from_the_speed_of_a_part_and_the_relative_cost_of_all_trials() -> None:
    part = Searched(seconds=99.0, trials=[[10.0, 20.0]])
    row = row_of_part(part, scale=2.0, epochs=240, at_once=2)
    assert row.epoch_seconds == pytest.approx(30.0)
    assert row.seconds == pytest.approx(240 * 30.0 / 2)


def test_claims_use_the_faster_of_the_two_searches_without_stopping(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        name: Row(seconds=seconds, epochs=1, epoch_seconds=1.0, how="")
        for name, seconds in {"a1": 200.0, "a2": 160.0, "b": 40.0, "c": 30.0}.items()
    }
    show_claims(10.0, rows, {"b": 20.0}, conclusive=True)
    said = capsys.readouterr().out
    assert "the better of a1 and a2: 16.00 times faster, at least 15 claimed: holds" in said
    assert "against b: 4.00 times faster, at least 5 claimed: DOES NOT HOLD" in said
    assert "b with the fewest epochs: 2.00 times faster\n" in said
