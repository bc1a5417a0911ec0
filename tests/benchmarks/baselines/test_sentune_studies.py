"""Reading of a study that the real command created."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.baselines import sentune_studies
from benchmarks.baselines.sentune_studies import seconds_an_epoch, spread_sample
from core.training.result import EpochResult
from tuning.journal.records import TrialRecord


def record(number: int, seconds: float, epochs: int = 2) -> TrialRecord:
    """A trial whose epochs took so long each."""
    result = EpochResult(epoch=1, train_loss=0.0, val_loss=0.0, val_accuracy=0.5, score=0.5, seconds=seconds)
    return TrialRecord(
        number=number,
        state="COMPLETE",
        params={},
        config={},
        origin="sampler",
        epochs=tuple(dataclasses.replace(result, epoch=epoch) for epoch in range(1, epochs + 1)),
        error=None,
        n_parameters=1,
    )


def test_a_long_trial_counts_no_more_than_a_short_one_in_the_seconds_of_an_epoch() -> None:
    assert seconds_an_epoch([record(0, 1.0, epochs=10), record(1, 3.0, epochs=1)]) == pytest.approx(2.0)


def test_a_sample_is_spread_from_fast_to_slow() -> None:
    trials = [record(number, seconds) for number, seconds in enumerate([8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0])]
    assert [trial.epochs[0].seconds for trial in spread_sample(trials, 4)] == [2.0, 4.0, 6.0, 8.0]
    assert sorted(trial.number for trial in spread_sample(trials, 8)) == list(range(8))


def test_accuracies_and_verdict_are_those_of_the_retrained_model_even_if_it_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {"val_accuracy": 0.7, "test_accuracy": 0.6, "verdict": "DIFFERS: 1/2 epochs reproduced"}

    def said_by(*words: str) -> str:
        if words[0] == "retrain":
            (tmp_path / "s-model").mkdir()
            (tmp_path / "s-model/metrics.json").write_text(json.dumps(figures))
        return str(figures["verdict"])

    monkeypatch.setattr(sentune_studies, "said_by", said_by)
    trained = record(0, 1.0)
    others = dataclasses.replace(trained, number=1, state="FAIL"), dataclasses.replace(trained, number=2, copy_of=0)
    monkeypatch.setattr(sentune_studies, "read_study", lambda folder: ({}, [trained, *others]))
    study = sentune_studies.run_study(tmp_path, "s", [])
    assert study.trials == [trained]
    assert {name: getattr(study, name) for name in figures} == figures
