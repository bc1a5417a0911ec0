"""A search of processes that may open few files and start few threads works, or says in one line why it cannot."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.patience import wait_until
from tests.support.searches import notebook_run
from tuning.resources.machine import available_cpus

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


def test_200_threads_and_256_open_files_are_enough(command: Command, sentences: Path, group: str) -> None:
    words = notebook_run(sentences, "enough", "--trials", "2", "--epochs", "1", "--workers", "1")
    ended = command.run(*words, program=("-c", LIMITED, group, "256"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [record[1] for record in command.content("enough")] == ["COMPLETE"] * 2
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
