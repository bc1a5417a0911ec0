"""The start of a search: Ray starts while the data are read, and an interruption leaves nothing behind."""

import os
import re
import signal
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.command import Command, without_waits
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.searches import notebook_run
from tuning.resources.machine import available_cpus


@pytest.mark.chaos
@pytest.mark.parametrize("moment", ["data", "gcs_server"])
def test_ctrl_c_while_ray_is_imported_or_begins_ends_at_once(command: Command, sentences: Path, moment: str) -> None:
    """In a new process; the signals are those of an impatient user at a terminal."""
    with command.start(*notebook_run(sentences, f"early-{moment}", "--workers", "1")) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline().startswith("sentences ")
        if moment == "gcs_server":
            wait_until(lambda: command.processes("gcs_server"), "no gcs_server was started")
        for _ in range(3):
            os.killpg(driver.pid, signal.SIGINT)
            time.sleep(0.2)
        out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    assert (driver.returncode, "Traceback" in err) == (130, False), f"{out}\n{err}"
    assert "interrupted; run the same command again to resume" in err.splitlines()[-1]
    assert command.left_behind() == []


FORKED = """
import contextlib, os, resource, signal, sys, time
from pathlib import Path
import psutil
import tuning.run
from core.errors import UserError
from ray._private import services
from tuning import search
from tuning.backend import local_ray, start_watch
from tuning.cli.app import main
from tuning.console import end_with_parent

folder, patience, data, *words = Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:]
start_watch.START_SECONDS, start_watch.OVERLOAD = patience, 1e9

def dies():
    services.RAYLET_EXECUTABLE = str(folder / "dies")

def hangs():
    services.RAYLET_EXECUTABLE, start_watch.START_SECONDS = str(folder / "hangs"), 3.0

def nowhere():
    os.environ["RAY_TMPDIR"] = "/proc/none"

def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))

def bad_data():
    words[:] = ["run", str(folder / "bad.csv"), "--text-column", "text"]

def command():
    sys.argv[1:] = words
    main()

def api():
    try:
        search(data, vectors="none", trials=1, epochs=1, no_baseline=True, results=folder / "results")
    except UserError as error:
        sys.exit(f"raised {error}")

def fork(name, *calls):
    parent = os.getpid()
    child = os.fork()  # a process that has imported Ray, and started nothing
    if child:
        return child
    os.setsid()
    end_with_parent(parent)  # which a test that fails kills
    for handle, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{name}.{kind}", os.O_WRONLY | os.O_CREAT), handle)
    for call in calls:
        call()
    os._exit(0)

def wait(name, child):
    (folder / f"{name}.code").write_text(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))

def interrupt(child, moment):
    def runs(process):
        with contextlib.suppress(psutil.Error):
            return any(word.rpartition("/")[2] == moment for word in process.cmdline() if word[0:1] != "-")
    def reached():
        if moment == "data":
            return "sentences " in (folder / "data.out").read_text()
        return any(map(runs, process.children(recursive=True)))
    process, until = psutil.Process(child), time.monotonic() + patience
    while not reached() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.05)
    for _ in range(3):
        os.killpg(child, signal.SIGINT)
        time.sleep(0.2)

causes = (dies, api), (hangs, command), (nowhere, command), (few_files, command), (bad_data, command)
for cause, way in causes:
    name = f"{cause.__name__} {way.__name__}"
    wait(name, fork(name, cause, way))
for moment in ("data", "raylet", "default_worker.py"):
    (folder / f"{moment}.out").touch()
    interrupt(child := fork(moment, command), moment)
    wait(moment, child)
"""
DIES = """#!/bin/sh
for word in "$@"; do case $word in --stderr_filepath=*) log=${word#*=};; esac; done
echo "[2026-11-27 14:00:00,123 C 12 12] (raylet) main.cc:12: pthread_create failed" >> $log
exit 1
"""
HANGS = "#!/bin/sh\nexec sleep 600\n"


