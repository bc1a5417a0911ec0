"""Computations from a part of a search, and the claims."""

import pytest

from benchmarks.search import whole_search
from benchmarks.search.ray_and_optuna import Job, Searched
from benchmarks.search.whole_search import Row, Study, row_of_part, show_claims
from tests.support.epochs import epoch
from tests.support.trial_records import record


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


def test_the_part_is_scaled_as_in_sentune_and_bounds_by_the_fewest_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [record(at, epochs=(epoch(1, 0.5, seconds=each),)) for at, each in enumerate((1.0, 2.0, 3.0, 10.0))]
    ours = Study(seconds=1.0, trials=trials, val_accuracy=0.5, test_accuracy=0.5, verdict="")
    job = Job(way="a1", dataset="d", vectors="none", settings=[], trials=4, epochs=10, limit=2, points=[], seed=1)
    asked: list[Job] = []
    part = Searched(seconds=9.0, trials=[[6.0], [6.0]])

    def run(job: Job) -> Searched:
        asked.append(job)
        return part

    monkeypatch.setattr(whole_search, "run", run)
    monkeypatch.setattr(whole_search, "replay_epochs", lambda job: {"a1": 40, "a2": 40, "b": 20, "c": 30})
    rows = dict(whole_search.baselines(job, ours, 2))  # the sample takes 6 s an epoch in sentune, all trials 4
    assert {name: row.seconds for name, row in rows.items()} == pytest.approx({"a1": 160, "a2": 80, "b": 40, "c": 120})
    assert [(each.way, each.trials, len(each.points)) for each in asked] == [(way, 2, 2) for way in rows]
    assert whole_search.bounds(job, rows) == pytest.approx({"b": 40 * 16 / 20, "c": 120 * 40 / 30})
