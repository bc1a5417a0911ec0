"""confirm with real Ray: the same result after kills, no finished run is lost, and a failing run affects no other."""

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Command, without_waits
from tests.support.contents import outcomes
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.studies import config_record, make_study, setting, tamper
from tuning.journal.records import evaluations_on_test, rank_trials, read_study, study_attributes

HOW = ("--top", "2", "--seeds", "2", "--folds", "3", "--workers", "1")


@pytest.fixture(scope="module")
def searched(command: Command, sentences: Path) -> Path:
    """A study that no test changes."""
    slow = {"batch_size": 8, "hidden_dim": 32}  # slow enough to be killed in the middle
    trials = setting(**slow), setting(**slow, pooling="mean"), setting(**slow, n_layers=2)
    make_study(command.results / "searched", sentences, None, *trials)
    return command.results / "searched"


@pytest.fixture
def study(searched: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of it."""
    folder = searched.with_name(request.node.name)
    shutil.copytree(searched, folder)
    return folder


@pytest.fixture(scope="module")
def whole(command: Command, searched: Path) -> tuple[str, dict[str, Any]]:
    """What a confirmation without Ray printed, and its outcomes."""
    folder = searched.with_name("confirmed")
    shutil.copytree(searched, folder)
    said = command.train_here("confirm", "confirmed", *HOW)
    return said, outcomes(folder)


def wait_for_runs(study: Path, count: int) -> None:
    wait_until(lambda: len(outcomes(study)) >= count, lambda: f"{study} has {len(outcomes(study))} runs", 0.1)


def test_the_cost_comes_first_then_runs_then_table_and_verdict(
    command: Command, searched: Path, whole: tuple[str, dict[str, Any]]
) -> None:
    said, found = whole
    settings = 2 if any(r.origin == "baseline" for r in rank_trials(read_study(searched)[1])[:2]) else 3
    tested = 1 if settings == 2 and rank_trials(read_study(searched)[1])[0].origin == "baseline" else 2
    runs = settings * 2 + 1 + 3 * (1 + tested)  # the plain baseline once; on each fold it, the winner and the baseline
    assert len(found) == runs
    lines = without_waits(said).splitlines()
    cost = next(
        at for at, line in enumerate(lines) if line.startswith(f"{runs} runs; the remaining {runs} take about ")
    )
    assert lines[cost].endswith(", one after the other")
    assert lines[cost + 1].startswith("(each run trains 3 epochs, ")
    assert [line.split(":")[0] for line in lines[cost + 2 : cost + 2 + runs]] == [
        f"run {at} of {runs}" for at in range(1, runs + 1)
    ]
    assert lines[cost + 2 + runs].split()[:3] == ["rank", "trial", "seeds"]
    assert " over 3 folds: test accuracy " in said
    assert "* the baseline: two LSTM layers of width 128, not tuned" in said
    checked = command.succeed("data", "--suspects", "confirmed")
    assert " of 400 sentences, the most probable class is not the label" in checked
    assert "only the validation split" not in checked
    readings = evaluations_on_test(study_attributes(searched.with_name("confirmed")))
    assert len(readings) == runs
    assert {reading.get("epochs") for reading in readings if reading["trial"] is not None} == {3}
    assert {reading["verb"] for reading in readings} == {"confirm"}
    assert sorted(r["split"] for r in readings if r["split"] != "80/10/10") == [
        f"folds:3 fold {k}" for k in range(3) for _ in range(1 + tested)
    ]


def test_the_same_command_again_only_shows_and_json_is_json(
    command: Command, searched: Path, whole: tuple[str, dict[str, Any]]
) -> None:
    journal = searched.with_name("confirmed") / "study.journal"
    before = journal.read_bytes()
    again = command.run_here("confirm", "confirmed", *HOW)
    assert whole[0].endswith(without_waits(again.stdout))
    content = json.loads(command.train_here("confirm", "confirmed", *HOW, "--format", "json"))
    assert "\n".join(content["verdict"]) in again.stdout
    assert journal.read_bytes() == before


def test_after_kills_and_ctrl_c_no_finished_run_is_lost(
    command: Command, study: Path, whole: tuple[str, dict[str, Any]]
) -> None:
    with command.start("confirm", study.name, *HOW) as process:
        wait_for_runs(study, 1)  # the plain baseline's
        victims = wait_until(
            lambda: command.processes("ray::train_run()") or command.processes("ray::train_run"),
            "no run is trained",
            pause=0.1,
        )
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        wait_for_runs(study, 3)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, "Traceback" in err) == (130, False), err
    first, *_, last = err.splitlines()
    kept = "epochs in progress are discarded, completed epochs are kept"
    assert first == f"stopping: {kept}; interrupt again (Ctrl-C) to stop at once"
    assert (
        last
        == f"interrupted; run the same command again to resume: python -m tuning confirm {study.name} {' '.join(HOW)}"
    )
    kept = outcomes(study)
    assert kept.items() <= whole[1].items()
    assert any("majority_val" in outcome for outcome in kept.values())  # the plain baseline's, by Ray
    said = command.train_here("confirm", study.name, *HOW)
    assert f"{len(whole[1])} runs, {len(kept)} of them done; the remaining" in said
    assert outcomes(study) == whole[1]
    assert list((study / "checkpoints").iterdir()) == []


def test_a_run_that_fails_is_reported_and_does_not_end_the_rest(
    command: Command, study: Path, whole: tuple[str, dict[str, Any]]
) -> None:
    second = rank_trials(read_study(study)[1])[1].number
    for trial in range(3):  # this test kills nothing
        tamper(study, config_record(trial, batch_size=64))
    tamper(study, config_record(second, optimizer="adamw", learning_rate=9e15, weight_decay=9e15))
    said = command.train_here("confirm", study.name, "--top", "2", "--seeds", "2")
    assert f"trial {second}, seed " in said
    assert " failed: TrainingError: the loss is " in said
    assert f"trial {second} failed: TrainingError: " in said
    good = [kept for kept in outcomes(study).values() if "error" not in kept]
    assert len([kept for kept in outcomes(study).values() if "error" in kept]) == 2
    assert len(good) == len(outcomes(study)) - 2 >= 2


def test_other_data_are_refused_before_anything_is_trained(
    command: Command, study: Path, sentences: Path, tmp_path: Path
) -> None:
    other = tmp_path / "tickets.csv"
    other.write_text(sentences.read_text().replace("user 7,", "user 8,"))
    ended = command.run_here("confirm", study.name, "--dataset", str(other))
    assert ended.returncode == 2
    assert "the data differ from the study's (data sha256 " in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert outcomes(study) == {}
