"""benchmarks.quality.best_models: the tables, and a missing file."""

from pathlib import Path

import pytest

from benchmarks.inputs.labelled_sets import read_set
from benchmarks.quality.best_models import differences, table


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SENTUNE_DATA", str(tmp_path))

    with pytest.raises(SystemExit, match=r"mpqa\.all is missing: set SENTUNE_DATA"):
        read_set("mpqa")


COMMON = {"set": "mr", "vectors": "none", "space": "quick", "trials": 16, "fold": 0, "calibration": [0.05, 0.03]}
FIGURES = ("plain", "winner", "ensemble", "distilled", "winner_on_train", "estimate")


def test_the_table_has_means_and_the_gain_over_the_better_of_both() -> None:
    accuracies = [(0.76, 0.75, 0.78, 0.77, 0.75, 0.77), (0.74, 0.73, 0.77, 0.75, 0.71, 0.78)]
    results = [{**COMMON, **dict(zip(FIGURES, each, strict=True))} for each in accuracies]

    *_, row = table(results)

    means = "75.00 | 74.00 | 77.50 | 76.00 | +2.50 +- 0.50 | +1.00 +- 1.00"
    assert row == f"| mr | none | quick, 16 trials | 2 | {means} | 0.050, 0.030 |"


def test_differences_are_means_over_the_folds_of_several_sets() -> None:
    first = dict(zip(FIGURES, (0.76, 0.75, 0.78, 0.77, 0.75, 0.77), strict=True))
    second = dict(zip(FIGURES, (0.74, 0.73, 0.77, 0.75, 0.71, 0.78), strict=True))
    results = [{**COMMON, **first, "vectors": "glove-50d"}, {**COMMON, **second, "set": "trec", "vectors": "glove-50d"}]

    rows = {row.split(" | ")[0]: row for row in differences(results)}

    assert rows["| MR"] == "| MR | 1 | +3.00 | +2.00 | -1.00 | +2.00 | +0.00 | +1.00 |"
    assert rows["| the six other sets"] == "| the six other sets | 1 | +4.00 | +3.00 | -1.00 | +2.00 | +2.00 | -1.00 |"
    assert "| all | 2 | +3.50 +- 0.50 |" in rows["| all"]
    assert "| MR without vectors" not in rows
