"""ensemble: killed, it resumes and writes the same model."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.studies import add_plain_baseline, make_study, setting, write_noisy

HOW = ("--size", "4", "--workers", "1", "--out")


@pytest.fixture(scope="module")
def searched(command: Command) -> Path:
    """A study with a plain baseline."""
    sentences = write_noisy(command.results / "noisy.csv", 600)
    trials = setting(), setting(hidden_dim=12, pooling="mean"), setting(hidden_dim=9, learning_rate=0.02)
    make_study(command.results / "searched", sentences, None, *trials)
    add_plain_baseline(command.results / "searched", None)
    return command.results / "searched"


def files_of(folder: Path) -> Mapping[str, bytes]:
    """Return the files that do not depend on the command line or on earlier test evaluations."""
    named = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {name: data for name, data in named.items() if name not in ("metrics.json", "card.md", "SHA256SUMS")}


@pytest.fixture(scope="module")
def model(command: Command, searched: Path) -> Path:
    """The model of a command without Ray."""
    out = command.results / "whole"
    said = command.train_here("ensemble", "searched", *HOW, str(out))
    assert said.splitlines()[-1].startswith(f"next: python -m tuning predict {out} ")
    assert "REPRODUCED 3/3 epochs and the final weights" in said
    return out


@pytest.mark.parametrize("real_ray", [False, pytest.param(True, marks=pytest.mark.chaos)])
def test_after_a_kill_there_is_no_model_and_it_resumes_and_gives_the_same_one(
    command: Command, searched: Path, model: Path, tmp_path: Path, real_ray: bool
) -> None:
    """What Ray does to a member's data and result, tests/tuning/ensemble/test_command.py checks without its start."""
    study = searched.with_name(f"killed-{real_ray}")
    shutil.copytree(searched, study)
    words = ("ensemble", study.name, *HOW, str(tmp_path / "model"))
    command.kill_at_checkpoint(1, *words)
    assert not (tmp_path / "model").exists()
    assert list((study / "checkpoints").glob("ensemble-*/*/epoch-*"))

    resume = command.succeed if real_ray else command.train_here
    resume(*words)

    assert files_of(tmp_path / "model") == files_of(model)
    assert list((study / "checkpoints").iterdir()) == []
