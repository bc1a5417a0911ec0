"""tuning.report.axes: where values stand, and what is written beside them."""

import math

import pytest

from tuning.report.axes import CategoryAxis, NumericAxis, axis_over


def test_the_ends_of_a_scale_are_the_lowest_and_the_highest_value() -> None:
    scale = NumericAxis.over([3.0, 1.0, 2.0])
    assert [scale.position(value) for value in (1, 2, 3)] == [0, 0.5, 1]


def test_a_logarithmic_scale_has_equal_steps_for_equal_factors() -> None:
    scale = NumericAxis.over([1e-4, 1e-2], log=True)
    assert scale.position(1e-3) == pytest.approx(0.5)
    assert [name for _, name in scale.ticks(8)] == ["0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005", "0.01"]
    assert [name for _, name in scale.ticks(4)] == ["0.0001", "0.001", "0.01"]


def test_a_short_logarithmic_scale_has_round_marks_too() -> None:
    assert [name for _, name in NumericAxis.over([16, 32], log=True, whole=True).ticks(5)] == ["20", "25", "30"]


def test_a_margin_leaves_room_at_both_ends() -> None:
    scale = NumericAxis.over([0.0, 1.0], margin=0.1)
    assert (scale.low, scale.high) == (-0.1, 1.1)


@pytest.mark.parametrize("values", [[], [0.7], [0.7, 0.7], [math.nan, 0.7], [math.inf]])
def test_few_equal_or_endless_values_still_make_a_scale(values: list[float]) -> None:
    scale = NumericAxis.over(values, margin=0.05)
    assert scale.low < scale.high
    assert scale.ticks(5)
    assert NumericAxis.over([0.7], log=True).ticks(5)


def test_marks_are_round_numbers_inside_the_scale() -> None:
    assert NumericAxis.over([0.612, 0.788]).ticks(5) == [
        (pytest.approx((mark - 0.612) / 0.176), name) for mark, name in ((0.65, "0.65"), (0.7, "0.7"), (0.75, "0.75"))
    ]


def test_between_whole_numbers_nothing_is_written() -> None:
    assert [name for _, name in NumericAxis.over([1, 3], whole=True).ticks(8)] == ["1", "2", "3"]


def test_names_stand_in_the_middle_of_equal_parts_and_true_is_not_one() -> None:
    row = axis_over([True, False, None, 1, "max", 1])
    assert isinstance(row, CategoryAxis)
    assert [name for _, name in row.ticks(9)] == ["1", "no", "none", "yes", "max"]
    assert row.position(True) != row.position(1)
    assert {row.position(value) for value in (True, False, None, 1, "max")} == {0.1, 0.3, 0.5, 0.7, 0.9}


def test_numbers_of_a_choice_are_names_and_in_order() -> None:
    row = axis_over([50, 16, 32], named=True)
    assert row.ticks(9) == [(pytest.approx(1 / 6), "16"), (0.5, "32"), (pytest.approx(5 / 6), "50")]


def test_none_and_a_logarithms_zero_stand_below_the_scale() -> None:
    axis = axis_over([None, 0.01, 0.0, 1.0, 0.1, None], log=True)
    places = [axis.position(value) for value in (None, 0.0, 0.01, 0.1, 1.0)]
    assert places == pytest.approx([0, 0.12, 0.24, 0.62, 1])
    assert [name for _, name in axis.ticks(6)] == ["none", "0", "0.01", "0.1", "1"]
    assert axis_over([0.5, None, 2.0]).position(2.0) == 1


def test_one_none_among_many_numbers_makes_no_name_of_each() -> None:
    assert len(axis_over([None, *(n / 10 for n in range(40))]).ticks(6)) <= 8


def test_nothing_but_none_and_names_beside_numbers_stand_in_a_row() -> None:
    assert [name for _, name in axis_over([None, None]).ticks(6)] == ["none"]
    assert [name for _, name in axis_over([None, "a", 1]).ticks(6)] == ["1", "none", "a"]
