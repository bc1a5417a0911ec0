"""retrain from the command line: exit codes, and kills at any moment without loss or partial folders."""

import functools
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from core.inference.saved_model import read_model
from core.io.checked_folder import STALE_SECONDS
from tests.support.command import Command, without_waits
from tests.support.contents import metrics, results_of
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.processes import forked
from tests.support.studies import epoch_record, make_study, setting, tamper
from tuning.journal.records import evaluations_on_test, rank_trials, read_study, study_attributes


@pytest.fixture(scope="module")
def whole(command: Command, sentences: Path) -> Path:
    """A study that no test changes."""
    make_study(command.results / "whole", sentences, None, setting(), setting(pooling="mean"))
    return command.results / "whole"


@pytest.fixture
def study(whole: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of it."""
    folder = whole.with_name(request.node.name)
    shutil.copytree(whole, folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(command: Command, whole: Path) -> dict[str, Any]:
    """The metrics of a retraining on three seeds, undisturbed."""
    folder = whole.with_name("undisturbed")
    shutil.copytree(whole, folder)
    said = command.succeed("retrain", "undisturbed", "--seeds", "3", "--strict")
    assert "REPRODUCED 3/3 epochs and the final weights" in said
    return metrics(folder)


@pytest.mark.usefixtures("undisturbed")
def test_strict_is_0_when_reproduced_and_1_when_not(command: Command, study: Path) -> None:
    """The undisturbed one is strict, and must exit with 0."""
    best = rank_trials(read_study(study)[1])[0].number
    tamper(study, epoch_record(best, 2, train_loss=0.5))
    ended = command.run_here("retrain", study.name, "--strict")
    assert ended.returncode == 1, f"{ended.stdout}\n{ended.stderr}"
    assert "DIFFERS: 1/3 epochs reproduced, then epoch 2 has train_loss " in ended.stdout
    assert ended.stderr == ""
    assert command.run_here("retrain", study.name).returncode == 0


def test_killed_in_mid_training_it_resumes_with_the_same_result(
    command: Command, study: Path, undisturbed: dict[str, Any]
) -> None:
    words = ("retrain", study.name, "--seeds", "3")
    seeds = [row["seed"] for row in undisturbed["seeds"]]
    for checkpoints, newest in ((1, f"{seeds[0]}/*/epoch-00001"), (4, f"{seeds[1]}/*/epoch-00002")):
        command.kill_at_checkpoint(checkpoints, *words)
        assert list(study.glob(f"checkpoints/*/{newest}"))
        assert not (study / "model").exists()
    command.succeed(*words)
    assert results_of(metrics(study)) == results_of(undisturbed)
    assert list((study / "checkpoints").iterdir()) == []
    assert len(evaluations_on_test(study_attributes(study))) >= 3


MOMENTS = {
    "half the files are written": lambda path: path.name == "vocabulary.json",
    "all files are written": lambda path: path.name == "SHA256SUMS" and ".model." in path.parent.name,
}


def die_after_writing(is_it: Callable[[Path], bool]) -> None:
    """Let this process kill itself as soon as it has written a certain file."""
    write = Path.write_bytes

    def written(path: Path, content: bytes) -> int:
        size = write(path, content)
        if is_it(path):
            os.kill(os.getpid(), signal.SIGKILL)
        return size

    patch.object(Path, "write_bytes", written).start()


def test_killed_while_it_saves_it_leaves_no_half_a_model(command: Command, study: Path) -> None:
    for moment, is_it in MOMENTS.items():
        before = list(study.glob(".model.*"))
        command.kill_here(functools.partial(die_after_writing, is_it), "retrain", study.name)
        assert not (study / "model").exists(), moment
        left = list(study.glob(".model.*"))
        assert len(left) > len(before), moment
        assert list(study.glob("checkpoints/*/*/*/epoch-*")), moment  # the trained seeds are kept
    for folder in left:  # as if an hour had passed
        for each in (*folder.iterdir(), folder):
            os.utime(each, (time.time() - STALE_SECONDS - 60,) * 2)
    command.succeed("retrain", study.name)
    read_model(study / "model")
    assert list(study.glob(".model.*")) == []


def test_two_at_once_are_refused_and_ctrl_c_says_that_the_same_command_resumes(
    command: Command, study: Path, tmp_path: Path
) -> None:
    errors = tmp_path / "errors.txt"
    work = functools.partial(command.run_in_fork, errors, "retrain", study.name, "--seeds", "100")
    with forked(work) as first:
        wait_until(lambda: list(study.glob("checkpoints/*/*/*/epoch-00001")) or not first.is_alive(), "no checkpoint")
        assert first.is_alive(), errors.read_text()
        second = command.run_here("retrain", study.name, "--out", str(study / "other"))
        confirm = command.run_here("confirm", study.name)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGINT)
        first.join(PATIENCE_SECONDS)
    said = f"interrupted; run the same command again to resume: python -m tuning retrain {study.name} --seeds 100\n"
    assert (first.exitcode, without_waits(errors.read_text())) == (130, said)
    assert not (study / "model").exists()
    for ended in (second, confirm):
        assert ended.returncode == 2
        assert f"is run by process {first.pid} on " in ended.stderr
        assert ended.stderr.count("\n") == 1
    assert "epoch 1" not in second.stdout
