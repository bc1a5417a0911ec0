"""Tables and verdicts for given figures."""

import sys

import pytest

from benchmarks.search.growth import describe_growth, format_figure, parse, table


def test_a_row_says_how_many_times_as_much_as_the_row_before() -> None:
    found = {10: {"seconds": 0.5, "mib": 0.0}, 100: {"seconds": 4.0, "mib": 2.0}}
    assert list(table("trials", found))[2:] == ["| 10 | 0.5 |  | 0.00000 |  |", "| 100 | 4 | 8.0 | 2 |  |"]


@pytest.mark.parametrize(("last", "word"), [(140.0, "near linear (at most 14.0"), (160.0, "NOT LINEAR (at most 16.0")])
def test_the_steepest_step_decides(last: float, word: str) -> None:
    assert describe_growth([(10, 1.0), (100, 10.0), (1000, last)]).startswith(word)


def test_a_step_of_another_factor_counts_as_one_of_ten() -> None:
    assert "at most 16.0 times" in describe_growth([(10, 1.0), (1000, 256.0)])


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1,234"), (12.345, "12.3"), (0.00012, "0.00012")])
def test_figures_are_written_without_powers_of_ten(value: float, text: str) -> None:
    assert format_figure(value) == text


@pytest.mark.parametrize("words", [["--sizes", "10", "100"], ["--only", "trials", "--sizes", "10"]])
def test_sizes_that_cannot_be_compared_are_refused_before_a_measurement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["growth", *words])
    with pytest.raises(SystemExit):
        parse()
    assert "--sizes needs --only, and at least two sizes" in capsys.readouterr().err
