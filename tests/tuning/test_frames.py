"""tuning.frames: the same data result in the same file with any library; other data are one line."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pyarrow
import pytest

from core.data import readers
from core.data.corpus import ReadOptions
from core.data.load import load_corpus
from core.errors import ConfigError, DataError, UserError
from tuning.frames import store_frame

TEXTS = ["a great film", "so dull", "fine “quotes”, commas\nand lines", "日本語 text", "", "so dull again"]
STARS = [5, 1, 4, 5, 2, 1]
DATA = {"body": TEXTS, "stars": STARS, "other": [0.5] * 6, "vector": [[1.0, 2.0]] * 6}
CHOICE = ReadOptions(text_column="body", label_column="stars")


class Feature:
    """A ClassLabel of Hugging Face."""

    names = ("neg", "pos")


class Dataset:
    """What a Dataset of Hugging Face offers: `to_pandas` and `features`."""

    def __init__(self, labels: list[int]) -> None:
        self.labels = labels
        self.features = {"text": object(), "label": Feature()}

    def to_pandas(self) -> pd.DataFrame:
        return pd.DataFrame({"text": [f"text {at}" for at in range(len(self.labels))], "label": self.labels})


def stored(data: Any, folder: Path, options: ReadOptions = CHOICE) -> str:
    return store_frame(data, options, folder)[0].read_text()


FRAMES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(DATA),
    "pandas, shuffled index": lambda: pd.DataFrame(DATA, index=[3, 1, 2, 9, 5, 3]),
    "pandas, categorical": lambda: pd.DataFrame(DATA).astype({"stars": "category"}),
    "pandas, nullable": lambda: pd.DataFrame(DATA).convert_dtypes(),
    "polars": lambda: polars.DataFrame(DATA),
    "pyarrow": lambda: pyarrow.table(DATA),
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES.keys())
def test_every_library_gives_the_same_file_with_the_needed_columns_alone(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    path, options = store_frame(make(), CHOICE, tmp_path)
    assert path.name == "frame-acf8c5ae0e21.jsonl"
    assert path.read_text().splitlines()[0] == '{"body": "a great film", "stars": "5"}'
    assert (options.text_column, options.label_column) == ("body", "stars")


def test_a_long_cell_in_another_column_does_not_matter(tmp_path: Path) -> None:
    frame = pd.DataFrame(DATA)
    assert stored(frame.assign(html="x" * 131_073), tmp_path) == stored(frame, tmp_path)


def test_two_sequences_are_the_columns_text_and_label(tmp_path: Path) -> None:
    first = stored((TEXTS, STARS), tmp_path, ReadOptions())
    assert first.splitlines()[1] == '{"text": "so dull", "label": "1"}'
    assert stored((np.array(TEXTS), np.array(STARS)), tmp_path, ReadOptions()) == first
    assert stored((pd.Series(TEXTS), tuple(STARS)), tmp_path, ReadOptions()) == first


@pytest.mark.parametrize("column", [np.array, pd.Series, polars.Series], ids=["numpy", "pandas", "polars"])
def test_a_float32_of_a_sequence_is_the_label_that_it_is_in_a_frame(column: Callable[..., Any], tmp_path: Path) -> None:
    """In Python, the same number is 4.099999904632568."""
    labels = np.array([4.1, 2.5], dtype=np.float32)
    of_frame = stored(pd.DataFrame({"text": ["a", "b"], "label": labels}), tmp_path, ReadOptions())
    assert of_frame.splitlines()[0] == '{"text": "a", "label": "4.1"}'
    assert stored((["a", "b"], column(labels)), tmp_path, ReadOptions()) == of_frame


def test_a_frame_gives_the_sentences_labels_and_split_of_its_csv_file(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"body": [f"text number {at} of them" for at in range(60)], "kind": ["ab"[at % 2] for at in range(60)]}
    )
    frame.to_csv(tmp_path / "data.csv", index=False)
    path, _ = store_frame(frame, ReadOptions(), tmp_path)
    of_file, of_frame = (
        load_corpus(str(each), vectors="none", embedding_dim=4, cache_dir=tmp_path / "cache")
        for each in (tmp_path / "data.csv", path)
    )
    for name in ("tokens", "labels", "split"):
        assert np.array_equal(getattr(of_file, name), getattr(of_frame, name)), name


def test_a_dataset_has_the_names_of_its_classes(tmp_path: Path) -> None:
    assert stored(Dataset([1, 0, -1]), tmp_path, ReadOptions(drop_missing=True)).splitlines() == [
        '{"text": "text 0", "label": "pos"}',
        '{"text": "text 1", "label": "neg"}',
        '{"text": "text 2", "label": null}',
    ]
    missing = Dataset([1, None])  # type: ignore[list-item]  # pandas makes the others floats
    assert stored(missing, tmp_path, ReadOptions(drop_missing=True)).splitlines() == [
        '{"text": "text 0", "label": "pos"}',
        '{"text": "text 1", "label": null}',
    ]


def test_columns_may_have_numbers_as_names(tmp_path: Path) -> None:
    """As those of a file without a header."""
    path, found = store_frame(
        pd.DataFrame([["a", 1], ["b", 2]]), ReadOptions(text_column="0", label_column="1"), tmp_path
    )
    assert (found.text_column, found.label_column) == ("0", "1")
    assert path.read_text().splitlines()[0] == '{"0": "a", "1": "1"}'


def test_a_damaged_file_is_written_again(tmp_path: Path) -> None:
    path, _ = store_frame(pd.DataFrame(DATA), CHOICE, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:20])
    assert store_frame(pd.DataFrame(DATA), CHOICE, tmp_path)[0].read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


MIXED = pd.DataFrame({"text": ["a", 1], "label": [1, 2]})
HALF = pd.DataFrame({"text": ["\ud800", "b"], "label": [1, 2]}, dtype=object)
DAMAGED = pyarrow.array([b"\xff"]).view("string")
TWO = pd.DataFrame({"foo": ["a"], "bar": ["b"]})
SPLITS = {"train": Dataset([1]), "test": Dataset([0])}
REFUSED: dict[str, tuple[Any, ReadOptions, str]] = {
    "two frames": (
        (pd.DataFrame({"text": ["a", "b"]}), pd.DataFrame({"label": [1, 2]})),
        ReadOptions(),
        r"must be lists or columns, got DataFrame and DataFrame; pass columns such as frame\['text'\]$",
    ),
    "labels by number": (
        (["a", "b"], {1: "x", 2: "y"}),
        ReadOptions(),
        "must be lists or columns, got list and dict; pass ",
    ),
    "absent": (
        pd.DataFrame(DATA),
        ReadOptions(text_column="txt"),
        "the data frame: no column 'txt'; choose --text-column",
    ),
    "a float with another name": (
        pd.DataFrame({"review": ["a", "b"], "Stars": [1.0, None]}),
        ReadOptions(text_column="review", label_column="stars"),
        "no column 'stars'; choose --label-column from 'review', 'Stars'",
    ),
    "vectors": (pd.DataFrame(DATA), ReadOptions(text_column="vector"), "column 'vector' contains list<"),
    "long": (
        pd.DataFrame({"body": ["a", "b" * 131_073], "stars": [1, 2]}),
        ReadOptions(text_column="body"),
        "^the data frame, row 2: column 'body' has 131,073 characters, more than 131,072; shorten the text",
    ),
    "long, and another column": (
        pd.DataFrame({"text": ["a", "b" * 131_073], "sentence": ["c", "d"], "stars": [1, 2]}),
        ReadOptions(),
        "the text column can be 'text' and 'sentence'; pass --text-column",
    ),
    "mixed": (
        MIXED,
        ReadOptions(text_column="text"),
        r"contains values of several types \(astype\('string'\) makes texts\); choose a column of text or numbers",
    ),
    "split": (
        pd.DataFrame(DATA),
        ReadOptions(text_column="body", split_column="part"),
        "no column 'part'; choose --split-col",
    ),
    "half": (HALF, ReadOptions(text_column="text"), "column 'text' contains half a surrogate pair"),
    "damaged": (
        pyarrow.table({"text": DAMAGED, "label": [1]}),
        ReadOptions(text_column="text"),
        "column 'text' contains text that is not UTF-8; choose a column of text or numbers",
    ),
    "not clear": (TWO, ReadOptions(), "pass --text-column .+ and --label-column .+; it has 'foo', 'bar'"),
    "no text in a list": (
        (["a", float("nan")], [1, 2]),
        ReadOptions(),
        "^the data frame, row 2: no text in column 'text'; ",
    ),
    "no label in a list": (
        (["a", "b"], ["x", float("nan")]),
        ReadOptions(),
        "^the data frame, row 2: no label in column 'label'; ",
    ),
    "twice": (
        pd.DataFrame([["a", "b"]], columns=["text", "text"]),
        ReadOptions(),
        "Expected unique column names.+; change it",
    ),
    "no label": (
        pd.DataFrame({"text": ["a", "b"], "label": [1, None]}),
        ReadOptions(),
        "^the data frame, row 2: no label in column 'label'; ",
    ),
    "no text": (
        pd.DataFrame({"text": ["a", None], "label": [1, 2]}),
        ReadOptions(),
        "^the data frame, row 2: no text in column 'text'; ",
    ),
    "empty": (pd.DataFrame(DATA)[:0], CHOICE, "the data frame has no rows"),
    "one name": (pd.DataFrame({1: ["a"], "1": ["b"]}), ReadOptions(), "has two columns '1'; rename one of them"),
    "lengths": ((["a", "b"], [1]), ReadOptions(), "must have equal lengths, got 2 texts and 1 labels"),
    "three": ((["a"], [1], [2]), ReadOptions(), "two sequences .texts, labels., got a tuple of 3"),
    "one text": (("a", [1]), ReadOptions(), "got one text in place of a sequence"),
    "set": (({"a", "b"}, [1, 2]), ReadOptions(), "must be lists or columns, got set and list; pass "),
    "labels": ((["a", "b"], [1, "x"]), ReadOptions(), "labels of one type"),
    "one-hot": ((["a", "b"], np.eye(2)), ReadOptions(), "one type: can only convert an array of size 1"),
    "large labels": ((["a", "b"], [1, 10**30]), ReadOptions(), "labels of one type"),
    "lazy": (polars.DataFrame(DATA).lazy(), CHOICE, "got LazyFrame; pass the result of its method collect"),
    "splits": (SPLITS, CHOICE, "got dict with 'train', 'test'; pass one of them"),
    "number": (7, CHOICE, "the data must be a DataFrame, a Dataset, a path or name, or two sequences .+, got int"),
}


@pytest.mark.parametrize(("data", "options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_used_is_refused_in_one_line(
    data: Any, options: ReadOptions, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as error:
        store_frame(data, options, tmp_path / "frames")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "frames").exists()


def test_an_encoding_does_not_go_with_a_frame(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--encoding must be used with a text file, got a data frame; leave it out"):
        store_frame(pd.DataFrame(DATA), ReadOptions(encoding="utf-8"), tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "frames").write_text("")
    with pytest.raises(UserError, match=r"cannot write .+frames.+: a file is in the way; choose another path"):
        store_frame(pd.DataFrame(DATA), CHOICE, tmp_path / "frames")


def test_the_columns_of_splits_and_probabilities_are_kept(tmp_path: Path) -> None:
    rows = {"body": ["a", "b"], "stars": ["x", "y"], "part": ["train", "val"], "x": [0.75, 0.25], "y": [0.25, 0.75]}
    chosen = ReadOptions(text_column="body", label_column="stars", split_column="part", probability_columns="x,y")
    path, found = store_frame(pd.DataFrame(rows), chosen, tmp_path)
    first = '{"body": "a", "stars": "x", "x": "0.75", "y": "0.25", "part": "train"}'
    assert (path.read_text().splitlines()[0], found) == (first, chosen)


def test_floats_that_are_not_needed_do_not_become_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def arrow_columns(arrays: dict[str, Any]) -> dict[str, list[str | None]]:
        read.extend(arrays)
        return readers.arrow_columns(arrays)

    monkeypatch.setattr("tuning.frames.arrow_columns", arrow_columns)
    stored(pd.DataFrame(DATA), tmp_path)
    assert read == ["body", "stars", "vector"]
    read.clear()
    stored(pd.DataFrame(DATA), tmp_path, dataclasses.replace(CHOICE, split_column="other"))
    assert "other" in read
