"""MR is found in any folder; each sentence is tested in one fold."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.inputs.labelled_sets import DATA, FOLDS, MR_ARCHIVE, mr_or, write_fold
from core.data.corpus import Dataset


def test_a_relative_folder_of_the_data_is_valid_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / MR_ARCHIVE).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA, ".")
    assert mr_or("snippets") == f"mr:{tmp_path / MR_ARCHIVE}"
    monkeypatch.setenv(DATA, "missing")
    assert mr_or("snippets") == "snippets"


def test_each_sentence_is_tested_in_one_fold_with_its_label(tmp_path: Path) -> None:
    texts = [f"sentence {i}" for i in range(40)]
    data = Dataset(texts=texts, labels=np.arange(40) % 2, classes=("no", "yes"), notes={})
    tested: list[tuple[str, str]] = []
    for fold in range(FOLDS):
        write_fold(tmp_path / "fold.csv", data, fold)
        with (tmp_path / "fold.csv").open(newline="") as file:
            tested += [(row["text"], row["label"]) for row in csv.DictReader(file) if row["split"] == "test"]
    assert sorted(tested) == sorted(zip(texts, ["no", "yes"] * 20, strict=True))
