"""tuning.cli.app: the program as the shell calls it: its output, help, paths, and errors outside of a command."""

import contextlib
import errno
import io
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from core.errors import TrainingError
from core.io import cache
from tests.support.cli import COMMAND, sentune
from tests.support.journals import two_trials
from tests.support.models import saved
from tests.support.studies import write_sentences
from tuning.arguments import path_option
from tuning.cli.app import main

SHORT = 1024
"""Bytes; the table of the search space has more."""

Capture = pytest.CaptureFixture[str]


def test_an_error_that_quotes_hostile_data_cannot_steer_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, err = sentune(monkeypatch, capsys, "best", "evil\x1b[31m\u202e", "--results", str(tmp_path))
    assert "\x1b" not in err
    assert "\u202e" not in err


def test_the_audit_as_json_has_its_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    file = write_sentences(tmp_path / "tickets.csv")
    cache = ("--vectors", "none", "--cache-dir", str(tmp_path / "cache"))
    code, out, _ = sentune(monkeypatch, capsys, "data", str(file), *cache, "--format", "json")
    assert code == 0
    found = json.loads(out)
    assert found["warnings"][0] == "validation sentences: 24, too few to distinguish trials; pass --validation folds:5"
    assert (found["text_column"], found["label_column"]) == ("text", "label")


def test_characters_that_the_terminal_lacks_are_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "tickets.csv").write_text("text,label\n" + "\n".join(f"ticket {i},{'好坏'[i % 2]}" for i in range(60)))
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", terminal)
    cache = ("--vectors", "none", "--cache-dir", str(tmp_path / "cache"))
    assert sentune(monkeypatch, capsys, "data", str(tmp_path / "tickets.csv"), *cache)[0] == 0
    terminal.seek(0)
    assert r"\u574f 30 (50.0%), \u597d 30 (50.0%)" in terminal.read()


def test_a_working_folder_that_was_removed_is_one_line_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    code, out, err = sentune(monkeypatch, capsys, "list")
    assert (code, out) == (2, "")
    assert err == "sentune: the working folder has been removed; change to another folder, and run the command again\n"


