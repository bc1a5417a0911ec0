"""The verdict of benchmarks.data_cache."""

import zipfile
from pathlib import Path

import pytest

from benchmarks.data_cache import report


def test_cold_is_compared_with_unzipping_too_and_warm_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a.vec", "x" * 1000)
    memory = {"peak_mib": 1.0, "imports_mib": 1.0, "held_mib": 1.0, "private_mib": 1.0}
    found = {
        "notebook": {"unzip": 20.0, "tokenise": 2.0, "scan": 18.0, **memory}, "floor": {"seconds": 4.0},
        "cold": {"seconds": 10.0, "tokenise": 2.0, **memory}, "warm": {"seconds": 0.1, **memory},
    }  # fmt: skip
    with pytest.raises(SystemExit, match="1"):
        report(found, tmp_path / "a.zip", quick=False)
    said = capsys.readouterr().out
    assert "the reader is 2.00 times its floor" in said
    assert "cold start: 4.0 times faster than the notebook, at least 5 claimed: DOES NOT HOLD" in said
    assert "warm start: 200.0 times faster than the notebook, at least 100 claimed: holds" in said
