"""Every verb, every option and argument, every class of bad input: one line and exit code 2, and nothing is written.

The verbs and their options are read from the Typer app, so that a new one is tested too.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.data.tokenizer import tokenizer_version
from core.errors import UserError
from tests.support.cli import COMMAND, sentune
from tests.support.models import saved
from tests.support.studies import make_study, setting, write_sentences

Capture = pytest.CaptureFixture[str]
COMMANDS: dict[str, Any] = COMMAND.commands  # type: ignore[attr-defined]
ARGUMENTS = {
    "DATASET": "good.csv",
    "STUDY": "study",
    "MODEL": "model",
    "MODEL|STUDY": "model",
    "TEXT ...": "hello",
}
"""A good value of each argument, by its metavar."""
NEEDED = {"serve": ("--port", "0")} | dict.fromkeys(("run", "plan"), ("--vectors", "none", "--space", "small.yaml"))
"""Options without which a verb would do something else than what is tested here, or the same in more time."""
WORK = "what takes long would begin here"
READS_PIPES = ("--file", "--unlabelled")
"""They wait for the writer of a pipe, as `cat` does."""
NUMBERS = ("-1" + "0" * 20, "1" + "0" * 20, "nan", "inf", "1e999", "", "٣x")
LONG = "x" * 300
TEXTS = (
    LONG,
    f"{LONG}/x",
    ".",
    "a\0b",
    "/proc/nothing",
    "/dev/zero",
    "fifo.csv",
    "folder.csv",
    "",
)
FEW = ("\ud800", "\x1b[31m")


def stop(*_: object, **__: object) -> None:
    raise UserError(WORK)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good data, a study and a model, and what is no regular file."""
    folder = tmp_path_factory.mktemp("verbs")
    write_sentences(folder / "good.csv", 60)
    (folder / "small.yaml").write_text("settings: {n_layers: 'int(1, 2)'}")
    make_study(folder / "results" / "study", folder / "good.csv", folder / "cache", setting(), setting(hidden_dim=7))
    saved(folder, classes=("bug", "praise"), tokenizer=tokenizer_version("english"))
    for name in ("fifo", "fifo.csv"):
        os.mkfifo(folder / name)
    (folder / "folder.csv").mkdir()
    return folder


@pytest.fixture(autouse=True)
def _nothing_long_begins(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("SENTUNE_CACHE", str(place / "cache"))
    for name in (
        "tuning.backend.background_ray.BackgroundRay.start",
        "tuning.backend.background_ray.BackgroundRay.session",
        "tuning.plain_fit.PlainFit.__enter__",
        "tuning.forecast.command.probe",
        "tuning.retrain.training.train",
        "uvicorn.Server.run",
        "tuning.report.command.write_images",
    ):
        monkeypatch.setattr(name, stop)
    monkeypatch.setattr("tuning.report.command.figures", lambda _: {})
    monkeypatch.setattr("tuning.report.command.render_page", lambda *_, **__: b"a page")


def cases(verb: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield the words of each bad command of a verb, and whether it must be refused: a number is out of bounds."""
    command = COMMANDS[verb]
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    good = [ARGUMENTS[each.metavar] for each in arguments]
    needed = NEEDED.get(verb, ())
    for at, _ in enumerate(arguments):
        for bad in (*TEXTS, *FEW):
            yield (verb, *needed, "--", *good[:at], bad, *good[at + 1 :]), False
    for option in command.params:
        if option.param_type_name == "argument" or getattr(option, "is_flag", False):
            continue
        number = option.type_descriptor.annotation in (int, float)
        values = NUMBERS if number else (*NUMBERS[:2], *TEXTS, *FEW)
        if verb == "plan":  # it reads its options as `run` does, so each has one value
            values = (values[len(option.name) % len(values)],)
        for bad in values:
            if bad.startswith("fifo") and option.opts[-1] in READS_PIPES:
                continue
            yield (verb, *good, *needed, option.opts[-1], bad), number


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "cache" not in path.parts}


@pytest.mark.slow
@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_a_bad_value_is_one_line_and_nothing_is_written(
    verb: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    problems, before = [], files(place)
    for words, refused in cases(verb):
        try:
            code, _, err = sentune(monkeypatch, capsys, *words)
        except Exception as error:
            capsys.readouterr()
            problems.append((words, "RAISED", repr(error)[:200]))
            continue
        last = (err.splitlines() or [""])[-1]
        if code not in ((2,) if refused else (0, 2)) or (
            code == 2 and not (last.startswith("sentune: ") and "Traceback" not in err)
        ):
            problems.append((words, code, err))
        found = files(place) - before
        if found and code == 2 and WORK not in last:
            problems.append((words, code, "WROTE", found))
        before |= found
    assert problems == [], "\n".join(map(ascii, problems))
