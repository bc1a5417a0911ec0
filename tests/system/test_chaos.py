"""Kills with -9 at random: after any of them, the same command has the result of an undisturbed search.

`make chaos` runs it; SENTUNE_KILLS is the number of kills (36). Victim and moment of a kill depend only on its number.
"""

import contextlib
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

KILLS = int(os.environ.get("SENTUNE_KILLS", "36"))
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
KILLED_AT_INSTALLATION = """
import os, signal, sys
from pathlib import Path
from core.io import atomic
after = sys.argv.pop(1) == "after"
def killed(real):
    def move(one, other):
        model = Path(other).name == "model"
        if model and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        done = real(one, other)
        if model:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return move
atomic.swap_paths, Path.replace = killed(atomic.swap_paths), killed(Path.replace)
from tuning.cli.app import main
main()
"""
KILLED_AFTER_EPOCH = """
import os, signal, sys
from tuning.journal.writer import StudyJournal
real, left = StudyJournal.record_epoch, [int(sys.argv.pop(1))]
def record_epoch(*arguments, **named):
    real(*arguments, **named)
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
StudyJournal.record_epoch = record_epoch
from tuning.cli.app import main
main()
"""


@pytest.fixture(scope="module")
def whole(command: Command, sentences: Path) -> str:
    """An undisturbed study, confirmed and retrained."""
    command.succeed(*notebook_run(sentences, "whole"))
    shutil.copytree(command.results / "whole", command.results / "searched")
    command.succeed("confirm", "whole", *CONFIRM)
    command.succeed("retrain", "whole", *RETRAIN)
    return "whole"


def killed_at_write(command: Command, folder: Path, draw: random.Random, most: int, *words: str, **env: str) -> int:
    """Run a verb that is killed when it is about to make its n-th write lasting; returns its exit code."""
    return run_script(command, folder, KILLED_AT_WRITE, str(draw.randrange(most)), *words, **env)


def run_script(command: Command, folder: Path, script: str, *words: str, **env: str) -> int:
    """Run a verb through a script that kills it; returns its exit code."""
    (folder / "killed.py").write_text(script)
    return command.run(*words, program=(str(folder / "killed.py"),), env=env).returncode


def end(driver: "subprocess.Popen[str]", code: int, *others: int) -> None:
    """Wait for a killed search's end; with 0 it must say itself that its trials are all through."""
    out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    assert driver.returncode in (code, *others), f"{out}\n{err}"
    assert driver.returncode != 0 or "has the best validation" in out, f"{out}\n{err}"


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


