"""MR is found in any folder."""

from pathlib import Path

import pytest

from benchmarks.inputs.labelled_sets import DATA, MR_ARCHIVE, mr_or


def test_a_relative_folder_of_the_data_is_valid_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / MR_ARCHIVE).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA, ".")
    assert mr_or("snippets") == f"mr:{tmp_path / MR_ARCHIVE}"
    monkeypatch.setenv(DATA, "missing")
    assert mr_or("snippets") == "snippets"
