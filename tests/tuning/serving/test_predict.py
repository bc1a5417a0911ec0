"""tuning.serving.predict: input and output of predict."""

import csv
import io
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pandas
import pytest

from core.calibration import CoverageRow
from core.errors import ConfigError, DataError, UserError
from core.inference.predictor import Predictor, load_model
from tests.support.models import saved
from tuning.serving.options import PredictOptions
from tuning.serving.predict import predict_texts


@pytest.fixture
def model(tmp_path: Path) -> Predictor:
    return load_model(saved(tmp_path))


def answer(model: Predictor, capsys: pytest.CaptureFixture[str], **request: Any) -> str:
    notify = request.pop("notify", lambda line: None)
    predict_texts(lambda: model, notify, PredictOptions(model=Path("no-such"), **request))
    return capsys.readouterr().out


def test_text_is_label_probability_and_sentence(model: Predictor, capsys: pytest.CaptureFixture[str]) -> None:
    (guess,) = model.predict(["good\tbad"])
    assert answer(model, capsys, texts=["good\tbad"]) == f"{guess.label}\t{guess.probability:.4f}\tgood\\tbad\n"


def test_text_with_probabilities_names_every_class(model: Predictor, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, negative, positive, text = answer(model, capsys, texts=["bad"], probabilities=True).rstrip().split("\t")
    shares = [float(each.partition("=")[2]) for each in (negative, positive)]
    assert (negative[:9], positive[:9], text) == ("negative=", "positive=", "bad")
    assert sum(shares) == pytest.approx(1, abs=2e-4)


def test_below_the_minimum_the_label_is_empty_or_null(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["good", "bad", "good bad"]
    guesses = model.predict(texts)
    minimum = sorted(guess.probability for guess in guesses)[1]
    labels = [guess.label if guess.probability >= minimum else None for guess in guesses]
    assert labels.count(None) == 1
    request: dict[str, Any] = {"min_probability": minimum, "probabilities": True}
    lines = [line.split("\t") for line in answer(model, capsys, texts=texts, **request).splitlines()]
    assert [line[:2] for line in lines] == [
        [label or "", f"{guess.probability:.4f}"] for label, guess in zip(labels, guesses, strict=True)
    ]
    rows = [json.loads(line) for line in answer(model, capsys, texts=texts, format="json", **request).splitlines()]
    assert [(row["label"], row["probabilities"]) for row in rows] == [
        (label, guess.probabilities) for label, guess in zip(labels, guesses, strict=True)
    ]
    (tmp_path / "in.csv").write_text("".join(f"{line}\n" for line in ["body", *texts]))
    table = rows_of(answer(model, capsys, file=str(tmp_path / "in.csv"), text_column="body", **request))
    assert [(row["predicted_label"], float(row["predicted_probability"])) for row in table] == [
        (label or "", guess.probability) for label, guess in zip(labels, guesses, strict=True)
    ]


def test_an_accuracy_is_looked_up_in_the_models_own_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coverage = [CoverageRow(min_probability=1.0, sentences=50, correct=50)]
    model = load_model(saved(tmp_path, metrics={"coverage": coverage}))
    assert model.coverage == tuple(coverage)
    said = answer(model, capsys, texts=["good"], at_accuracy=0.9, notify=print)
    assert said.splitlines()[0].startswith("--at-accuracy 0.9 is --min-probability 1: ")
    assert said.splitlines()[1].startswith("\t0.")
    message = r"--at-accuracy 0.95 is not reached .*; pass at most 0.9286, which labels 100.0%"
    with pytest.raises(UserError, match=message):
        answer(model, capsys, texts=["good"], at_accuracy=0.95)


HOSTILE = ["", "\x1b[31m red", "\u202e turned", "two\nlines", "half \ud800", '"quoted", too', "再见"]


def test_json_is_an_object_a_line_and_comes_back_as_it_was(
    model: Predictor, capsys: pytest.CaptureFixture[str]
) -> None:
    said = answer(model, capsys, texts=HOSTILE, format="json", probabilities=True)
    rows = [json.loads(line) for line in said.splitlines()]
    assert said.isascii()
    assert [row["text"] for row in rows] == HOSTILE
    for row, guess in zip(rows, model.predict(HOSTILE), strict=True):
        assert (row["label"], row["probability"]) == (guess.label, guess.probability)
        assert row["probabilities"] == guess.probabilities


def test_json_without_probabilities_has_the_label_alone(model: Predictor, capsys: pytest.CaptureFixture[str]) -> None:
    row = json.loads(answer(model, capsys, texts=["bad good again bad"], format="json"))
    assert list(row) == ["text", "label", "probability", "unknown_words"]
    assert row["unknown_words"] == 0.25


def test_hostile_text_cannot_steer_the_terminal(model: Predictor, capsys: pytest.CaptureFixture[str]) -> None:
    said = answer(model, capsys, texts=HOSTILE)
    assert len(said.splitlines()) == len(HOSTILE)
    assert not {"\x1b", "\u202e", "\ud800"} & set(said)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


TABLE = 'id,body,label\n1,"good, ""very""\nbad",x\n2,,=1+1\n3,再见 naïve,\n'


def test_a_table_comes_back_with_columns_added(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text(TABLE)
    rows = rows_of(answer(model, capsys, file=str(tmp_path / "in.csv"), text_column="body", probabilities=True))
    before = rows_of(TABLE)
    assert [{name: row[name] for name in before[0]} for row in rows] == before
    for row, guess in zip(rows, model.predict([row["body"] for row in before]), strict=True):
        assert (row["predicted_label"], float(row["predicted_probability"])) == (guess.label, guess.probability)
        assert float(row["probability_negative"]) == guess.probabilities["negative"]
        assert float(row["probability_positive"]) == guess.probabilities["positive"]


def test_without_probabilities_three_columns_are_added(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text('{"body": "good", "n": 1}\n{"n": null, "body": "bad"}\n')
    said = answer(model, capsys, file=str(tmp_path / "in.jsonl"), text_column="body")
    assert said.splitlines()[0] == "body,n,predicted_label,predicted_probability,unknown_words"
    assert [(row["body"], row["n"]) for row in rows_of(said)] == [("good", "1"), ("bad", "")]


def test_a_given_column_may_have_an_empty_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text(",body\ngood,bad\n")
    model = load_model(saved(tmp_path, text_column="body"))
    said = answer(model, capsys, file=str(tmp_path / "in.csv"), text_column="", notify=pytest.fail)
    assert float(rows_of(said)[0]["predicted_probability"]) == model.predict(["good"])[0].probability


def test_a_table_is_read_by_the_column_that_the_model_was_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not line by line, which would label the header and whole rows."""
    model = load_model(saved(tmp_path, text_column="body"))
    (tmp_path / "in.csv").write_text("id,body\n1,good bad\n2,bad\n")
    notes: list[str] = []
    said = answer(model, capsys, file=str(tmp_path / "in.csv"), notify=notes.append)
    assert said == answer(model, capsys, file=str(tmp_path / "in.csv"), text_column="body")
    assert [row["id"] for row in rows_of(said)] == ["1", "2"]
    assert notes == ["reading column 'body', as in the training data (--text-column chooses another)"]
    said = answer(model, capsys, file=str(tmp_path / "in.csv"), format="json")
    assert [json.loads(line)["text"] for line in said.splitlines()] == ["good bad", "bad"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (None, r"in\.csv: pass --text-column with one of 'id', 'body'$"),
        ("text", r"in\.csv: pass --text-column with one of 'id', 'body'; the model was trained on 'text'$"),
    ],
)
def test_a_table_without_that_column_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str | None, message: str
) -> None:
    model = load_model(saved(tmp_path, text_column=column))
    (tmp_path / "in.csv").write_text("id,body\n1,good bad\n")
    with pytest.raises(ConfigError, match=message):
        answer(model, capsys, file=str(tmp_path / "in.csv"))


def test_that_column_with_lists_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": 1, "body": "good"}\n{"id": 2, "body": ["bad"]}\n')
    with pytest.raises(DataError, match="column 'body' contains a list in line 2; choose a column of text"):
        answer(load_model(saved(tmp_path, text_column="body")), capsys, file=str(tmp_path / "in.jsonl"))


def test_columns_that_a_csv_cannot_hold_are_named(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pandas.DataFrame({"body": ["good"], "tags": [[1]], "n": [1], "\x1bday": [date(2026, 1, 2)]}).to_parquet(
        tmp_path / "in.parquet"
    )
    request = {"file": str(tmp_path / "in.parquet"), "text_column": "body"}
    notes: list[str] = []
    (row,) = rows_of(answer(model, capsys, notify=notes.append, **request))
    assert list(row)[:3] == ["body", "n", "predicted_label"]
    assert notes == [
        r"the output lacks the columns 'tags' (list<element: int64>), '\x1bday' (date32[day]): CSV is written of "
        "texts, numbers and truth values only"
    ]
    answer(model, capsys, notify=pytest.fail, format="json", **request)


def test_a_file_may_be_in_the_home_folder(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "in.txt").write_text("good\n")
    assert answer(model, capsys, file="~/in.txt") == answer(model, capsys, texts=["good"])


def test_texts_that_the_model_does_not_know_are_counted(model: Predictor, capsys: pytest.CaptureFixture[str]) -> None:
    notes: list[str] = []
    answer(model, capsys, texts=["good bad new", "good", "", " \t"], notify=notes.append)
    assert notes == []
    answer(model, capsys, texts=["good new", "good bad new", "", "all of it"], notify=notes.append)
    (note,) = notes
    assert note == ("the model does not know half of the words or more in 2 of 4 texts; their labels are unreliable")


def test_texts_in_several_parts_are_all_labelled_counted_and_named(
    model: Predictor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.serving.predict.ROWS_AT_ONCE", 2)
    texts, notes = ["good", "zzz", "bad", "yyy", "good"], list[str]()
    said = answer(model, capsys, texts=texts, notify=notes.append)
    assert [line.split("\t")[2] for line in said.splitlines()] == texts
    assert notes == ["the model does not know half of the words or more in 2 of 5 texts; their labels are unreliable"]
    monkeypatch.setattr("core.inference.predictor.MAX_TOKENS", 1)
    with pytest.raises(DataError, match=r"^text 4 has 2 words"):
        answer(model, capsys, texts=["good", "bad", "bad", "bad bad"])


def test_a_column_of_a_class_is_not_added_to_a_table_that_has_it(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("body,probability_negative\ngood,1\n")
    request = {"file": str(tmp_path / "in.csv"), "text_column": "body"}
    with pytest.raises(DataError, match="has a column 'probability_negative', which predict adds; rename it"):
        answer(model, capsys, probabilities=True, **request)
    assert rows_of(answer(model, capsys, **request))[0]["probability_negative"] == "1"


def test_a_table_that_was_labelled_before_is_refused(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text(TABLE)
    answer(model, capsys, file=str(tmp_path / "in.csv"), text_column="body", out=tmp_path / "out.csv")
    assert [row["unknown_words"] for row in rows_of((tmp_path / "out.csv").read_text())][1] == "1.0"
    with pytest.raises(DataError, match=r"out.csv: has a column 'predicted_label', which predict adds; rename it"):
        answer(model, capsys, file=str(tmp_path / "out.csv"), text_column="body")
    said = answer(model, capsys, file=str(tmp_path / "out.csv"), text_column="body", format="json")  # adds no column
    assert len(said.splitlines()) == 3


def test_an_output_file_holds_what_would_be_printed(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = answer(model, capsys, texts=HOSTILE)
    assert answer(model, capsys, texts=HOSTILE, out=tmp_path / "out") == ""
    assert (tmp_path / "out").read_text() == printed


def test_a_table_in_another_encoding_is_said(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes("id,body\n1,Die Straße ist schön und übel\n2,Müßiggang für Äpfel\n".encode("cp1252"))
    notes: list[str] = []
    assert "Die Straße ist schön" in answer(model, capsys, file=str(path), text_column="body", notify=notes.append)
    note = notes[0]
    assert "in.csv: is not UTF-8, read as cp1252; if letters are wrong, pass --encoding" in note
    with pytest.raises(DataError, match=r"in.csv, line 2: is not utf-8"):
        answer(model, capsys, file=str(path), text_column="body", encoding="utf8")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"texts": ["a"], "file": "b"}, "pass either sentences or --file, not both"),
        ({"file": "a.XLSX"}, r"--file must be lines of text or a table \(.csv, .*\), got a.XLSX; save it as CSV"),
        (
            {"file": "-", "text_column": "a"},
            r"--text-column must be used with --file and a file ending in .csv, .tsv, .jsonl",
        ),
        ({"texts": ["a"], "encoding": "utf-8"}, "--encoding must be used with --file"),
        ({"encoding": "utf-8", "out": Path("/")}, "pass sentences.*; --encoding must.*; --out must be"),
    ],
)
def test_options_that_do_not_go_together_are_named(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PredictOptions(model=Path("no-such"), **request_)


@pytest.mark.parametrize(
    ("table", "column", "message"),
    [
        ("a,b\n1,2\n", "c", "no column 'c'; choose --text-column from 'a', 'b'"),
        ("a,b\n1\n", "a", "line 2: has 1 cells, the header has 2"),
        ('a\n"b\n', "a", "fix the quotes"),
        ("", "a", "has no rows"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, column: str, message: str
) -> None:
    (tmp_path / "in.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        answer(model, capsys, file=str(tmp_path / "in.csv"), text_column=column)


@pytest.mark.slow
def test_when_labelling_fails_the_old_output_stays(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("old")
    (tmp_path / "in").write_text("good\n" * 1500 + "a " * 50_001 + "\ngood\n")
    with pytest.raises(DataError, match=r"--file .*in, line 1501 has 50,001 words, more than 50,000; split the text"):
        answer(model, capsys, file=str(tmp_path / "in"), out=tmp_path / "out")
    assert (tmp_path / "out").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "model", "out"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.parquet"])
def test_a_long_table_is_labelled_in_parts_with_one_header(
    model: Predictor,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """The last row of the .jsonl has a column of its own, which the header names."""
    frame = pandas.DataFrame({"body": ["good", "bad", "good bad"] * 700, "n": range(2100)})
    if name == "in.csv":
        frame.to_csv(tmp_path / name, index=False)
    elif name == "in.jsonl":
        frame.to_json(tmp_path / name, orient="records", lines=True)
        with (tmp_path / name).open("a") as file:
            file.write('{"body": "good", "n": 2100, "late": "x"}\n')
    else:
        frame.to_parquet(tmp_path / name)
    sizes: list[int] = []
    predict = Predictor.predict

    def counted(self: Predictor, texts: list[str], *arguments: Any) -> Any:
        sizes.append(len(texts))
        return predict(self, texts, *arguments)

    monkeypatch.setattr(Predictor, "predict", counted)
    rows = rows_of(answer(model, capsys, file=str(tmp_path / name), text_column="body"))
    assert [row["n"] for row in rows] == [str(n) for n in range(len(rows))]
    assert [sum(sizes), len(rows)] == [2100 + (name == "in.jsonl")] * 2
    assert max(sizes) == 1024
    assert ("late" in rows[0]) == (name == "in.jsonl")
    labels = [each.label for each in model.predict(["good", "bad", "good bad"])]
    assert [row["predicted_label"] for row in rows[:2100]] == labels * 700


def test_a_csv_on_a_terminal_cannot_steer_it(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.csv").write_text("body,\x1b]0;title\x07\n\x1b[31mgood,\u202ebad\n")
    request = {"file": str(tmp_path / "in.csv"), "text_column": "body", "probabilities": True}
    plain = answer(model, capsys, **request)
    assert "\x1b[31mgood,\u202ebad," in plain  # a pipe or a file gets the table as it was
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = answer(model, capsys, **request)
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert shown.splitlines()[1].startswith(r"\x1b[31mgood,\u202ebad,")
    assert answer(model, capsys, out=tmp_path / "out.csv", **request) == ""
    assert (tmp_path / "out.csv").read_text() == plain


def test_lines_are_read_in_the_given_encoding(
    model: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_bytes("naïve\n".encode("latin-1"))
    said = answer(model, capsys, file=str(tmp_path / "in.txt"), encoding="latin-1", notify=pytest.fail)
    assert said.endswith("\tnaïve\n")
