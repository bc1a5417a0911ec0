"""The recorded configurations, their order, and the fields of a curve."""

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.inputs.trained_epochs import trained_epochs
from benchmarks.portfolio import record
from core.config import TrialConfig
from core.data.corpus import Corpus
from core.errors import TrainingError
from core.training.loop import train
from tests.support.corpora import tiny_corpus


@pytest.mark.slow
def test_two_thirds_are_drawn_from_default_and_a_longer_recording_begins_alike() -> None:
    found = list(record.configurations(31, 256, cost=1.5, seed=1))
    assert found[0]["settings"].items() <= TrialConfig.notebook().to_dict().items()
    assert [each["space"] for each in found[1:7]] == ["default", "default", "quick"] * 2
    assert found[:10] == list(record.configurations(10, 256, cost=1.5, seed=1))
    for each in found[1:]:
        space = record.capped(each["space"], 256)
        config = TrialConfig.from_dict({**TrialConfig().to_dict(), **each["settings"]})
        assert config.hidden_dim <= 256
        assert space.to_config(space.to_params(config)) == config


@pytest.mark.slow
def test_no_configuration_costs_more_than_the_limit_and_cheaper_ones_do_not_depend_on_it() -> None:
    low, high = (list(record.configurations(31, 256, cost=cost, seed=1)) for cost in (1, 2))
    limit = record.relative_cost(low[0]["settings"])
    assert max(record.relative_cost(each["settings"]) for each in low) <= limit
    assert max(record.relative_cost(each["settings"]) for each in high) > limit
    cheap = [number for number, each in enumerate(high) if record.relative_cost(each["settings"]) <= limit]
    assert [low[number] for number in cheap] == [high[number] for number in cheap]


def test_a_cap_below_512_leaves_the_smaller_range_of_quick() -> None:
    ranges = [each.distribution for name in ("default", "quick") for each in record.capped(name, 256).dimensions[1:2]]
    assert [(each.low, each.high) for each in ranges] == [(64, 256), (32, 192)]  # type: ignore[attr-defined]


def test_the_first_configuration_is_trained_on_all_sets_before_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "epochs_of", lambda name, vectors: len(name))
    found = list(record.configurations(2, 256, cost=1.5, seed=1))
    jobs = list(record.trainings(found, ("mr", "trec"), "none", {"seed": 3, "precision": "fp32"}))
    assert [(job["number"], job["set"]) for job in jobs] == [(0, "mr"), (0, "trec"), (1, "mr"), (1, "trec")]
    assert TrialConfig.from_dict(jobs[1]["config"]) == TrialConfig.notebook(epochs=4, seed=3, precision="fp32")


def test_a_curve_has_the_results_of_a_training_and_the_test_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tiny_corpus()
    monkeypatch.setattr(record, "corpus_of", lambda name, vectors: corpus)
    config = TrialConfig(hidden_dim=8, epochs=3, lr_schedule="plateau", ema_decay=0.9)
    found = record.record({"set": "tiny", "number": 4, "config": config.to_dict()}, vectors="none")
    epochs = train(config, corpus).epochs
    expected = [(round(epoch.val_accuracy, 5), round(epoch.val_loss, 4)) for epoch in epochs]
    assert [epoch[:2] for epoch in found["curve"]] == expected
    assert all(0 <= epoch[2] <= 1 for epoch in found["curve"])
    assert found["seconds"] > 0


def test_a_diverging_training_keeps_the_epochs_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(config: TrialConfig, corpus: Corpus) -> Iterator[Any]:
        yield next(iter(trained_epochs(config, corpus)))
        raise TrainingError("the loss is NaN")

    corpus = tiny_corpus()
    monkeypatch.setattr(record, "corpus_of", lambda name, _: corpus)
    monkeypatch.setattr("benchmarks.inputs.trained_epochs.trained_epochs", diverges)
    job = {"set": "tiny", "number": 0, "config": TrialConfig(hidden_dim=8, epochs=3).to_dict()}
    found = record.record(job, vectors="none")
    assert len(found["curve"]) == 1
    assert found["seconds"] > 0


def test_a_set_has_the_epochs_that_auto_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "corpus_of", lambda name, vectors: tiny_corpus())
    assert record.epochs_of("tiny", "none") == 50
