"""What ends a study early, with the real command line."""

import json
from pathlib import Path

from tests.support.command import Command
from tests.support.searches import run


def test_patience_ends_a_study_and_the_same_command_trains_no_more(command: Command, sentences: Path) -> None:
    """That it ends alike for any number of workers: tests/tuning/scheduling/test_schedule_rounds.py."""
    words = run(sentences, "short", "--patience-trials", "2", "--target", "1")
    said = command.succeed(*words)
    assert "the study ended early: " in said
    assert "do not count: which were begun depended on time" in said
    assert "the same command with another --target or --patience-trials, or without, goes on" in said
    assert len(json.loads(command.succeed("best", "short", "--format", "json"))) <= len(command.content("short")) < 9
    journal = (command.results / "short" / "study.journal").read_bytes()
    assert "study short has ended: " in command.succeed(*words)
    assert (command.results / "short" / "study.journal").read_bytes() == journal
