"""What ends a study early, with the real command line."""

import json
from pathlib import Path

from tests.system.command import Command
from tests.system.searches import run, search
from tuning.records import read_study


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


def test_running_trials_end_their_epoch_and_keep_their_checkpoints(tmp_path: Path) -> None:
    """As after Ctrl-C; here the time is up when the third epoch is reported."""
    search(
        tmp_path / "s",
        """
        from tuning.budgets import Budget
        from tuning.trial import run_trial as work

        class Heard(Heard):
            def epoch(self, number, result):
                super().epoch(number, result)
                if len([event for event in self.events if event.startswith("epoch")]) == 3:
                    interruption.end(Budget(seconds=60).time_up)
        """,
        plan="n_trials=6, epochs=50, stopping=None",
        workers=2,
    )
    records = read_study(tmp_path / "s")[1]
    assert {record.state for record in records} == {"RUNNING"}
    assert 3 <= sum(len(record.epochs) for record in records) < 20
    for record in records:
        if record.epochs:
            checkpoints = tmp_path / "s" / "checkpoints" / f"{record.number:05d}"
            assert (checkpoints / f"epoch-{len(record.epochs):05d}").is_dir()
