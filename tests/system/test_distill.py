"""distill from the command line: killed in the middle and resumed, it writes the same model."""

import json
from pathlib import Path

from tests.support.command import Command
from tests.support.studies import make_study, setting


def test_a_killed_distill_ends_with_the_model_of_an_undisturbed_one(
    command: Command, sentences: Path, tmp_path: Path
) -> None:
    make_study(command.results / "s", sentences, None, setting())
    command.succeed("retrain", "s")
    (tmp_path / "more.txt").write_text("the crash of page 3\nthanks a lot\nthe crash, of page 3!\n")
    words = ("distill", str(command.results / "s" / "model"), "s", "--unlabelled", str(tmp_path / "more.txt"))
    command.kill_at_checkpoint(1, *words)
    assert len(list((command.results / "s" / "checkpoints").glob("distill-0/*/*/epoch-*"))) == 1
    assert not (command.results / "s" / "distilled").exists()
    resumed = command.succeed(*words)
    assert "unlabelled: 2 sentences; 1 left out, which are blank, repeated or in the study" in resumed
    assert "RECORDED 3 epochs" in resumed
    assert "next: python -m tuning predict s/distilled " in resumed
    undisturbed = command.succeed(*words, "--out", str(tmp_path / "again"))
    assert "REPRODUCED 3/3 epochs and the final weights" in undisturbed
    found = [
        json.loads((path / "metrics.json").read_text())
        for path in (command.results / "s" / "distilled", tmp_path / "again")
    ]
    assert found[0]["weights_sha256"] == found[1]["weights_sha256"]
    assert command.succeed("predict", str(tmp_path / "again"), "the crash is broken").startswith("bug\t")
    assert list((command.results / "s" / "checkpoints").iterdir()) == []
