"""Times per trial and speed-ups in the tables of benchmarks.search."""

import sys

import pytest

from benchmarks.search import scaling
from benchmarks.search.overhead import Clock


def test_a_trial_takes_from_the_first_end_to_the_last_one() -> None:
    clock = Clock(iter([1.0, 4.0, 5.0, 8.0]).__next__)
    for _ in range(3):
        clock.end()
    assert clock.figures() == {"startup": 3.0, "a_trial": 2.0}


def test_a_speed_up_is_the_time_of_one_worker_over_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = {(1, 1): (100.0, 110.0), (2, 1): (50.0, 60.0), (1, 2): (80.0, 88.0)}
    monkeypatch.setattr(scaling, "run_trials", lambda workers, threads, *_: times[workers, threads])
    monkeypatch.setattr(sys, "argv", ["scaling"])
    scaling.main()
    assert "| 2 workers x 1 thread | 50.0 | 60.0 | 2.00 | 2.00 to 2.00 | 1.83 |" in capsys.readouterr().out
