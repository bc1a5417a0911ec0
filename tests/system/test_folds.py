"""A study that is validated in folds: search, killed and resumed, then table, model and doubtful labels."""

import json
from pathlib import Path

import pytest

from tests.support.command import Command
from tuning.journal.records import evaluations_on_test, read_study


def search(sentences: Path, name: str, *more: str) -> tuple[str, ...]:
    return ("run", str(sentences), "--vectors", "none", "--embedding-dim", "8", "--trials", "3", "--epochs", "3",
            "--parallelism", "2", "--workers", "1", "--set", "hidden_dim=int(4,16)", "--validation", "folds:3",
            "--metric", "macro_f1", "--name", name, *more)  # fmt: skip


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
    command.succeed(*search(sentences, "killed"))
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
    assert all(each["label"] != each["predicted"] for each in listed)
    assert all(record.state in ("COMPLETE", "PRUNED") for record in records)


def test_a_new_study_suggests_folds_for_small_data_and_wider_vectors(
    command: Command, sentences: Path, tmp_path: Path
) -> None:
    (tmp_path / "narrow.vec").write_text("film 1 2 3 4 5 6 7 8\n")
    vectors = {"none": str(tmp_path / "narrow.vec")}
    words = [vectors.get(word, word) for word in search(sentences, "split") if word not in ("--validation", "folds:3")]
    first, again = (command.run_here(*words, "--trials", "1", "--epochs", "1") for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0)
    assert "validation sentences: 39, too few to distinguish trials; pass --validation folds:5\n" in first.stdout
    assert "small data  " not in first.stdout
    wider = "the word vectors have 8 dimensions, and more may gain points; pass --vectors FILE with wider ones"
    assert first.stderr.count(wider) == 1
    assert wider not in again.stderr
