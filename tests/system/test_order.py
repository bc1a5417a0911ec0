"""A search is a function of its inputs: with real Ray, real training, any number of workers, and kill -9."""

import os
import signal
from pathlib import Path

import pytest

from tests.system.command import Command
from tests.system.searches import run


@pytest.fixture(scope="module")
def whole(command: Command, sentences: Path) -> str:
    """A study that nobody disturbed."""
    command.succeed(*run(sentences, "whole"))
    return "whole"


def test_one_worker_or_two_the_same_trials_and_stops(command: Command, sentences: Path, whole: str) -> None:
    command.succeed(*run(sentences, "one", "--workers", "1"))
    assert command.content("one") == command.content(whole)
    assert {"COMPLETE", "PRUNED"} == {record[1] for record in command.content(whole)}


def test_killed_again_and_again_the_study_completes_to_the_same(command: Command, sentences: Path, whole: str) -> None:
    for records in (6, 40):
        with command.start(*run(sentences, "killed")) as driver:
            command.wait_for_journal("killed", records)
            os.kill(driver.pid, signal.SIGKILL)
    assert "going on with study killed" in command.succeed(*run(sentences, "killed"))
    assert command.content("killed") == command.content(whole)


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(command: Command, sentences: Path, whole: str) -> None:
    with command.start(*run(sentences, "stopped")) as driver:
        command.wait_for_journal("stopped", 12)
        os.kill(driver.pid, signal.SIGINT)
        _, err = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert "the same command goes on: python -m tuning run" in err
    assert "Traceback" not in err
    assert len([record for record in command.content("stopped") if record[1] == "RUNNING"]) <= 3  # the window
    command.succeed(*run(sentences, "stopped"))
    assert command.content("stopped") == command.content(whole)


def test_a_killed_worker_costs_nothing(command: Command, sentences: Path, whole: str) -> None:
    with command.start(*run(sentences, "orphaned")) as driver:
        command.wait_for_journal("orphaned", 8)
        victims = command.workers()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        out, err = driver.communicate(timeout=240)
    assert victims
    assert driver.returncode == 0, f"{out}\n{err}"
    assert command.content("orphaned") == command.content(whole)


def test_a_trial_that_fails_stands_in_the_table_and_the_study_goes_on(command: Command, sentences: Path) -> None:
    explosive = ("--set", "optimizer=adamw", "--set", "learning_rate=9e15", "--set", "weight_decay=9e15")
    out = command.succeed(*run(sentences, "failing", "--space", "notebook", *explosive))
    states = [record[1] for record in command.content("failing")]
    assert states[0] != "FAIL"
    assert states.count("FAIL") >= 1
    assert "failed: TrainingError: " in out
