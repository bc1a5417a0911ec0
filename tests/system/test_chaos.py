"""Kills with -9 at random: after any of them, the same command has the result of an undisturbed search.

`make chaos` runs it; SENTUNE_KILLS is the number of kills (50). Victim and moment of a kill depend only on its number.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import Command
from tests.support.contents import metrics, outcomes, results_of
from tests.support.patience import PATIENCE_SECONDS
from tests.support.searches import notebook_run

if TYPE_CHECKING:
    import subprocess

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("SENTUNE_KILLS", "50"))
CONFIRM, RETRAIN = ("--top", "2", "--seeds", "2"), ("--seeds", "2")
KILLED_AT_WRITE = """
import os, signal, sys
real, left = os.fsync, [int(sys.argv.pop(1))]
def fsync(handle):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)
os.fsync = fsync
from tuning.cli.app import main
main()
"""


@pytest.fixture(scope="module")
def whole(command: Command, sentences: Path) -> str:
    """A study that nobody disturbed, confirmed and retrained."""
    command.succeed(*notebook_run(sentences, "whole"))
    shutil.copytree(command.results / "whole", command.results / "searched")
    command.succeed("confirm", "whole", *CONFIRM)
    command.succeed("retrain", "whole", *RETRAIN)
    return "whole"


def killed_at_write(command: Command, folder: Path, draw: random.Random, most: int, *words: str, **env: str) -> int:
    """Run a verb that is killed when it is about to make its n-th write lasting; returns its exit code."""
    script = folder / "killed.py"
    script.write_text(KILLED_AT_WRITE)
    path = os.pathsep.join([str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    writes = str(draw.randrange(most))
    return command.run(writes, *words, program=(str(script),), env={"PYTHONPATH": path, **env}).returncode


def end(driver: "subprocess.Popen[str]", code: int, *others: int) -> None:
    """Wait for a killed search's end; with 0 it must say itself that its trials are all through."""
    out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    assert driver.returncode in (code, *others), f"{out}\n{err}"
    assert driver.returncode != 0 or "next: " in out, f"{out}\n{err}"


def victims(command: Command, name: str) -> list[int]:
    return command.workers() if name == "worker" else command.processes(name)


def in_a_search(name: str, *codes: int) -> Callable[..., None]:
    """Kill the driver, the workers or a part of Ray when the journal has a random number of records."""

    def kill(command: Command, study: str, sentences: Path, draw: random.Random, folder: Path) -> None:
        with command.start(*notebook_run(sentences, study)) as driver:
            command.wait_for_journal(study, draw.randint(2, 40))
            time.sleep(draw.uniform(0, 0.3))
            for victim in [driver.pid] if name == "driver" else victims(command, name):
                os.kill(victim, signal.SIGKILL)
            end(driver, *codes)

    return kill


def at_a_checkpoint(command: Command, study: str, sentences: Path, draw: random.Random, folder: Path) -> None:
    """Kill the workers when a checkpoint has begun and is not whole, as far as can be seen from outside."""
    with command.start(*notebook_run(sentences, study)) as driver:
        for _ in range(draw.randint(1, 8)):
            while driver.poll() is None and not list(command.results.glob(f"{study}/checkpoints/**/.epoch-*")):
                time.sleep(0.001)
        for victim in victims(command, "worker"):
            os.kill(victim, signal.SIGKILL)
        end(driver, 0)


def in_the_cache(command: Command, study: str, sentences: Path, draw: random.Random, folder: Path) -> None:
    """Kill the driver while it fills an empty cache, and go on with the same one."""
    env = {"SENTUNE_CACHE": str(folder / "cache")}
    assert killed_at_write(command, folder, draw, 9, *notebook_run(sentences, study), **env) == -signal.SIGKILL
    ended = command.run(*notebook_run(sentences, study), env=env)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"


SEARCHES = {
    "driver": in_a_search("driver", -signal.SIGKILL),
    "worker": in_a_search("worker", 0),
    "raylet": in_a_search("raylet", 2, 0),  # 0 where its last trial ended before it was missed
    "gcs_server": in_a_search("gcs_server", 2, 0),
    "checkpoint": at_a_checkpoint,
    "cache": in_the_cache,
}
LATER: dict[str, tuple[tuple[str, ...], int, Callable[[Path], Any]]] = {
    "confirm": (CONFIRM, 14, outcomes),
    "retrain": (RETRAIN, 40, lambda study: results_of(metrics(study))),
}
"""Verb -> its options, how many writes it makes at least, and what it comes to."""
PLACES = (*SEARCHES, *LATER)


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_anywhere_the_same_command_comes_to_the_same(
    command: Command, sentences: Path, whole: str, tmp_path: Path, number: int
) -> None:
    place, draw, study = PLACES[number % len(PLACES)], random.Random(number), f"killed-{number}"
    if place in SEARCHES:
        SEARCHES[place](command, study, sentences, draw, tmp_path)
        command.succeed(*notebook_run(sentences, study))
    else:
        options, writes, content = LATER[place]
        shutil.copytree(command.results / "searched", command.results / study)
        words = (place, study, *options)
        assert killed_at_write(command, tmp_path, draw, writes, *words) == -signal.SIGKILL
        command.succeed(*words)
        assert content(command.results / study) == content(command.results / whole)
    assert command.content(study) == command.content(whole)
