"""Errors and limits around a search: one line, no loss of epochs, no processes left behind."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.searches import notebook_run
from tuning.resources.machine import available_cpus

CLOSED = (
    "import os, sys; os.closerange(0, 3); os.execv(sys.executable, [sys.executable, '-m', 'tuning', *sys.argv[1:]])"
)


def search(sentences: Path, name: str) -> tuple[str, ...]:
    """By one worker: what one does here, two would do."""
    return notebook_run(sentences, name, "--workers", "1")


@pytest.fixture(scope="module")
def places() -> Iterator[Path]:
    """An empty home and an empty folder for temporary files: short, because Ray puts sockets there."""
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    for name in ("home", "tmp", "cache"):
        (folder / name).mkdir()
    yield folder
    shutil.rmtree(folder)


EAGER = {f"RAY_health_check_{name}_ms": "200" for name in ("initial_delay", "period", "timeout")}
"""With these, Ray would give a raylet up after 2 s in place of 30."""


@pytest.fixture(scope="module")
def unheard(command: Command, sentences: Path, places: Path) -> subprocess.CompletedProcess[str]:
    """A search with an empty home folder, without standard streams."""
    env = {"HOME": str(places / "home"), "TMPDIR": str(places / "tmp"), "SENTUNE_CACHE": str(places / "cache")}
    return command.run(*search(sentences, "whole"), program=("-c", CLOSED), env=env)


@pytest.fixture(scope="module")
def whole(unheard: subprocess.CompletedProcess[str]) -> str:
    """Its study."""
    assert unheard.returncode == 0
    return "whole"


def test_a_search_without_standard_streams_runs_to_its_end(
    command: Command, unheard: subprocess.CompletedProcess[str]
) -> None:
    assert unheard.returncode == 0
    states = [record[1] for record in command.content("whole")]
    assert len(states) == 6
    assert set(states) <= {"COMPLETE", "PRUNED"}


LIMITED = """
import os, resource, sys
from pathlib import Path
group, files = sys.argv[1], int(sys.argv[2])
if group:
    Path(group, "cgroup.procs").write_text(str(os.getpid()))
resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
os.execv(sys.executable, [sys.executable, "-m", "tuning", *sys.argv[3:]])
"""
GROUPS = Path("/sys/fs/cgroup/pids")
THREADS = 200


@pytest.fixture
def group() -> Iterator[str]:
    """A control group whose processes may have THREADS threads in all; empty where this machine lets us make none.

    `ulimit -u` does not limit root, as which a build machine may run the tests.
    """
    folder = GROUPS / f"sentune-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "pids.max").write_text(str(THREADS))
    except OSError:
        yield ""
        return
    yield str(folder)
    wait_until(lambda: not (folder / "cgroup.procs").read_text(), "processes of the search are left")
    folder.rmdir()


def test_limits_of_200_threads_and_256_files_and_a_raylet_that_is_silent_for_a_while_end_no_search(
    command: Command, sentences: Path, whole: str, group: str
) -> None:
    program = ("-c", LIMITED, group, "256")
    with command.start(*search(sentences, "silent"), program=program, env=EAGER) as driver:
        command.wait_for_epoch("silent")
        (raylet,) = command.processes("raylet")
        os.kill(raylet, signal.SIGSTOP)
        time.sleep(4)
        os.kill(raylet, signal.SIGCONT)
        out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    assert (driver.returncode, err) == (0, ""), f"{out}\n{err}"
    assert "raylet" not in out  # Ray's own lines about it stay in its logs
    assert command.content("silent") == command.content(whole)
    if not group:
        pytest.skip(f"no control group can be made in {GROUPS}: only the open files were limited")


def test_too_few_open_files_are_one_line_and_leave_nothing_behind(command: Command, sentences: Path) -> None:
    words = notebook_run(sentences, "few", "--trials", "2", "--epochs", "1", "--workers", "1")
    ended = command.run(*words, program=("-c", LIMITED, "", "50"))
    needed = 100 + 4 * available_cpus()
    assert (ended.returncode, ended.stderr) == (
        2,
        f"sentune: a process may open 50 files here, and Ray needs {needed}; raise the limit (`ulimit -n {needed}`), "
        "and run the same command again\n",
    )
    assert command.left_behind() == []


def test_nothing_is_left_outside_study_and_cache(command: Command, places: Path, whole: str) -> None:
    assert [path for path in command.results.iterdir() if not (path / "study.journal").is_file()] == []
    assert list((places / "home").iterdir()) == []
    assert list((places / "tmp").iterdir()) == []
    assert sorted(path.name for path in (command.results / "whole").iterdir()) == [
        "checkpoints",
        "probabilities",
        "study.journal",
        "study.lock",
    ]


def test_a_second_signal_ends_at_once(command: Command, sentences: Path) -> None:
    """It goes to the whole process group, as from a terminal."""
    with command.start(*search(sentences, "signals")) as driver:
        command.wait_for_epoch("signals")
        os.kill(driver.pid, signal.SIGTERM)
        assert driver.stderr is not None
        assert any(line.startswith("stopping: ") for line in driver.stderr)
        os.killpg(driver.pid, signal.SIGINT)
        err = driver.stderr.read()
        assert driver.wait(PATIENCE_SECONDS) == 130, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("interrupted; run the same command again to resume: python -m tuning run")


NARROW = """
import os, sys
mounts = "mount -t tmpfs -o size=1m tmpfs /dev/shm && mount -t tmpfs -o ro tmpfs $HOME"
command = ["sh", sys.executable, "-m", "tuning", *sys.argv[1:]]
os.execvp("unshare", ["unshare", "--mount", "--map-root-user", "sh", "-c", mounts + ' && exec "$@"', *command])
"""

FULL_DISK = """
import errno, os
real, left = os.fsync, [12]
def fsync(handle):
    left[0] -= 1
    if left[0] < 0:
        raise OSError(errno.ENOSPC, "No space left on device")
    real(handle)
os.fsync = fsync
from tuning.cli.app import main
main()
"""


def test_ray_is_killed_and_the_disk_is_full_and_each_is_one_line_and_loses_nothing(
    command: Command, sentences: Path, places: Path, whole: str
) -> None:
    """At last the home is read-only, and there is hardly any shared memory."""
    for process, records in (("raylet", 10), ("gcs_server", 16)):
        with command.start(*search(sentences, "hurt"), env={"TMPDIR": str(places / "tmp")}) as driver:
            command.wait_for_journal("hurt", records)
            (victim,) = command.processes(process)
            os.kill(victim, signal.SIGKILL)
            out, err = driver.communicate(timeout=PATIENCE_SECONDS)
        assert driver.returncode == 2, f"{out}\n{err}"
        assert f"sentune: Ray's process {process} has ended" in err
        assert f"run the same command again to resume: python -m tuning run {sentences}" in err
        assert err.count("\n") == 1
        assert "raylet)" not in out
        assert list((places / "tmp").iterdir()) == []
    ended = command.run(*search(sentences, "hurt"), program=("-c", FULL_DISK))
    assert ended.returncode == 2, f"{ended.stdout}\n{ended.stderr}"
    assert ended.stderr.startswith("sentune: cannot write ")
    assert ended.stderr.endswith("the disk is full; free some space and run the same command again\n")
    assert ended.stderr.count("\n") == 1
    env = {"HOME": str(places / "home"), "SENTUNE_CACHE": str(places / "cache")}
    ended = command.run(*search(sentences, "hurt"), program=("-c", NARROW), env=env)
    cannot_mount = ended.stderr.strip() if ended.stderr.startswith(("unshare", "mount")) else ""
    if cannot_mount:
        ended = command.run(*search(sentences, "hurt"))
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    assert command.content("hurt") == command.content(whole)
    if cannot_mount:
        pytest.skip(f"all but the last sentence: {cannot_mount}")
