"""What ends a study early, with the real command line."""

import json
from pathlib import Path

from tests.system.command import Command
from tests.system.searches import run


def test_patience_ends_a_study_alike_for_one_worker_and_two(command: Command, sentences: Path) -> None:
    for name, workers in (("one", "1"), ("two", "2")):
        said = command.succeed(*run(sentences, name, "--workers", workers, "--patience-trials", "2", "--target", "1"))
        assert "the study ended early: " in said
        assert "do not count: which were begun depended on time" in said
        assert "the same command with another --target or --patience-trials, or without, goes on" in said
    assert command.content("one") == command.content("two")
    rows = [json.loads(command.succeed("best", name, "--format", "json")) for name in ("one", "two")]
    assert [row["trial"] for row in rows[0]] == [row["trial"] for row in rows[1]]
    assert len(command.content("one")) < 9
    journal = (command.results / "one" / "study.journal").read_bytes()
    assert "study one has ended: " in command.succeed(*run(sentences, "one", "--patience-trials", "2", "--target", "1"))
    assert (command.results / "one" / "study.journal").read_bytes() == journal
