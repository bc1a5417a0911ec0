"""The start of a search: Ray starts while the data are read, and an interruption leaves nothing behind."""

import os
import re
import signal
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Command, without_waits
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.searches import notebook_run

if TYPE_CHECKING:
    import subprocess


@pytest.mark.parametrize("moment", ["data", "gcs_server", "raylet", "worker"])
def test_ctrl_c_before_the_first_epoch_ends_at_once(command: Command, sentences: Path, moment: str) -> None:
    """The signal goes to the whole process group, as from a terminal; again and again, as from an impatient user."""
    with command.start(*notebook_run(sentences, "early", "--workers", "1")) as driver:
        wait_for(command, driver, moment)
        for _ in range(3):
            os.killpg(driver.pid, signal.SIGINT)
            time.sleep(0.2)
        out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    assert (driver.returncode, "Traceback" in err) == (130, False), f"{out}\n{err}"
    assert "interrupted; run the same command again to resume" in err.splitlines()[-1]
    assert command.left_behind() == []


def wait_for(command: Command, driver: "subprocess.Popen[str]", moment: str) -> None:
    """Until the driver has read the data, or has started this process of Ray's."""
    if moment == "data":
        assert driver.stdout is not None
        assert driver.stdout.readline().startswith("sentences ")
        return
    name = "default_worker.py" if moment == "worker" else moment
    wait_until(lambda: command.has_process(name), f"no {moment} was started", pause=0.05)


STAND_IN = """
import sys
from ray._private import services
from tuning.backend import start_watch
services.RAYLET_EXECUTABLE, start_watch.START_SECONDS = sys.argv.pop(1), float(sys.argv.pop(1))
start_watch.OVERLOAD = 1e9
if sys.argv[1] == "api":
    from core.errors import UserError
    from tuning import search
    try:
        search(sys.argv[2], vectors="none", trials=1, epochs=1, no_baseline=True, results=sys.argv[3])
    except UserError as error:
        sys.exit(f"raised {error}")
from tuning.cli.app import main
main()
"""
DIES = """#!/bin/sh
for word in "$@"; do case $word in --stderr_filepath=*) log=${word#*=};; esac; done
echo "[2026-11-27 14:00:00,123 C 12 12] (raylet) main.cc:12: pthread_create failed" >> $log
exit 1
"""
HANGS = "#!/bin/sh\nexec sleep 600\n"


@pytest.mark.parametrize(
    ("raylet", "seconds", "by", "reason"),
    [
        (DIES, str(PATIENCE_SECONDS), "run", "its process raylet has ended: pthread_create failed"),
        (DIES, str(PATIENCE_SECONDS), "api", "its process raylet has ended: pthread_create failed"),
        (HANGS, "6", "run", "no answer in 6 s"),
    ],
)
def test_a_raylet_that_dies_or_hangs_while_it_starts_is_one_line(
    command: Command, sentences: Path, tmp_path: Path, raylet: str, seconds: str, by: str, reason: str
) -> None:
    (tmp_path / "raylet").write_text(raylet)
    (tmp_path / "raylet").chmod(0o755)
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    words = notebook_run(sentences, "stand-in") if by == "run" else ("api", str(sentences), str(tmp_path / "results"))
    program = (str(tmp_path / "stand_in.py"), str(tmp_path / "raylet"), seconds)
    ended = command.run(*words, program=program)
    # On a busy machine, the time may be over before there is a raylet.
    said = without_waits(ended.stderr).replace("6 s from raylet", "6 s").splitlines()
    assert ended.returncode == (2 if by == "run" else 1), ended.stderr
    problem = (
        f"{'sentune:' if by == 'run' else 'raised'} Ray did not start ({reason}); check that the machine has enough "
        "memory, threads and free processors, and run the same command again"
    )
    assert said == [problem] or (by == "api" and problem in said)  # besides, the audit's warnings, and Ray's threads
    assert command.left_behind() == []


def test_a_temporary_folder_that_ray_cannot_make_is_one_line(command: Command, sentences: Path) -> None:
    ended = command.run(*notebook_run(sentences, "nowhere"), env={"RAY_TMPDIR": "/proc/none"})
    said = without_waits(ended.stderr)
    assert ended.returncode == 2, said
    assert re.fullmatch(r"sentune: Ray cannot write its temporary folder \(.*\); set RAY_TMPDIR to another one\n", said)
    assert command.left_behind() == []


def test_a_folder_for_temporary_files_with_a_long_path_is_not_used_for_rays_sockets(
    command: Command, sentences: Path, tmp_path: Path
) -> None:
    long = tmp_path / ("t" * 40)
    long.mkdir()
    words = notebook_run(sentences, "long", "--trials", "1", "--epochs", "1")
    ended = command.run(*words, env={"TMPDIR": str(long)})
    assert ended.returncode == 0, ended.stderr


def test_data_that_cannot_be_used_are_one_line(command: Command, tmp_path: Path) -> None:
    """Ray is starting when the driver finds out."""
    (tmp_path / "t.csv").write_text("body,stars\na fine film,1\n")
    ended = command.run("run", str(tmp_path / "t.csv"), "--text-column", "text")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
    assert "no column 'text'" in ended.stderr
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
