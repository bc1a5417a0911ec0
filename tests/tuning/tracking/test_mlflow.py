"""tuning.tracking.mlflow: checks before MLflow is used; with MLflow itself: tests/system/test_mlflow.py."""

from pathlib import Path

import pytest

from core.errors import UserError
from tests.support.small_study import small_study
from tuning.tracking.mlflow import default_uri, export_to_mlflow


def test_without_mlflow_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_study(tmp_path / "s"):
        pass
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--to mlflow needs .* pip install mlflow-skinny"):
        export_to_mlflow(tmp_path / "s", "sqlite://")


def test_where_it_goes_when_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_uri(Path("/results/s")) == "sqlite:////results/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert default_uri(Path("/results/s")) == "http://host:5000"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:////proc/x.db", "cannot write /proc/x.db: its folder cannot be made, or takes no files"),
        ("sqlite:////gone/x.db", "'/gone/x.db' is in no folder that exists: create '/gone' first"),
        ("sqlite:////proc/version", "cannot write /proc/version: "),
        ("sqlite:////tmp", "cannot write /tmp: a folder is in the way"),
    ],
)
def test_a_database_that_cannot_be_written_is_one_line(uri: str, message: str, tmp_path: Path) -> None:
    """MLflow would try for ever."""
    with small_study(tmp_path / "s"):
        pass
    with pytest.raises(UserError, match=f"^{message}"):
        export_to_mlflow(tmp_path / "s", uri)
