"""core.data.cautions: what is doubtful about a corpus stands in front."""

from typing import Any

import pytest

from core.data.cautions import cautions

CLEAN: dict[str, Any] = {
    "duplicates_across": {pair: {"exact": 0, "near": 0} for pair in ("train/val", "train/test", "val/test")},
    "conflicts": {"texts": 0},
    "coverage": {"by_token": 0.9},
}


def test_a_clean_corpus_has_none() -> None:
    assert cautions(CLEAN) == []
    assert cautions(CLEAN | {"coverage": None}) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"duplicates_across": CLEAN["duplicates_across"] | {"train/val": {"exact": 0, "near": 1200}}},
            "sentences that stand in two splits: train/val 1,200",
        ),
        ({"conflicts": {"texts": 3}}, "texts under more than one label: 3"),
        ({"coverage": {"by_token": 0.512}}, "only 51.2% of train's tokens have a word vector"),
    ],
)
def test_each_doubt_is_a_line(change: dict[str, Any], line: str) -> None:
    assert cautions(CLEAN | change) == [line]


def test_leaks_come_first() -> None:
    across = {pair: {"exact": 1, "near": 2} for pair in CLEAN["duplicates_across"]}
    lines = cautions({"duplicates_across": across, "conflicts": {"texts": 1}, "coverage": {"by_token": 0.0}})
    assert lines[0] == "sentences that stand in two splits: train/val 2, train/test 2, val/test 2"
    assert len(lines) == 3
