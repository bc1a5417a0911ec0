"""Reading of a study that the real command created."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.baselines import sentune_studies
from benchmarks.baselines.sentune_studies import seconds_an_epoch, spread_sample, trial_span
from tests.support.epochs import epoch
from tests.support.trial_records import record
from tuning.journal.records import TrialRecord


def timed(number: int, seconds: float, epochs: int = 2) -> TrialRecord:
    """A trial whose epochs took so long each."""
    return record(number, epochs=tuple(epoch(at, 0.5, seconds=seconds) for at in range(1, epochs + 1)))


def test_a_long_trial_counts_no_more_than_a_short_one_in_the_seconds_of_an_epoch() -> None:
    assert seconds_an_epoch([timed(0, 1.0, epochs=10), timed(1, 3.0, epochs=1)]) == pytest.approx(2.0)


def test_the_span_of_trials_is_from_the_first_start_to_the_last_end() -> None:
    def trial(number: int, start: float, end: float) -> TrialRecord:
        started, ended = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=each) for each in (start, end))
        return dataclasses.replace(record(number, 1.0), started=started, ended=ended)

    assert trial_span([trial(0, 2.0, 9.0), trial(1, 1.5, 4.0), trial(2, 5.0, 8.0)]) == 7.5


def test_a_sample_is_spread_from_fast_to_slow() -> None:
    trials = [timed(number, seconds) for number, seconds in enumerate([8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0])]
    assert [trial.epochs[0].seconds for trial in spread_sample(trials, 4)] == [2.0, 4.0, 6.0, 8.0]
    assert sorted(trial.number for trial in spread_sample(trials, 8)) == list(range(8))


def test_accuracies_and_verdict_are_those_of_the_retrained_model_even_if_it_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {"val_accuracy": 0.7, "test_accuracy": 0.6, "verdict": "DIFFERS: 1/2 epochs reproduced"}

    def run_sentune(*words: str) -> str:
        if words[0] == "retrain":
            (tmp_path / "s-model").mkdir()
            (tmp_path / "s-model/metrics.json").write_text(json.dumps(figures))
        return str(figures["verdict"])

    monkeypatch.setattr(sentune_studies, "run_sentune", run_sentune)
    trained = timed(0, 1.0)
    others = dataclasses.replace(trained, number=1, state="FAIL"), dataclasses.replace(trained, number=2, copy_of=0)
    monkeypatch.setattr(sentune_studies, "read_study", lambda folder: ({}, [trained, *others]))
    study = sentune_studies.run_study(tmp_path, "s", [])
    assert study.trials == [trained]
    assert {name: getattr(study, name) for name in figures} == figures
