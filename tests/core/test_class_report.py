"""core.class_report: precision, recall and F1 as in scikit-learn, with intervals that cover the true value."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from core.class_report import class_report, confusion_matrix
from core.stats import wilson

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@pytest.mark.slow
@given(PAIRS)
def test_the_figures_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = np.array(pairs).T
    confusion = confusion_matrix(labels, predictions, 4)
    assert confusion.tolist() == metrics.confusion_matrix(labels, predictions, labels=range(4)).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes that are absent
        expected = metrics.precision_recall_fscore_support(labels, predictions, labels=range(4))
    report = class_report(confusion, ["a", "b", "c", "d"])
    assert [each.precision for each in report] == pytest.approx(expected[0])
    assert [each.recall for each in report] == pytest.approx(expected[1])
    assert [each.f1 for each in report] == pytest.approx(expected[2])
    assert [each.support for each in report] == expected[3].tolist()
    for each in report:
        for value, interval in (
            (each.precision, each.precision_interval),
            (each.recall, each.recall_interval),
            (each.f1, each.f1_interval),
        ):
            assert interval is None or interval.low <= value + 1e-12
            assert interval is None or value <= interval.high + 1e-12


def test_a_ratio_without_sentences_is_zero_and_has_no_interval() -> None:
    never_said, neither = class_report(confusion_matrix(np.array([0]), np.array([1]), 3), "abc")[::2]
    assert (never_said.precision, never_said.precision_interval) == (0, None)
    assert (never_said.recall, never_said.recall_interval) == (0, wilson(0, 1))
    assert never_said.f1_interval is not None
    assert (neither.f1, neither.f1_interval, neither.support) == (0, None, 0)


def test_the_interval_of_f1_covers_the_true_value() -> None:
    """In 95% of samples of 200 sentences with a rare class, within what 2,000 samples can tell."""
    draw = np.random.default_rng(0)
    shares = np.array([0.08, 0.04, 0.03, 0.85])  # hits, misses, false alarms, the rest
    truth = 2 * 0.08 / (2 * 0.08 + 0.04 + 0.03)
    covered = 0
    for hits, missed, alarms, rest in draw.multinomial(200, shares, 2000):
        interval = class_report(np.array([[hits, missed], [alarms, rest]]), "ab")[0].f1_interval
        covered += interval is not None and interval.low <= truth <= interval.high
    assert 0.93 <= covered / 2000 <= 0.975
