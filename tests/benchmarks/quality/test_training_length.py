"""benchmarks.quality.training_length: which epoch counts, the table, and what is trained."""

import pytest

from benchmarks.portfolio import record
from benchmarks.quality import training_length
from benchmarks.quality.training_length import best_so_far, table, trainings
from core.config import TrialConfig
from tests.support.corpora import tiny_corpus

RISING = [(0.5 + epoch / 100, 0.7, 0.4 + epoch / 100) for epoch in range(26)]
FALLING = [(0.9, 0.2, 0.8), (0.9, 0.3, 0.7), *[(0.5, 1.0, 0.5)] * 24]


def test_the_best_epoch_so_far_is_by_validation_accuracy_then_loss() -> None:
    assert best_so_far(RISING, 35_000, 10_000) == RISING[3]
    assert best_so_far(RISING, 1_000, 10_000) == RISING[0]
    assert best_so_far(FALLING, 260_000, 10_000) == FALLING[0]


def test_the_table_has_mean_and_best_of_the_configurations() -> None:
    results = [
        {"set": "a", "number": at, "sentences": 10_000, "curve": each} for at, each in enumerate((RISING, FALLING))
    ]
    results.append({"set": "a", "number": 2, "sentences": 10_000, "curve": []})  # its loss diverged in the first epoch
    _, _, mean, best, *all_sets = table(results)
    assert mean == "| a | 10,000 | 2 | mean | 60.50 | 61.50 | 63.00 | 66.50 | 72.50 | 26 |"
    assert best == "| a | 10,000 | 2 | best | 80.00 | 80.00 | 80.00 | 80.00 | 80.00 | 26 |"
    assert all_sets[1] == "| all | | | best | 80.00 | 80.00 | 80.00 | 80.00 | 80.00 | |"
    assert len(list(table([]))) == 2


def test_each_set_is_trained_for_the_same_number_of_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_length, "corpus_of", lambda name, vectors: tiny_corpus(n_sentences=int(name)))
    monkeypatch.setattr(training_length, "LENGTHS", (100, 1_000))
    jobs = list(trainings(["100", "400"], 2))
    assert [(job["set"], job["number"]) for job in jobs] == [("100", 0), ("400", 0), ("100", 1), ("400", 1)]
    configs = [TrialConfig.from_dict(job["config"]) for job in jobs]
    assert configs[0].epochs > 3 * configs[1].epochs
    assert configs[0].replace(epochs=1) == configs[1].replace(epochs=1)
    assert {config.lr_schedule for config in configs} == {"constant"}
    assert configs[0] != configs[2]


def test_a_result_has_its_job_so_that_it_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (training_length, record):
        monkeypatch.setattr(module, "corpus_of", lambda name, vectors: tiny_corpus())
    monkeypatch.setattr(training_length, "LENGTHS", (100,))
    (job,) = trainings(["tiny"], 1)
    assert job.items() <= training_length.measure(job).items()
