"""tuning.analysis.tested: how often the test split was read, and what each trial reached on it."""

import pytest

from core.stats import wilson
from tests.support.assessed_studies import attributes, reading, trial
from tuning.analysis.assessment import judge
from tuning.analysis.ranking import every_row
from tuning.analysis.tested import on_test, readings_note


def test_a_trials_figure_is_the_mean_over_seeds_with_the_interval_of_one_split() -> None:
    found = on_test([reading(3, 0.70), reading(3, 0.80, seed=2), reading(4, 0.6)], "80/10/10")
    assert found[3].accuracy == pytest.approx(0.75)
    assert (found[3].seeds, found[3].sentences) == (2, 400)
    interval = wilson(300, 400)
    assert (found[3].interval.low, found[3].interval.high) == pytest.approx((interval.low, interval.high))
    assert (found[4].accuracy, found[4].seeds) == (0.6, 1)


def test_what_was_read_first_counts_where_a_seed_was_read_again() -> None:
    assert on_test([reading(3, 0.70), reading(3, 0.71, verb="retrain")], "80/10/10")[3].accuracy == 0.70


@pytest.mark.parametrize("change", [{"on": "train+val"}, {"split": "folds:10"}])
def test_other_splits_and_other_training_data_do_not_count_for_the_row(change: dict[str, str]) -> None:
    assert on_test([reading(3, 0.7, **change)], "80/10/10") == {}


def test_every_reading_counts_in_the_note() -> None:
    readings = [reading(3, 0.7), reading(3, 0.7, split="folds:10"), reading(4, 0.7, verb="retrain")]
    assert readings_note(readings) == "the test split was read 3 times: 2 by confirm, 1 by retrain"
    assert readings_note(readings[:1]) == "the test split was read once: 1 by confirm"
    assert readings_note([]) == "no reading of the test split is recorded"


def test_the_rows_show_it() -> None:
    readings = [reading(1, 0.75), reading(1, 0.6, on="train+val")]
    found = [trial(0, range(60)), trial(1, range(50))]
    first, second = every_row(found, (), judgement=judge(found, attributes(readings=readings)))
    assert (first.trial, first.test_accuracy, first.test_readings) == (1, 0.75, 2)
    assert first.test_low is not None
    assert first.test_high is not None
    assert first.test_low < 0.75 < first.test_high
    assert (second.test_accuracy, second.test_low, second.test_high, second.test_readings) == (None, None, None, 0)
