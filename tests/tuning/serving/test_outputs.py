"""tuning.serving.outputs: no input and no file of a model is overwritten, and no device."""

import os
import stat
from pathlib import Path

import pytest

from core.data.readers import read_table
from core.errors import ConfigError
from core.inference.predictor import load_model
from tests.support.models import saved
from tuning.journal.folder import JOURNAL
from tuning.serving.options import PredictOptions
from tuning.serving.outputs import output_problem
from tuning.serving.predict import predict_texts


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "in.txt").write_text("good\n")
    (tmp_path / "link").symlink_to(tmp_path / "in.txt")
    (tmp_path / "hard").hardlink_to(tmp_path / "in.txt")
    return tmp_path / "in.txt"


@pytest.mark.parametrize("out", ["in.txt", "link", "hard", "model/../in.txt"])
def test_the_input_is_not_overwritten(tmp_path: Path, file: Path, model: Path, out: str) -> None:
    message = "--out must be another file than --file, .* is the same one"
    with pytest.raises(ConfigError, match=message):
        PredictOptions(model=model, file=str(file), out=tmp_path / out)
    with pytest.raises(ConfigError, match=message):
        PredictOptions(model=model, file=str(tmp_path / "link"), out=tmp_path / out)


@pytest.mark.parametrize("out", ["model/labels.json", "model/new.txt", "there/labels.json", "link", "hard"])
def test_the_models_files_are_not_overwritten(tmp_path: Path, model: Path, out: str) -> None:
    (tmp_path / "there").symlink_to(model)
    (tmp_path / "link").symlink_to(model / "labels.json")
    (tmp_path / "hard").hardlink_to(model / "labels.json")
    for name in (model, tmp_path / "there"):
        problem = output_problem(tmp_path / out, None, name)
        assert problem == f"--out must be outside the model folder, {tmp_path / out} is in {name}"


def test_the_files_of_a_study_are_not_replaced(tmp_path: Path, model: Path) -> None:
    (tmp_path / "s").mkdir()
    assert output_problem(tmp_path / "s" / "out.csv", None, model) is None
    (tmp_path / "s" / JOURNAL).touch()
    for out in (tmp_path / "s" / JOURNAL, tmp_path / "s" / "out.csv"):
        assert output_problem(out, None, model) == f"--out must be outside the folder of a study, {out} is in one"


def test_what_is_no_file_is_not_replaced(tmp_path: Path, model: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for out in (tmp_path / "pipe", tmp_path / "null", Path("/dev/null")):
        problem = output_problem(out, None, model)
        assert problem == f"--out must be a regular file, {out} is a device, a pipe or a socket"
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert output_problem(tmp_path, None, model) == f"--out must be a file, {tmp_path} is a folder"
    absent = f"--out must be in a folder that exists, there is no {tmp_path}/typo"
    assert output_problem(tmp_path / "typo" / "x", None, model) == absent


def test_a_mounted_file_is_refused_before_the_work(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not be replaced at the end."""
    (tmp_path / "out.csv").touch()
    assert output_problem(tmp_path / "out.csv", None, model) is None
    monkeypatch.setattr("tuning.serving.outputs.is_mount_point", lambda path: path == tmp_path / "out.csv")
    problem = output_problem(tmp_path / "out.csv", None, model)
    assert problem is not None
    assert problem.startswith("--out must be no mount point")


def test_a_class_that_utf_8_cannot_encode_is_written_as_an_escape(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\ngood\n")
    model = saved(tmp_path, classes=("\ud800", "\ud801"))
    options = PredictOptions(model=model, file=str(tmp_path / "in.csv"), text_column="text", out=tmp_path / "out.csv")
    predict_texts(lambda: load_model(model), pytest.fail, options)
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("good,\\ud80")


def test_another_file_is_replaced_and_a_link_remains_a_link(tmp_path: Path, file: Path, model: Path) -> None:
    (tmp_path / "old.txt").write_text("old")
    (tmp_path / "out").symlink_to(tmp_path / "old.txt")
    options = PredictOptions(model=model, file=str(file), out=tmp_path / "out")
    predict_texts(lambda: load_model(model), pytest.fail, options)
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "old.txt").read_text().endswith("\tgood\n")


def test_a_cell_with_a_carriage_return_is_read_back(tmp_path: Path, model: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "good\\rbad"}\n')
    options = PredictOptions(model=model, file=str(tmp_path / "in.jsonl"), text_column="text", out=tmp_path / "out.csv")
    predict_texts(lambda: load_model(model), pytest.fail, options)
    assert read_table(tmp_path / "out.csv", "utf-8").columns["text"] == ["good\rbad"]
