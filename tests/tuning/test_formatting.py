"""tuning.formatting: names, settings and durations, and CSV that sentune and other programs read back."""

import unicodedata
from pathlib import Path

import pytest

from core.data.readers import read_table
from tuning.formatting import csv_text, format_duration, format_settings, left_align, short_names, text_table, truncate


def test_a_name_is_cut_unless_it_would_look_like_another_one() -> None:
    similar = [f"card payment fee charged {end}" for end in ("twice", "wrongly")]
    names = ["pin\nblocked", "exchange rate of the day", *similar, "x" * 90, "x" * 91]
    shown = [r"pin\nblocked", "exchange rate of ...", *similar, f"{'x' * 77}...", f"{'x' * 77}..."]
    assert short_names(names) == dict(zip(names, shown, strict=True))


WIDE = ["体育新闻", "스포츠", "ｽﾎﾟｰﾂ", "e\u0301te\u0301", "sport"]


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def test_columns_are_aligned_for_wide_characters_and_accents() -> None:
    table = text_table(
        ["label", "", "n"], [[name, left, "7"] for name, left in zip(WIDE, left_align(WIDE), strict=True)]
    )
    assert {cells(line) for line in table} == {2 * 8 + 1 + 2 * 2}


def test_wide_text_is_cut_by_the_cells_that_it_takes() -> None:
    name = "财经与股票市场和体育新闻"
    assert short_names([name]) == {name: "财经与股票市场和 ..."}
    assert [truncate(name, width) for width in (24, 23, 7, 3, 2)] == [
        name,
        "财经与股票市场和体育...",
        "财经...",
        "...",
        "..",
    ]
    assert truncate("e\u0301" * 9, 8) == "e\u0301" * 5 + "..."


def test_a_setting_cannot_control_a_terminal() -> None:
    assert format_settings({"pooling": "\x1b[2Jmax\n", "n_layers": 2}) == r"pooling=\x1b[2Jmax\n n_layers=2"


def test_csv_has_quotes_only_where_they_are_needed() -> None:
    rows = [["text", "n", "share"], ["plain text", 1, 0.5], ['a, "b"\nc', None, True], ["", " ", ";"], [""]]
    assert csv_text(rows) == 'text,n,share\nplain text,1,0.5\n"a, ""b""\nc",,True\n, ,;\n""\n'


@pytest.mark.parametrize("cell", ["a\rb", "\r", "a\r\nb", "a\r"])
def test_a_carriage_return_is_quoted_and_read_back(cell: str, tmp_path: Path) -> None:
    text = csv_text([["text", "label"], [cell, "0"]])
    assert text == f'text,label\n"{cell}",0\n'
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert read_table(tmp_path / "a.csv", "utf-8").columns == {"text": [cell], "label": ["0"]}


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "1m30s"), (1800, "30m"), (5400, "1h30m"), (7200, "2h"), (0.2, "0s")]
)
def test_a_duration_is_shown_as_it_is_typed(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
