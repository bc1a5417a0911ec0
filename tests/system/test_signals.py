"""Ctrl-C and SIGTERM: one line at once, exit code 130, whatever the program is doing."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.command import Command, without_waits
from tests.support.patience import PATIENCE_SECONDS

AT_AN_IMPORT = """
import os, sys
moment, number = sys.argv.pop(1), int(sys.argv.pop(1))
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Finder())
from tuning.__main__ import start_program
start_program()
"""
BEFORE = "interrupted before it began; run the same command again\n"


@pytest.mark.parametrize(
    ("moment", "verb", "number"),
    [
        ("core.errors", "run", signal.SIGINT),  # the first instant
        ("tuning.cli.app", "predict", signal.SIGTERM),
        ("tuning.run", "run", signal.SIGINT),  # the verb's own modules
        ("tuning.analysis.best", "best", signal.SIGINT),
    ],
)
def test_a_signal_during_the_imports_is_one_line(
    command: Command, tmp_path: Path, moment: str, verb: str, number: int
) -> None:
    (tmp_path / "early.py").write_text(AT_AN_IMPORT)
    words = (verb, "x.csv" if verb in ("run", "plan") else "gone")
    program = (str(tmp_path / "early.py"), moment, str(int(number)))
    ended = command.run(*words, program=program)
    early = moment in ("core.errors", "tuning.cli.app")
    called = f"{tmp_path / 'early.py'} {' '.join(words)}"
    resumes = f"interrupted; run the same command again to resume: {called}\n"
    started = resumes if verb == "run" else "interrupted\n"
    assert (ended.returncode, without_waits(ended.stderr)) == (130, BEFORE if early else started)


def test_an_interrupted_plan_ends_at_once_and_so_do_its_processes(command: Command, sentences: Path) -> None:
    """The signal goes to the whole process group, as from a terminal."""
    with command.start("plan", str(sentences), "--vectors", "none", "--trials", "40") as plan:
        assert plan.stderr is not None
        while not plan.stderr.readline().startswith("measuring configurations for "):
            assert plan.poll() is None
        os.killpg(plan.pid, signal.SIGINT)
        out, err = plan.communicate(timeout=PATIENCE_SECONDS)
    assert (plan.returncode, out) == (130, "")
    assert without_waits(err) == "interrupted\n"
    assert command.left_behind() == []


def test_an_ignored_ctrl_c_stays_ignored(command: Command) -> None:
    """As of a program that a shell started in the background."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from tuning.__main__ import start_program\n"
        "try: start_program()\n"
        "finally: print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    )
    assert command.run("list", program=("-c", code)).stdout.splitlines()[-1] == "True"
