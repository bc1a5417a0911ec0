"""tuning.journal.folder: a study is found by its name, its folder and its journal."""

from pathlib import Path

import pytest

from core.errors import ConfigError
from tests.support.journals import two_trials
from tuning.journal.folder import study_folder


def test_a_study_is_found_by_name_and_by_folder(tmp_path: Path) -> None:
    two_trials(tmp_path / "results" / "mine")
    assert study_folder("mine", tmp_path / "results") == tmp_path / "results" / "mine"
    assert study_folder(f"{tmp_path}/results/mine", Path("results")) == tmp_path / "results" / "mine"


def test_a_study_is_found_by_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell completes it. A study of this name is found too."""
    two_trials(tmp_path / "results" / "mine")
    assert study_folder(f"{tmp_path}/results/mine/study.journal", Path("x")) == tmp_path / "results" / "mine"
    assert study_folder("study.journal", tmp_path) == tmp_path / "study.journal"
    with pytest.raises(ConfigError, match="STUDY must not be empty; pass the name or the folder of a study"):
        study_folder("", tmp_path)
    monkeypatch.chdir(tmp_path / "results" / "mine")
    assert study_folder("study.journal", tmp_path) == tmp_path / "results" / "mine"
    (tmp_path / "results/mine/checkpoints").mkdir()
    for inside, given in (("", "."), ("checkpoints", ".."), ("checkpoints", "../study.journal")):
        monkeypatch.chdir(tmp_path / "results/mine" / inside)
        assert study_folder(given, tmp_path).name == "mine"
