"""A study whose epochs are parts of a pass: search, continued, then a model of train and validation."""

import json
from pathlib import Path

from tests.support.command import Command
from tuning.journal.folder import JOURNAL
from tuning.journal.reader import closes_trial
from tuning.journal.records import read_study


def search(sentences: Path, name: str, *more: str) -> tuple[str, ...]:
    return ("run", str(sentences), "--vectors", "none", "--embedding-dim", "8", "--trials", "3", "--parallelism", "2",
            "--set", "hidden_dim=int(4,16)", "--name", name, *more)  # fmt: skip


def test_epochs_of_a_third_of_a_pass_are_those_of_the_study_when_it_continues(
    command: Command, sentences: Path
) -> None:
    length = ("--epochs", "6", "--epoch-sentences", "100")
    assert "\nepochs " not in command.train_here(*search(sentences, "whole", *length))
    spec = read_study(command.results / "whole")[0]["spec"]
    assert (spec["epochs"], spec["epoch_sentences"]) == (6, 100)

    command.train_here(*search(sentences, "continued", *length, "--trials", "2"))
    journal = command.results / "continued" / JOURNAL
    trained = b"".join(line for line in journal.read_bytes().splitlines(keepends=True) if not closes_trial(line))
    said = command.train_here(*search(sentences, "continued"))
    assert "continuing study continued: 2 of 3 trials have ended" in said
    assert journal.read_bytes().startswith(trained)  # the trials are opened again
    assert "epochs      6 of 100 sentences (auto: as recorded in the study)" in said
    assert command.content("continued") == command.content("whole")

    refused = command.run_here(*search(sentences, "whole", "--epoch-sentences", "200"))
    assert refused.returncode == 2
    assert "epoch_sentences 100, this command has 200" in refused.stderr

    said = command.succeed("retrain", "whole", "--out", "model", "--on", "train+val", "--strict")
    assert "REPRODUCED" in said
    found = json.loads((command.results / "model" / "metrics.json").read_text())
    batch = json.loads((command.results / "model" / "config.json").read_text())["members"][0]["config"]["batch_size"]
    a_pass = -(-320 // batch)
    assert found["steps"] == found["verified_best_epoch"] * -(-a_pass * 100 // 320)
