"""Budgets end a study early: the whole command, with its trials trained in this process."""

import json
from pathlib import Path

from tests.support.command import Command
from tests.support.searches import run


def test_failed_trials_are_in_the_table_and_patience_ends_a_study_that_the_same_command_trains_no_more(
    command: Command, sentences: Path
) -> None:
    """That it ends alike for any number of workers: tests/simulator."""
    explosive = ("--set", "optimizer=adamw", "--set", "learning_rate=9e15", "--set", "weight_decay=9e15")
    words = run(sentences, "short", "--space", "notebook", *explosive, "--patience-trials", "2", "--target", "1")
    said = command.train_here(*words)
    states = [record[1] for record in command.content("short")]
    assert states[0] != "FAIL"
    assert states.count("FAIL") >= 1
    assert "failed: TrainingError: " in said
    assert "the study ended early: " in said
    assert "pass another --target or --patience-trials, or none, to continue the study" in " ".join(said.split())
    shown = json.loads(command.succeed("best", "short", "--format", "json"))
    trials = [row for row in shown if isinstance(row["trial"], int)]  # the ensemble and the references have rows too
    assert len(trials) <= len(command.content("short")) < 9
    journal = (command.results / "short" / "study.journal").read_bytes()
    assert "study short has ended: " in command.train_here(*words)
    assert (command.results / "short" / "study.journal").read_bytes() == journal
