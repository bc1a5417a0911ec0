"""MR is found in any folder; each sentence is tested in one fold."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.inputs.labelled_sets import DATA, FOLDS, MR_ARCHIVE, mr_or, read_set, write_fold
from core.data.corpus import SPLIT_NAMES, Dataset
from core.data.splits import fold_split


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


def test_a_fold_keeps_its_number_and_its_seed(tmp_path: Path) -> None:
    texts, labels = [f"sentence {i}" for i in range(40)], np.arange(40) % 2
    write_fold(tmp_path / "f.csv", Dataset(texts=texts, labels=labels, classes=("no", "yes"), notes={}), 3)
    with (tmp_path / "f.csv").open(newline="") as file:
        found = [row["split"] for row in csv.DictReader(file)]
    assert found == [SPLIT_NAMES[code] for code in fold_split(texts, labels, ("no", "yes"), 10, 3, seed=42)]


def test_a_line_is_a_label_and_a_text_in_latin_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mpqa.all").write_bytes(b"1 a good caf\xe9\n0 bad\n\n1 \n")
    monkeypatch.setenv(DATA, str(tmp_path))
    data = read_set("mpqa")
    assert (data.texts, data.labels.tolist(), data.classes) == (["a good café", "bad"], [1, 0], ("0", "1"))
