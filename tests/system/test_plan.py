"""`sentune plan` with the real command line and a real, short probe."""

import json
from pathlib import Path

from tests.support.command import Command
from tests.support.searches import run


def test_a_plan_tells_what_run_would_do_whether_it_fits_and_makes_no_study(command: Command, sentences: Path) -> None:
    words = ("plan", *run(sentences, "planned")[1:], "--workers", "1", "--time-budget", "1s", "--format", "json")
    content = json.loads(command.succeed(*words))
    assert (content["study"], content["trials"], content["workers"], content["parallelism"]) == ("planned", 9, 1, 3)
    assert (content["rungs"], content["epochs_without_stopping"]) == ([1, 2], 36)
    assert 9 <= content["epochs"]["low"] <= content["epochs"]["high"] <= 36
    assert content["probe"]["settings"] == 3 + 16  # the first of each virtual worker, and those drawn
    assert 0 < content["seconds"]["low"] < content["seconds"]["high"]
    assert 150e6 < content["memory_bytes"]["worker"] < content["memory_bytes"]["all"]
    (warning,) = content["warnings"]
    assert "not even one trial fits --time-budget 1s; pass --time-budget " in warning
    assert not (command.results / "planned").exists()


def test_a_plan_counts_the_trials_of_its_own_study_and_not_of_another_search(command: Command, sentences: Path) -> None:
    """Both have the default name: the one of the file and the space."""
    words = ("--vectors", "none", "--embedding-dim", "8", "--set", "hidden_dim=8", "--epochs", "1")
    command.train_here("run", str(sentences), *words, "--trials", "2")
    fewer = command.train_here("plan", str(sentences), *words, "--trials", "1")
    assert "2 trials, 2 of them done, of up to 1 epochs" in fewer  # as `run`, which removes no trial
    other = command.run_here("plan", str(sentences), *words, "--trials", "2", "--seed", "7")
    assert other.returncode == 0
    assert "2 trials of up to 1 epochs" in other.stdout
    assert "is another search (" in other.stderr
    assert "choose another --name for this one" in other.stderr
