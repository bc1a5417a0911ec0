"""tuning.run_options: what is settled when a study is made, and stays as it was then."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import typer

from core.errors import ConfigError
from tests.support.corpora import tiny_corpus
from tests.support.study_configs import configured, options
from tuning.cli.app import app
from tuning.journal.writer import open_study
from tuning.resources.machine import TrialResources
from tuning.run_options import RunOptions
from tuning.scheduling.budget import Budget
from tuning.scheduling.study import StudyConfig, study_spec
from tuning.scheduling.successive_halving import SuccessiveHalving


def made(plan: StudyConfig, folder: Path) -> None:
    """A study of this plan."""
    with open_study(
        folder, json.loads(json.dumps(study_spec(plan, tiny_corpus(), {"dataset": "tiny"}, TrialResources())))
    ):
        pass


def bf16(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr("tuning.run_options.supports_bf16", lambda device: has)


def test_precision_is_that_of_the_machine_on_which_the_study_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bf16(monkeypatch, True)
    plan = configured(options(tmp_path))
    assert plan.precision == "bf16"
    assert configured(options(tmp_path, precision="fp32")).precision == "fp32"
    assert configured(options(tmp_path, address="ray://there")).precision == "fp32"  # nobody asked its nodes
    made(plan, tmp_path / "s")
    bf16(monkeypatch, False)
    assert configured(options(tmp_path)).precision == "bf16"
    assert configured(options(tmp_path, name="other")).precision == "fp32"


def test_options_are_keyword_arguments_with_the_defaults_of_the_command_line() -> None:
    run = typer.main.get_command(app).commands["run"].make_context("run", ["x.csv", "--trials", "4"])  # type: ignore[attr-defined]
    here = RunOptions(dataset="x.csv", trials=4)
    given = {name: value or None if name == "overrides" else value for name, value in run.params.items()}
    assert given == {field.name: getattr(here, field.name) for field in dataclasses.fields(RunOptions)}
    assert (here.folder, here.resources, here.budget) == (Path("results/x-quick"), TrialResources(), Budget())


def test_a_stopping_rule_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--stopping must be one of halving, none, got 'asha'"):
        options(tmp_path, stopping="asha")


def test_a_precision_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--precision must be one of auto, fp32, bf16, got 'fp64'"):
        options(tmp_path, precision="fp64")


def test_the_first_trials_are_compared_with_one_another_as_many_as_may_begin_at_once(tmp_path: Path) -> None:
    def together(**changes: Any) -> int:
        rule = configured(options(tmp_path, **changes)).stopping
        assert isinstance(rule, SuccessiveHalving)
        return rule.cohort

    assert (together(), together(window=5), together(trials=3), together(window=1)) == (8, 5, 3, 1)
    assert configured(options(tmp_path, stopping="none")).stopping is None


def test_a_study_that_gets_more_trials_compares_as_many_as_before(tmp_path: Path) -> None:
    made(configured(options(tmp_path, trials=3)), tmp_path / "s")
    rule = configured(options(tmp_path, trials=16)).stopping
    assert isinstance(rule, SuccessiveHalving)
    assert rule.cohort == 3
    with pytest.raises(ConfigError, match=r"--trials must be at least 3, as many trials as are compared .* got 2"):
        configured(options(tmp_path, trials=2))
