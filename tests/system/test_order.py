"""A search is a function of its inputs: with real Ray, real training, any number of workers, and kill -9."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from benchmarks.inputs.corpora import part_of_snippets
from tests.support.command import Command
from tests.support.patience import PATIENCE_SECONDS
from tests.support.searches import run


@pytest.fixture(scope="module")
def whole(command: Command, sentences: Path) -> str:
    """An undisturbed study, without Ray."""
    command.train_here(*run(sentences, "whole", "--no-baseline"))
    assert {"COMPLETE", "PRUNED"} == {record[1] for record in command.content("whole")}
    return "whole"


def at_once(seconds: float, call: Callable[[], None]) -> SimpleNamespace:
    """Take the place of a timer."""
    assert seconds < 1  # reading the data has used a part of the budget
    call()
    return SimpleNamespace(cancel=lambda: None)


def test_killed_out_of_time_without_workers_and_stopped_with_ctrl_c_a_study_is_completed_to_the_same(
    command: Command, sentences: Path, whole: str
) -> None:
    """The first kill and the end of its time meet it without Ray; then one of two workers is killed.

    Ctrl-C ends the epochs in progress, and the trials keep their checkpoints.
    """
    words = run(sentences, "killed", "--no-baseline", "--workers", "2")
    command.kill_at_checkpoint(3, *words)
    with patch("tuning.backend.interrupt.call_later", at_once):
        ended = command.run_here(*words, "--time-budget", "1s")
    assert ended.returncode == 0, ended.stderr
    assert "the study ended early: time budget of 1s used up" in ended.stdout
    assert "run the same command again to continue with a new time budget:\n  python -m tuning run " in ended.stdout
    assert "the study ended early: time budget of 1s used up" in command.succeed("best", "killed")
    assert len(command.content("killed")) < 9
    with command.start(*words) as driver:
        command.wait_for_journal("killed", 30)
        victims = command.workers()[:1]
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        command.wait_for_journal("killed", 40)
        os.kill(driver.pid, signal.SIGINT)
        out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    assert victims
    assert "continuing study killed" in out
    assert driver.returncode == 130
    assert "run the same command again to resume: python -m tuning run" in err
    assert "Traceback" not in err
    left = [trial for trial in command.content("killed") if trial[1] in ("RUNNING", "PAUSED")]
    assert len([trial for trial in left if trial[1] == "RUNNING"]) <= 3  # that of a killed worker may wait
    assert any(epochs for *_, epochs, _ in left)
    for number, *_, epochs, _ in left:
        kept = (command.results / "killed" / "checkpoints" / f"{number:05d}").glob("epoch-*")
        assert not epochs or max(path.name for path in kept) >= f"epoch-{len(epochs):05d}"
    assert "ended early" not in command.train_here(*words, "--time-budget", "5h")
    assert command.content("killed") == command.content(whole)


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_workers_and_kills_change_nothing_of_a_study_of_2000_snippets(command: Command, tmp_path: Path) -> None:
    """16 trials of 4 epochs, with 1 and 2 workers, and killed three times."""
    part_of_snippets(tmp_path / "part.csv", 2000)
    words = ("run", str(tmp_path / "part.csv"), "--trials", "16", "--epochs", "4", "--parallelism", "4")
    for workers in ("1", "2"):
        command.succeed(*words, "--name", f"workers-{workers}", "--workers", workers)
    for records in (40, 70, 100):
        with command.start(*words, "--name", "killed") as driver:
            command.wait_for_journal("killed", records)
            driver.kill()
            driver.communicate()
    assert "continuing study killed" in command.succeed(*words, "--name", "killed")
    whole, *others = (command.content(name) for name in ("workers-1", "workers-2", "killed"))
    assert len(whole) == 16
    assert all(other == whole for other in others)
