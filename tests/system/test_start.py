"""The start of a search: Ray starts while the data are read, and an interruption leaves nothing behind."""

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Command
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.searches import notebook_run

if TYPE_CHECKING:
    import subprocess


@pytest.mark.parametrize("moment", ["data", "gcs_server", "raylet", "agent", "worker"])
def test_ctrl_c_before_the_first_epoch_ends_at_once(command: Command, sentences: Path, moment: str) -> None:
    """The signal goes to the whole process group, as from a terminal; again and again, as from an impatient user."""
    with command.start(*notebook_run(sentences, "early")) as driver:
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
    names = {"agent": "runtime_env_agent", "worker": "default_worker.py"}
    wait_until(lambda: command.has_process(names.get(moment, moment)), f"no {moment} was started")


def test_data_that_cannot_be_used_are_one_line(command: Command, tmp_path: Path) -> None:
    """Ray is starting when the driver finds out."""
    (tmp_path / "t.csv").write_text("body,stars\na fine film,1\n")
    ended = command.run("run", str(tmp_path / "t.csv"), "--text-column", "text")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
    assert "no column 'text'" in ended.stderr
    assert command.left_behind() == []


def test_a_complete_study_needs_no_ray(command: Command, sentences: Path) -> None:
    words = notebook_run(sentences, "short", "--trials", "1", "--epochs", "1", "--workers", "1")
    command.succeed(*words)
    again = command.run(*words, program=("-X", "importtime", "-m", "tuning"))
    assert "study short is complete: 1 trials" in again.stdout
    imported = {line.rpartition("|")[2].strip() for line in again.stderr.splitlines()}
    assert {"tuning.run", "tuning.backend.background_ray"} <= imported
    assert {"ray", "torch"} & imported == set()
