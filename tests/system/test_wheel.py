"""The wheel is complete, and a script searches with it outside of the checkout; the environment that `make` makes."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.patience import PATIENCE_SECONDS
from tuning.journal.records import read_study

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "tuning")
Sentune = Callable[..., str]


def checked(*words: str | Path, **options: object) -> str:
    """Run a command that must exit with 0; returns its standard output."""
    ended = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=PATIENCE_SECONDS, **options)  # type: ignore[call-overload]
    assert ended.returncode == 0, f"{words} exited with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    return str(ended.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy: setuptools would leave a `build` in the checkout, and take from it what was removed since."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    (copy / "core_old").mkdir()  # of the user, not packed
    (copy / "core_old" / "a.py").touch()
    # The project's own setuptools, for speed: else pip fetches one into an environment of its own.
    from_here = ["--no-build-isolation"] if has_setuptools() else []
    checked(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *from_here, "--wheel-dir", out, copy)
    (built,) = out.glob("*.whl")
    return built


def has_setuptools() -> bool:
    """One that pyproject.toml asks for."""
    try:
        return int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment that has the wheel, and for all else what the tests' environment has.

    Its own packages come first. A path in a .pth file is searched, but its .pth files are not read: so the checkout,
    which is installed there by one of them, is not found.
    """
    environment = tmp_path_factory.mktemp("an environment")  # a space: Ray must not start its Python by a shell
    checked(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-compile", "--no-index")
    checked(sys.executable, "-m", "pip", "--python", python, *install, wheel)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return python.parent


@pytest.fixture(scope="module")
def sentune(bin_folder: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Sentune:
    """The installed program, in a folder of a project with packages of the same names."""
    marks = {"SENTUNE_RESULTS": str(command.results), "SENTUNE_TEST_MARK": command.mark, "COLUMNS": "100"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | marks
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in PACKAGES:
        (elsewhere / name).mkdir()
        (elsewhere / name / "__init__.py").write_text("raise SystemError('the wrong package')")

    def run(*words: str, program: str = "sentune") -> str:
        return checked(bin_folder / program, *words, cwd=elsewhere, env=environment)

    return run


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    """pyproject.toml must name each kind of file that is no module, and no folder but those of the packages."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == expected


OPTIONS = {
    "vectors": "none",
    "embedding_dim": 8,
    "trials": 3,
    "epochs": 3,
    "parallelism": 2,
    "workers": 1,
    "validation": "folds:3",
    "set": {"hidden_dim": "int(4,16)"},
}
COMMAND = ("--vectors", "none", "--embedding-dim", "8", "--trials", "3", "--epochs", "3", "--parallelism", "2",
           "--workers", "1", "--validation", "folds:3", "--set", "hidden_dim=int(4,16)")  # fmt: skip
"""The same for `run`."""
PROGRAM = """
import faulthandler, json, os, sys, threading, time
import ray
import core, tuning
from core import UserError
from tuning import search

class Tee:  # as programs copy their messages into a file: it has no descriptor
    write, flush = (lambda self, text: len(text)), (lambda self: None)
sys.stderr = Tee()
sentences, options = sys.argv[1], json.loads(sys.argv[2])
thread = threading.Thread(target=search, args=(sentences,), kwargs={"name": "installed", **options})
thread.start()
while not ray.is_initialized():
    time.sleep(0.05)
try:
    search(sentences, name="second", **options)
except UserError as error:
    print("second:", error)
thread.join()
assert not ray.is_initialized()
assert not faulthandler.is_enabled()
assert "PYTHONBREAKPOINT" not in os.environ
ray.is_initialized, ray.shutdown = (lambda: True), (lambda: print("Ray was shut down"))
try:
    search(sentences, name="refused", **options)
except UserError as error:
    print("refused:", error)
print(core.__file__, tuning.__file__, sep="\\n")
"""


@pytest.fixture(scope="module")
def said(sentune: Sentune, sentences: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a script printed that searched with the wheel; it has no `if __name__ == "__main__"`."""
    script = tmp_path_factory.mktemp("script") / "program.py"
    script.write_text(PROGRAM)
    return sentune(str(script), str(sentences), json.dumps(OPTIONS), program="python")


def test_a_search_with_the_installed_wheel_leaves_the_study_of_the_command_and_a_page(
    said: str, sentune: Sentune, bin_folder: Path, command: Command, sentences: Path
) -> None:
    """With validation in folds, on a real Ray."""
    for place in said.splitlines()[-2:]:
        assert Path(place).is_relative_to(bin_folder.parent)
    command.train_here("run", str(sentences), *COMMAND, "--name", "here")
    assert command.content("installed") == command.content("here")
    specs = [read_study(command.results / name)[0]["spec"] for name in ("installed", "here")]
    assert specs[0] == specs[1]
    rows = json.loads(command.succeed("best", "installed", "--format", "json"))
    assert {"plain", "major"} <= {row["trial"] for row in rows}
    page = command.results / "page.html"
    sentune("report", "installed", "--out", str(page))
    text = page.read_text()
    assert all(part in text for part in ("<html", "<style>", "<script>", "</html>"))


def test_a_search_in_a_thread_is_not_disturbed_by_a_second_one_and_leaves_the_callers_ray_running(said: str) -> None:
    assert "second: another search of this Python process uses Ray; wait until it has ended" in said
    assert "refused: Ray already runs in this Python process" in said
    assert "run ray.shutdown() first" in said
    assert "Ray was shut down" not in said


BY_SHELL = "#!/bin/sh\n'''exec' \"{}/python\" \"$0\" \"$@\"\n' '''\n"
"""The first lines of a program of pip if its path is long or has a space."""


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("begin", ["#!{}/python\n", BY_SHELL])
@pytest.mark.parametrize("place", [".venv/bin", "gone/bin", "the original/bin"])
def test_make_makes_an_environment_again_that_was_moved_or_copied(tmp_path: Path, place: str, begin: str) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text("#!/bin/sh\n")  # it has pip
    (programs / "python").chmod(0o755)
    shutil.copytree(programs, tmp_path / "the original" / "bin")
    (programs / "pip").write_text(begin.format(tmp_path / place))
    (tmp_path / ".venv" / ".installed").touch()
    again = "-m venv --clear .venv" in checked("make", "-n", "tune", cwd=tmp_path)
    assert again == (place != ".venv/bin")
