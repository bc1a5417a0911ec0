"""tuning.serving.abstention: the probability below which there is no answer."""

import pytest

from core.calibration import CoverageRow
from core.errors import UserError
from tuning.serving.abstention import Abstention

TABLE = [
    CoverageRow(min_probability=0.5, sentences=1000, correct=800),
    CoverageRow(min_probability=0.75, sentences=600, correct=570),
    CoverageRow(min_probability=0.875, sentences=250, correct=246),
    CoverageRow(min_probability=0.99, sentences=10, correct=10),
]


def test_by_default_every_sentence_gets_a_label() -> None:
    assert Abstention().threshold(TABLE, pytest.fail) is None
    assert Abstention().threshold([], pytest.fail) is None


def test_a_probability_is_taken_as_it_is() -> None:
    assert Abstention(min_probability=0.6).threshold([], pytest.fail) == 0.6
    assert Abstention(min_probability=0).threshold([], pytest.fail) == 0


def test_an_accuracy_gives_the_smallest_probability_whose_lower_bound_reaches_it() -> None:
    """0.75 has an accuracy of 95% and a lower bound of 92.9%."""
    notes: list[str] = []
    assert Abstention(at_accuracy=0.929).threshold(TABLE, notes.append) == 0.75
    assert Abstention(at_accuracy=0.93).threshold(TABLE, notes.append) == 0.875
    assert notes == [
        "--at-accuracy 0.929 is --min-probability 0.75: of the validation sentences it labels 60.0%, 95.0% of these "
        "correctly",
        "--at-accuracy 0.93 is --min-probability 0.875: of the validation sentences it labels 25.0%, 98.4% of these "
        "correctly",
    ]


def test_an_accuracy_that_is_not_reached_names_the_best_that_is() -> None:
    message = r"--at-accuracy 0.98 is not reached on the validation sentences; pass at most 0.9595, which labels 25.0%"
    with pytest.raises(UserError, match=message):
        Abstention(at_accuracy=0.98).threshold(TABLE, pytest.fail)
    assert Abstention(at_accuracy=0.9595).threshold(TABLE, lambda note: None) == 0.875


def test_a_model_that_is_never_right_reaches_no_accuracy() -> None:
    wrong = [CoverageRow(min_probability=0.5, sentences=8, correct=0)]
    with pytest.raises(UserError, match=r"--at-accuracy 0\.5: no .* pass --min-probability"):
        Abstention(at_accuracy=0.5).threshold(wrong, pytest.fail)


def test_a_model_without_a_table_has_no_accuracy() -> None:
    with pytest.raises(UserError, match=r"this model was saved without; pass --min-probability"):
        Abstention(at_accuracy=0.9).threshold([], pytest.fail)