def checkpoints(command: Command, study: str, name: str) -> set[Path]:
    """Return the checkpoints of a study by name; none if a folder is removed meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return set(command.results.glob(f"{study}/checkpoints/**/{name}"))
    return set()


def at_a_checkpoint(command: Command, study: str, sentences: Path, draw: random.Random, folder: Path) -> None:
    """Kill the workers when a checkpoint has begun and is not whole, as far as can be seen from outside."""
    with command.start(*notebook_run(sentences, study)) as driver:
        for _ in range(draw.randint(2, 6)):
            workers = victims(command, "worker")  # before: to look for them takes as long as a checkpoint
            found = checkpoints(command, study, ".epoch-*")
            while driver.poll() is None and checkpoints(command, study, ".epoch-*") <= found:
                time.sleep(0.001)
        for victim in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        end(driver, 0)


def in_the_cache(command: Command, study: str, sentences: Path, draw: random.Random, folder: Path) -> None:
    """Kill the driver while it fills an empty cache, and continue with the same one."""
    env = {"SENTUNE_CACHE": str(folder / "cache")}
    assert killed_at_write(command, folder, draw, 9, *notebook_run(sentences, study), **env) == -signal.SIGKILL
    ended = command.run(*notebook_run(sentences, study), env=env)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"


def while_ray_starts(command: Command, study: str, sentences: Path, draw: random.Random, folder: Path) -> None:
    """Kill the driver or a part of Ray within a second after this part, or for the driver any, has appeared."""
    # 1 where Ray itself ends the driver, which just connects to the raylet.
    name, codes = draw.choice((("driver", (-signal.SIGKILL,)), ("raylet", (2, 0, 1)), ("gcs_server", (2, 0))))
    seen = draw.choice(("gcs_server", "raylet")) if name == "driver" else name
    with command.start(*notebook_run(sentences, study)) as driver:
        until = time.monotonic() + 120
        while not command.processes(seen):
            assert time.monotonic() < until, f"no {seen} was started"
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 1))
        for victim in [driver.pid] if name == "driver" else victims(command, name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        end(driver, *codes)
    assert command.left_behind() == []


def after_the_journal_has_an_epoch(
    command: Command, study: str, sentences: Path, draw: random.Random, folder: Path
) -> None:
    """Kill the driver when the journal has an epoch of which the schedule does not know yet."""
    words = (str(draw.randrange(8)), *notebook_run(sentences, study))
    assert run_script(command, folder, KILLED_AFTER_EPOCH, *words) == -signal.SIGKILL


def before_the_journal_has_an_epoch(
    command: Command, study: str, sentences: Path, draw: random.Random, folder: Path
) -> None:
    """Kill driver and workers when a checkpoint is whole, as far as can be seen before the journal has its epoch."""
    with command.start(*notebook_run(sentences, study)) as driver:
        for _ in range(draw.randint(1, 6)):
            found = checkpoints(command, study, "epoch-*")
            while driver.poll() is None and checkpoints(command, study, "epoch-*") <= found:
                time.sleep(0.001)
        driver.kill()  # first: while the workers are looked for, it would write the epoch
        for victim in victims(command, "worker"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        end(driver, -signal.SIGKILL, 0)


SEARCHES = {
    "driver": in_a_search("driver", -signal.SIGKILL),
    "worker": in_a_search("worker", 0),
    "raylet": in_a_search("raylet", 2, 0),  # 0 where its last trial ended before it was missed
    "gcs_server": in_a_search("gcs_server", 2, 0),
    "agent": in_a_search("ray::DashboardAgent", 2, 0, 1),  # 1 where Ray ends the driver first
    "checkpoint": at_a_checkpoint,
    "cache": in_the_cache,
    "start": while_ray_starts,
    "journal": after_the_journal_has_an_epoch,
    "epoch": before_the_journal_has_an_epoch,
}
LATER: dict[str, tuple[tuple[str, ...], int, Callable[[Path], Any]]] = {
    "confirm": (CONFIRM, 14, outcomes),
    "retrain": (RETRAIN, 40, lambda study: results_of(metrics(study))),
}
"""Verb -> its options, its minimum number of writes, and its result."""
PLACES = (*SEARCHES, *LATER, "installation")


def at_the_installation_of_a_model(command: Command, study: str, draw: random.Random, folder: Path) -> None:
    """Kill `retrain` right before or after it installs its model, in place of an older one or not."""
    model, older = command.results / study / "model", draw.random() < 0.5
    if older:
        command.succeed("retrain", study)
    moment = draw.choice(("before", "after"))
    assert run_script(command, folder, KILLED_AT_INSTALLATION, moment, "retrain", study, *RETRAIN) == -signal.SIGKILL
    assert model.is_dir() == (older or moment == "after")
    if model.is_dir():
        command.succeed("predict", str(model), "a great page")  # it is whole


def probabilities(command: Command, study: str) -> dict[str, bytes]:
    """Return the stored probabilities of the trials, by file."""
    return {path.name: path.read_bytes() for path in (command.results / study / "probabilities").glob("0*.npz")}


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_anywhere_the_same_command_gives_the_same_result(
    command: Command, sentences: Path, whole: str, tmp_path: Path, number: int
) -> None:
    place, draw, study = PLACES[number % len(PLACES)], random.Random(number), f"killed-{number}"
    if place in SEARCHES:
        SEARCHES[place](command, study, sentences, draw, tmp_path)
        command.succeed(*notebook_run(sentences, study))
    elif place == "installation":
        options, _, content = LATER["retrain"]
        shutil.copytree(command.results / "searched", command.results / study)
        at_the_installation_of_a_model(command, study, draw, tmp_path)
        command.succeed("retrain", study, *options)
        assert content(command.results / study) == content(command.results / whole)
    else:
        options, writes, content = LATER[place]
        shutil.copytree(command.results / "searched", command.results / study)
        words = (place, study, *options)
        assert killed_at_write(command, tmp_path, draw, writes, *words) == -signal.SIGKILL
        command.succeed(*words)
        assert content(command.results / study) == content(command.results / whole)
    assert command.content(study) == command.content(whole)
    assert probabilities(command, study) == probabilities(command, whole) != {}
