"""Simulated searches with few sentences of a class."""

import numpy as np
import pytest

from benchmarks.quality import rare_classes
from benchmarks.quality.rare_classes import CASES, Case, cells, judge, judge_search, simulated
from core.metrics import METRICS


def test_the_rare_classes_have_their_sentences_and_the_others_the_rest() -> None:
    assert [case.counts().sum() for case in CASES] == [case.sentences for case in CASES]
    assert Case(sentences=10, classes=4, rare=2, smallest=1).counts().tolist() == [4, 4, 1, 1]


@pytest.mark.parametrize("metric", METRICS)
def test_on_its_own_sentences_an_interval_contains_the_value_and_the_choice_is_subtracted(metric: str) -> None:
    labels = np.repeat([0, 1], [60, 12])
    shares = np.array([60, 12]) / 72
    seen = simulated(np.random.default_rng(1), labels, np.full((8, 2), 3.0), shares)
    found = judge(metric, labels, seen, labels, seen)
    assert found.single_covered
    assert METRICS[metric].oriented(found.corrected) < 0
    assert found.gain_covered is not False


def test_a_search_has_a_row_for_each_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rare_classes, "POPULATION", 500)
    found = judge_search(Case(sentences=40, classes=2, rare=1, smallest=6), 3)
    assert found == judge_search(Case(sentences=40, classes=2, rare=1, smallest=6), 3)
    assert list(found) == list(METRICS)
    assert cells([found["accuracy"]]).keys() == cells([]).keys()
