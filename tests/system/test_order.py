"""A search is a function of its inputs: with real Ray, real training, any number of workers, and kill -9."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.searches import run


@pytest.fixture(scope="module")
def whole(command: Command, sentences: Path) -> str:
    """A study that nobody disturbed."""
    command.succeed(*run(sentences, "whole"))
    return "whole"


def test_one_worker_or_two_the_same_trials_and_stops(command: Command, sentences: Path, whole: str) -> None:
    command.succeed(*run(sentences, "one", "--workers", "1"))
    assert command.content("one") == command.content(whole)
    assert {"COMPLETE", "PRUNED"} == {record[1] for record in command.content(whole)}


def test_killed_out_of_time_without_workers_and_stopped_with_ctrl_c_the_study_completes_to_the_same(
    command: Command, sentences: Path, whole: str
) -> None:
    with command.start(*run(sentences, "killed")) as driver:
        command.wait_for_journal("killed", 6)
        os.kill(driver.pid, signal.SIGKILL)
    ended = command.run(*run(sentences, "killed"), "--time-budget", "1s")
    assert ended.returncode == 0, ended.stderr
    assert "the study ended early: time budget of 1s used up" in ended.stdout
    assert "the same command goes on, with as much time again: python -m tuning run " in ended.stdout
    assert "the study ended early: time budget of 1s used up" in command.succeed("best", "killed")
    assert len(command.content("killed")) < 9
    with command.start(*run(sentences, "killed")) as driver:
        command.wait_for_journal("killed", 30)
        victims = command.workers()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        command.wait_for_journal("killed", 50)
        os.kill(driver.pid, signal.SIGINT)
        out, err = driver.communicate(timeout=120)
    assert victims
    assert "going on with study killed" in out
    assert driver.returncode == 130
    assert "the same command goes on: python -m tuning run" in err
    assert "Traceback" not in err
    assert len([record for record in command.content("killed") if record[1] == "RUNNING"]) <= 3  # the window
    assert "ended early" not in command.succeed(*run(sentences, "killed", "--workers", "1"), "--time-budget", "5h")
    assert command.content("killed") == command.content(whole)


def test_a_trial_that_fails_stands_in_the_table_and_the_study_goes_on(command: Command, sentences: Path) -> None:
    explosive = ("--set", "optimizer=adamw", "--set", "learning_rate=9e15", "--set", "weight_decay=9e15")
    words = run(sentences, "failing", "--space", "notebook", *explosive, "--workers", "1")
    out = command.succeed(*("4" if word == "9" else word for word in words))
    states = [record[1] for record in command.content("failing")]
    assert states[0] != "FAIL"
    assert states.count("FAIL") >= 1
    assert "failed: TrainingError: " in out
