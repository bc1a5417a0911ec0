"""Files and output for users are unchanged: the golden files, see tests/support/golden_study.py."""

import json
from pathlib import Path

import pytest

from core.inference.predictor import load_model
from core.training.checkpoint import load_latest
from tests.support.golden_files import GOLDEN, differences, files_in
from tests.support.golden_study import GROUPS, JOURNAL, NAME, fresh, printed


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_made_is_what_was_made_before(group: str, tmp_path: Path) -> None:
    assert differences(group, GROUPS[group](tmp_path)) == []


def test_no_golden_file_is_forgotten() -> None:
    assert {name.split("/")[0] for name in files_in(GOLDEN)} == set(GROUPS)


def test_a_study_that_was_written_before_is_read_to_the_same_tables(tmp_path: Path) -> None:
    golden = files_in(GOLDEN / "study")
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / JOURNAL).write_bytes(golden.pop(JOURNAL))
    assert printed(tmp_path) == golden


def test_a_model_that_was_saved_before_is_loaded() -> None:
    model = load_model(GOLDEN / "model", notify=print)  # its tokenizer is of no version
    assert model.predict(["w1 w2"])[0].label in ("class 0", "class 1")


def test_a_checkpoint_that_was_saved_before_is_read() -> None:
    training = json.loads((GOLDEN / "checkpoint" / "epoch-00003" / "state.json").read_text())["training"]
    found = load_latest(GOLDEN / "checkpoint", training)
    assert found is not None
    assert (found.epoch, found.state["step_counts"]) == (3, [15])


def test_the_fixed_checkpoint_has_the_state_of_a_real_one() -> None:
    real = json.loads((GOLDEN / "training" / "training.json").read_text())["runs"]["frozen"]["checkpoint_state"]
    fixed = json.loads((GOLDEN / "checkpoint" / "epoch-00003" / "state.json").read_text())["state"]
    assert sorted(fixed) == real


def test_the_fresh_runs_of_the_fixed_study_have_what_a_real_one_has() -> None:
    real = json.loads((GOLDEN / "training" / "training.json").read_text())["fresh_run"]
    assert fresh(0, 0).keys() == real.keys()
