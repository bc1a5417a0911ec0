"""A study that is validated in folds: search, killed and resumed, then table, model and doubtful labels."""

import json
from pathlib import Path

import pytest

from tests.support.command import Command
from tuning.journal.records import evaluations_on_test, read_study


def search(sentences: Path, name: str) -> tuple[str, ...]:
    return ("run", str(sentences), "--vectors", "none", "--embedding-dim", "8", "--trials", "3", "--epochs", "3",
            "--parallelism", "2", "--workers", "1", "--set", "hidden_dim=int(4,16)", "--validation", "folds:3",
            "--metric", "macro_f1", "--name", name)  # fmt: skip


def test_each_sentence_outside_the_test_split_is_validated_and_a_kill_changes_nothing(
    command: Command, sentences: Path
) -> None:
    said = command.train_here(*search(sentences, "whole"))
    assert "small data" not in said  # it has folds already
    attributes, records = read_study(command.results / "whole")
    counts = attributes["audit"]["splits"]
    assert (counts["val"], counts["train"] + counts["test"]) == (0, 400)
    rows = json.loads(command.succeed("best", "whole", "--format", "json"))
    accuracy = rows[0]["val_accuracy"] * counts["train"]
    assert accuracy == pytest.approx(round(accuracy), abs=1e-9)  # of all sentences outside the test split
    assert {"plain", "major"} <= {row["trial"] for row in rows}

    command.kill_at_checkpoint(4, *search(sentences, "killed"))
    command.train_here(*search(sentences, "killed"))
    assert command.content("killed") == command.content("whole")

    said = command.succeed("retrain", "whole", "--out", "model", "--strict")
    assert "REPRODUCED" in said
    assert "training on all folds together" in said
    assert command.succeed("predict", "model", "the crash is about page 7").split("\t")[0] in (
        "bug",
        "praise",
        "question",
    )
    readings = evaluations_on_test(read_study(command.results / "whole")[0])
    epochs = [(each["verb"], each["on"], each["epochs"]) for each in readings]
    assert epochs == [("retrain", "train", 3)]  # of the verified training, not the passes of the second one
    refused = command.run_here("retrain", "whole", "--seeds", "2")
    assert refused.returncode == 2
    assert "--seeds must be 1 for a study validated in folds" in refused.stderr
    listed = json.loads(command.succeed("data", "--suspects", "whole", "--format", "json"))
    assert 0 < len(listed) < counts["train"]
    assert all(record.state in ("COMPLETE", "PRUNED") for record in records)