def test_plan_takes_the_options_of_run_and_shows_the_space(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("plan", "snippets", "--space", "notebook", "--set", "n_layers=int(1,4)", "--trials", "3", "--show-space")
    code, out, err = sentune(monkeypatch, capsys, *words)
    assert (code, err) == (0, "")
    assert out.startswith("space notebook: 6 settings are searched\n")
    assert re.search(r"^ *lstm_dropout +float\(0, 0.5\) +n_layers in \(2, 3, 4\) +searched$", out, re.MULTILINE)
    assert re.search(r"^ *clip_norm +none +fixed$", out, re.MULTILINE)


def test_settings_that_only_word_vectors_have_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `auto` the data decide whether there are vectors, and the space is shown without the data."""
    said = "if the data get no word vectors, these are not searched: freeze_embedding, embedding_lr_scale"
    words = ("plan", "--space", "default", "--show-space")
    assert sentune(monkeypatch, capsys, *words)[1].splitlines()[-1] == said
    for vectors in ("glove-50d", "none"):
        assert said not in sentune(monkeypatch, capsys, *words, "--vectors", vectors)[1]


def test_the_program_alone_shows_the_three_commands_that_matter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = sentune(monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert re.findall(r"^  sentune (\w+) ", out, re.MULTILINE) == ["run", "retrain", "predict"]
    assert "sentune --help all commands" in out
    assert max(map(len, out.splitlines())) <= 110


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentune(monkeypatch, capsys, "--version") == (0, f"sentune {version('sentune')}\n", "")


@pytest.mark.slow
def test_the_shell_completes_commands_and_options() -> None:
    def completed(*words: str) -> list[str]:
        env = {"_SENTUNE_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        code = "import sys; sys.argv[0] = 'sentune'; from tuning.cli.app import main; main()"
        ended = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **env}
        )
        return ended.stdout.split()

    assert completed("sentune", "re") == ["report", "retrain"]
    assert completed("sentune", "run", "--space-") == []
    assert completed("sentune", "run", "--gr") == ["--grace"]


def test_the_root_folder_is_no_model(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """It has no name to which an ending could be added."""
    code, _, err = sentune(monkeypatch, capsys, "export", "/")
    assert (code, err.startswith("sentune: / is not a saved model; pass a folder")) == (2, True)


def test_a_list_that_takes_long_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tuning.cli.study_commands.say_if_slow", lambda line: contextlib.nullcontext(print(line)))
    assert sentune(monkeypatch, capsys, "list", "--results", str(tmp_path))[1].startswith("assessing the studies ...\n")


def test_a_path_may_begin_with_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell does not expand the `~` of `--results=~`; a folder of this name would be made."""
    monkeypatch.setenv("HOME", str(tmp_path))
    two_trials(tmp_path / "mine")
    code, out, err = sentune(monkeypatch, capsys, "list", "--results=~")
    assert (code, err, "\nmine " in out) == (0, "", True)
    monkeypatch.setenv("SENTUNE_RESULTS", "~")
    assert "\nmine " in sentune(monkeypatch, capsys, "list")[1]
    assert sentune(monkeypatch, capsys, "data", "--list", "--cache-dir=~/c")[1].startswith(f"{tmp_path}/c: 0 entries")
    card = saved(tmp_path) / "card.md"
    _, _, said = sentune(monkeypatch, capsys, "predict", "~/model", "a", "--out", str(card))
    assert "--out must be outside the model folder" in said
    assert "another folder than MODEL" in sentune(monkeypatch, capsys, "distill", "~/model", "mine", "--out=~/model")[2]
    code, out, _ = sentune(monkeypatch, capsys, "export", "~/model")
    assert (code, out.startswith(f"onnx model in {tmp_path}/model-onnx: ")) == (0, True)
    assert (tmp_path / "model-onnx" / "example.py").exists()


def test_the_list_of_the_cache_names_a_seed_only_if_the_split_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A split column draws nothing."""
    splits = ("train", "val", "test") * 4
    rows = [f"sentence number {at},{'ab'[at % 2]},{split}" for at, split in enumerate(splits)]
    (tmp_path / "parts.csv").write_text("\n".join(["text,label,part", *rows]))
    data = "data", str(tmp_path / "parts.csv"), "--vectors=none", f"--cache-dir={tmp_path / 'cache'}"
    for options in (("--split-column=part",), ("--split=70/15/15", "--seed=7")):
        assert sentune(monkeypatch, capsys, *data, *options)[0] == 0
    listed = sentune(monkeypatch, capsys, "data", "--list", f"--cache-dir={tmp_path / 'cache'}")[1]
    found = {line.split("csv, ")[1] for line in listed.splitlines() if "csv, " in line}
    assert found == {"split column, vectors none", "split 70/15/15 seed 7, vectors none"}
    monkeypatch.setitem(cache.FORMATS, "corpora", 99)
    listed = sentune(monkeypatch, capsys, "data", "--list", f"--cache-dir={tmp_path / 'cache'}")[1]
    assert listed.count("of another version of sentune; this one does not use it") == 2


def test_the_list_of_the_cache_has_what_was_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (tmp_path / ".parts", tmp_path / "corpora" / f".{'a' * 64}.12345678"):
        folder.mkdir(parents=True)
        (folder / "half").write_bytes(bytes(5_000_000))
    listed = sentune(monkeypatch, capsys, "data", "--list", f"--cache-dir={tmp_path}")[1]
    assert listed == f"{tmp_path}: 0 entries, 0.0 MB; unfinished downloads and entries: 10.0 MB\n"


def test_a_split_column_that_leaks_is_audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """`run` refuses it."""
    splits = ("train", "val", "test")
    rows = [f"sentence number {at // 2},{'ab'[at // 2 % 2]},{splits[at % 3]}" for at in range(24)]
    (tmp_path / "parts.csv").write_text("\n".join(["text,label,part", *rows]))
    words = ("--split-column=part", "--vectors=none", f"--cache-dir={tmp_path / 'cache'}")
    code, out, _ = sentune(monkeypatch, capsys, "data", str(tmp_path / "parts.csv"), *words)
    assert code == 0
    assert re.search(r"^leaks +across splits: train/val [1-9]", out, re.MULTILINE)


def test_each_option_of_a_path_expands_the_home_folder() -> None:
    parameters = [each for command in COMMAND.commands.values() for each in command.params]  # type: ignore[attr-defined]
    options = [each for each in parameters if each.param_type_name == "option"]
    paths = [each for each in options if each.type_descriptor.annotation is Path]
    assert {"results", "cache_dir", "out"} <= {each.name for each in paths}
    assert [each.name for each in paths if each.type_descriptor.parameter_info.parser is not path_option] == []


@pytest.mark.slow
def test_a_full_disk_under_the_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "tuning", "plan", "--show-space"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (ended.returncode, ended.stderr) == (
        2,
        "sentune: cannot write the output: the disk is full; free some space and run the same command again\n",
    )


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_of_which_only_a_part_is_written_is_one_line(unbuffered: str, tmp_path: Path) -> None:
    """Without a buffer, Python drops what one write leaves out."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({SHORT}, {SHORT}))"
    script = f"{limit}\nimport sys; sys.argv[1:] = ['plan', '--show-space']\nfrom tuning.cli.app import main\nmain()"
    with (tmp_path / "part").open("w") as part:
        ended = subprocess.run(
            [sys.executable, "-c", script],
            stdout=part,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONDONTWRITEBYTECODE": "1"},
        )
    assert ended.returncode == 2
    assert ended.stderr.startswith("sentune: cannot write the output: the file is larger than the file system or ")
    assert ended.stderr.count("\n") == 1
    assert (tmp_path / "part").stat().st_size == SHORT


@pytest.mark.slow
@pytest.mark.parametrize("both", [False, True])
def test_an_error_after_output_that_cannot_be_written_is_one_line(both: bool) -> None:
    """A log of both outputs may be on the full disk."""
    script = (
        "import tuning.cli.app as program\nfrom core.errors import UserError\n"
        "def app(**_):\n    print('a part')\n    raise UserError('it is damaged')\n"
        "program.app = app\nprogram.main()"
    )
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", script],
            stdout=full,
            stderr=full if both else subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
    assert (ended.returncode, ended.stderr) == (2, None if both else "sentune: it is damaged\n")


@pytest.mark.usefixtures("capfd")
def test_a_broken_connection_is_no_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("tuning.retrain.command.retrain_trial", breaks)
    monkeypatch.setattr(sys, "argv", ["sentune", "retrain", "s"])
    with pytest.raises(BrokenPipeError):
        main()


def test_a_training_that_diverges_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverges(*_: object) -> None:
        raise TrainingError("the loss is nan in epoch 1")

    monkeypatch.setattr("tuning.retrain.command.retrain_trial", diverges)
    code, out, err = sentune(monkeypatch, capsys, "retrain", "s")
    assert (code, out, err) == (2, "", "sentune: the loss is nan in epoch 1\n")


def test_verify_fails_for_a_damaged_entry_and_clear_empties_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    cache, file = f"--cache-dir={tmp_path / 'cache'}", write_sentences(tmp_path / "tickets.csv")
    assert sentune(monkeypatch, capsys, "data", str(file), "--vectors=none", cache)[0] == 0
    assert "intact: " in sentune(monkeypatch, capsys, "data", "--verify", cache)[1]
    next((tmp_path / "cache" / "corpora").glob("*/words.json")).write_text("[]")
    code, out, err = sentune(monkeypatch, capsys, "data", "--verify", cache)
    assert (code, "words.json has changed" in out, "cannot be read: 1; run" in err) == (2, True, True)
    assert sentune(monkeypatch, capsys, "data", "--clear", cache)[1].endswith(" freed\n")
    assert list((tmp_path / "cache" / "corpora").iterdir()) == []


def test_report_gets_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    two_trials(tmp_path / "s")
    given: list[object] = []

    def write(folder: Path, out: Path, images: Path, **more: object) -> None:
        given.extend([folder, out, images, more["cache_dir"], more["watch"]])

    monkeypatch.setattr("tuning.report.command.write_report", write)
    words = ("--watch", "--out=p.html", "--images=i", "--cache-dir=c", f"--results={tmp_path}")
    assert sentune(monkeypatch, capsys, "report", "s", *words)[0] == 0
    assert given == [tmp_path / "s", Path("p.html"), Path("i"), Path("c"), True]
