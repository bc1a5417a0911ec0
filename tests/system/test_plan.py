"""`sentune plan` with the real command line and a real, short probe."""

import json
import re
from pathlib import Path

from tests.support.command import Command
from tests.support.searches import run


def test_a_plan_tells_what_run_would_do_whether_it_fits_and_makes_no_study(command: Command, sentences: Path) -> None:
    words = ("plan", *run(sentences, "planned")[1:], "--workers", "1", "--time-budget", "1s", "--format", "json")
    content = json.loads(command.succeed(*words))
    assert (content["study"], content["trials"], content["workers"], content["parallelism"]) == ("planned", 9, 1, 3)
    assert (content["rungs"], content["epochs_without_stopping"]) == ([1, 2], 36)
    assert 9 <= content["epochs"]["low"] <= content["epochs"]["high"] <= 36
    assert content["probe"]["settings"] == 9  # the baseline and the portfolio: all trials of the study
    assert 0 < content["seconds"]["low"] < content["seconds"]["high"]
    assert 150e6 < content["memory_bytes"]["worker"] < content["memory_bytes"]["all"]
    (warning,) = content["warnings"]
    assert "not even one trial fits --time-budget 1s; pass --time-budget " in warning
    assert not (command.results / "planned").exists()


def test_a_plan_counts_the_trials_of_its_own_study_and_not_of_another_search(command: Command, sentences: Path) -> None:
    """Both have the default name: the one of the file and the space."""
    words = ("--vectors", "none", "--embedding-dim", "8", "--set", "hidden_dim=8", "--epochs", "1")
    command.train_here("run", str(sentences), *words, "--trials", "2")
    more = command.train_here("plan", str(sentences), *words, "--trials", "3")
    assert "3 trials, 2 of them ended, of up to 1 epochs" in more
    assert "\nepochs: at most 1, " in more
    other = command.run_here("plan", str(sentences), *words, "--trials", "2", "--seed", "7")
    assert other.returncode == 0
    assert "2 trials of up to 1 epochs" in other.stdout
    assert "is another search (" in other.stderr
    assert "choose another --name for this one" in other.stderr


def test_a_plan_of_a_study_of_which_run_trains_nothing_is_one_line(command: Command, sentences: Path) -> None:
    words = (str(sentences), "--vectors", "none", "--embedding-dim", "8", "--set", "hidden_dim=8", "--epochs", "1")
    command.train_here("run", *words, "--name", "whole", "--trials", "2")
    for trials in ("2", "1"):  # `run` removes no trial
        whole = (*words, "--name", "whole", "--trials", trials)
        planned = command.run_here("plan", *whole)
        assert (planned.stdout, planned.stderr) == ("study whole is complete: 2 trials; run would train nothing\n", "")
        assert "study whole is complete: 2 trials\n" in command.train_here("run", *whole)
    ended = (*words, "--name", "ended", "--trials", "9", "--target", "0.01")
    command.train_here("run", *ended)
    text = command.train_here("plan", *ended)
    assert re.fullmatch(r"study ended has ended: target 0\.01 reached by trial \d; run would train nothing\n", text)
    assert text.split(";")[0] in command.train_here("run", *ended)
    content = json.loads(command.train_here("plan", *ended, "--format", "json"))
    assert (content["trials"], content["seconds"]["high"], content["warnings"]) == (9, 0, [])