@pytest.fixture(scope="module")
def forked(command: Command, sentences: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the exit codes and the output of searches that end while Ray starts.

    They are forks of one process, so that Ray is imported once.
    """
    folder = tmp_path_factory.mktemp("forked")
    for name, program in (("dies", DIES), ("hangs", HANGS)):
        (folder / name).write_text(program)
        (folder / name).chmod(0o755)
    (folder / "bad.csv").write_text("body,stars\na fine film,1\n")
    words = notebook_run(sentences, "forked", "--no-baseline", "--workers", "1")
    command.train_here(*words, "--trials", "1")  # from then on, the study has its plain baseline
    words = (str(folder), str(PATIENCE_SECONDS), str(sentences), *words)
    # Python 3.12 warns of a fork with threads: pyarrow's import starts one.
    ended = command.run(*words, program=("-W", "ignore::DeprecationWarning", "-c", FORKED))
    assert (ended.returncode, ended.stderr) == (0, "")
    return folder


def ended(folder: Path, name: str) -> tuple[int, list[str]]:
    """The exit code of a search, and the lines on its standard error."""
    lines = without_waits((folder / f"{name}.err").read_text()).splitlines()
    return int((folder / f"{name}.code").read_text()), lines


@pytest.mark.parametrize("moment", ["data", "raylet", "default_worker.py"])
def test_ctrl_c_before_the_first_epoch_ends_at_once(command: Command, forked: Path, moment: str) -> None:
    """When the data are read, or this process of Ray's has appeared.

    The signals go to the whole process group, as from a terminal; again and again, as from an impatient user.
    """
    code, lines = ended(forked, moment)
    assert (code, "Traceback" in "".join(lines)) == (130, False), lines
    assert "interrupted; run the same command again to resume" in lines[-1]
    assert command.left_behind() == []


NO_START = (
    r"Ray did not start \({}\); check that the machine has enough memory, threads and free processors, and run the "
    "same command again"
)
DIED = NO_START.format("its process raylet has ended: pthread_create failed")
FEW_FILES = (
    r"a process may open 50 files here, and Ray needs {0}; raise the limit \(`ulimit -n {0}`\), and run the same "
    "command again"
).format(100 + 4 * available_cpus())


@pytest.mark.parametrize(
    ("name", "code", "problem"),
    [
        ("dies api", 1, f"raised {DIED}"),
        # On a busy machine, the time may be over before there is a raylet.
        ("hangs command", 2, f"sentune: {NO_START.format('no answer in 3 s( from raylet)?')}"),
        ("nowhere command", 2, r"sentune: Ray cannot write its temporary folder \(.*\); set RAY_TMPDIR to another one"),
        ("few_files command", 2, f"sentune: {FEW_FILES}"),
        ("bad_data command", 2, "sentune: .*bad.csv: no column 'text'; .*"),
    ],
)
def test_a_search_that_fails_while_ray_starts_says_so_in_one_line(
    command: Command, forked: Path, name: str, code: int, problem: str
) -> None:
    found, lines = ended(forked, name)
    assert found == code, lines
    matching = [line for line in lines if re.fullmatch(problem, line)]
    assert matching, lines
    assert len(lines) == 1 or name == "dies api", lines  # besides, the audit's warnings
    assert command.left_behind() == []


def test_a_complete_study_needs_no_ray(command: Command, sentences: Path) -> None:
    words = notebook_run(sentences, "short", "--trials", "1", "--epochs", "1")
    command.train_here(*words)
    again = command.run(*words, program=("-X", "importtime", "-m", "tuning"))
    assert "study short is complete: 1 trial\n" in again.stdout
    imported = {line.rpartition("|")[2].strip() for line in again.stderr.splitlines()}
    assert {"tuning.run", "tuning.backend.background_ray"} <= imported
    assert "ray" not in imported
    assert "torch" not in imported or not version("torch").endswith("+cpu")  # one with CUDA is asked for the GPUs
