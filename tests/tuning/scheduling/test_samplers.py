"""tuning.scheduling.samplers: the samplers, and the trials that they are shown."""

from importlib.machinery import ModuleSpec
from typing import Any, get_type_hints

import optuna
import pytest
import torch
from optuna.trial import TrialState

from core.errors import ConfigError
from core.nn.runtime import torch_threads
from tests.support.study_configs import again, outcomes, plan
from tuning.run_options import RunOptions
from tuning.scheduling import samplers
from tuning.scheduling.asha import FAILED
from tuning.scheduling.samplers import (
    SAMPLERS,
    check_sampler,
    cmaes_dimensions,
    make_sampler,
    needed_settings,
    prior_view,
    random_params,
    result_view,
    suggest_once,
    trial_view,
)
from tuning.scheduling.virtual_clock import VisibleResult
from tuning.space.load import load_space


def test_a_sampler_whose_package_is_missing_is_refused_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None if name == "cmaes" else ModuleSpec(name, None)

    monkeypatch.setattr(samplers, "find_spec", find_spec)
    check_sampler("gp")
    with pytest.raises(ConfigError, match="--sampler cmaes needs more packages; run pip install cmaes, or choose"):
        check_sampler("cmaes")


def test_a_stopped_trial_of_another_study_is_stopped_to_tpe_and_finished_to_gp() -> None:
    stopped = outcomes(plan(), 3)[2]
    assert stopped.state == TrialState.PRUNED
    assert prior_view(stopped, 3, "tpe").state == TrialState.PRUNED
    assert prior_view(stopped, 3, "tpe").intermediate_values == stopped.intermediate_values
    assert (prior_view(stopped, 3, "gp").state, prior_view(stopped, 3, "gp").value) == (
        TrialState.COMPLETE,
        stopped.value,
    )


@pytest.mark.parametrize(
    ("sampler", "epoch", "state"),
    [
        ("tpe", 2, TrialState.PRUNED),
        ("tpe", 4, TrialState.COMPLETE),
        ("gp", 2, TrialState.COMPLETE),
        ("gp", 4, TrialState.COMPLETE),
    ],
)
def test_a_visible_result_is_all_that_a_sampler_sees_of_a_trial(sampler: str, epoch: int, state: TrialState) -> None:
    """Before its last epoch the trial counts as stopped, whether or not it will continue. It has ended since then."""
    trial = outcomes(plan(), 2)[1]
    view = result_view(trial, 5, VisibleResult(1, epoch, 0.25), plan(sampler=sampler))
    assert (view.number, view.state, view.value, view.params) == (5, state, 0.25, trial.params)
    assert view.intermediate_values == {epoch: 0.25}


def test_a_failed_result_is_a_failed_trial_without_a_score() -> None:
    view = result_view(outcomes(plan(), 2)[1], 5, VisibleResult(1, 2, FAILED), plan())
    assert (view.state, view.value, view.intermediate_values) == (TrialState.FAIL, None, {})


def test_a_running_trial_shows_its_parameters_and_no_outcome() -> None:
    trial = outcomes(plan(), 2)[1]
    shown = trial_view(trial, 5, TrialState.RUNNING)
    assert (shown.state, shown.number, shown.params) == (TrialState.RUNNING, 5, trial.params)
    assert (shown.value, shown.intermediate_values) == (None, {})


def test_a_new_sampler_draws_what_optuna_draws_in_a_study_of_those_trials() -> None:
    """Showing trials without copying them changes nothing."""
    the_plan = plan(parallelism=1)
    trials = outcomes(the_plan, 12)
    ours = suggest_once(
        make_sampler("tpe", the_plan, 3),
        the_plan.space,
        [prior_view(trial, number, "tpe") for number, trial in enumerate(trials, 1)],
    )
    with samplers.quiet_optuna():
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(
                seed=3, multivariate=True, group=True, constant_liar=True, n_startup_trials=6
            ),
        )
    study.add_trials(trials)
    assert the_plan.space.suggest(study.ask()) == ours


def test_the_help_names_every_sampler() -> None:
    """The text is written out: SAMPLERS imports Optuna, which --help does without."""
    option = get_type_hints(RunOptions, include_extras=True)["sampler"].__metadata__[0]
    *names, last = SAMPLERS
    assert option.help == f"Sampler: {', '.join(names)} or {last}."


def test_cmaes_takes_no_trials_of_another_study_below_ten() -> None:
    """Optuna's CMA-ES fails on fewer: it uses their best tenth."""
    space = plan().space
    finished = [trial for trial in outcomes(plan(sampler="random"), 20) if trial.state == TrialState.COMPLETE]
    visible = [prior_view(trial, number, "cmaes") for number, trial in enumerate(finished[1:4], 1)]
    for last in (10, 11):  # the baseline lacks the learning rate
        sampler = make_sampler("cmaes", plan(startup=1, prior_trials=tuple(finished[1:last])), 1)
        assert suggest_once(sampler, space, visible).keys() <= {d.name for d in space.dimensions}


def test_random_configurations_follow_from_a_seed_and_each_prefix_is_the_same() -> None:
    space = plan().space
    assert random_params(space, 3, 5) == random_params(space, 3, 9)[:5]
    assert random_params(space, 3, 5) != random_params(space, 4, 5)
    assert len({str(params) for params in random_params(space, 3, 9)}) == 9


def test_a_setting_whose_condition_is_fixed_is_in_each_trial() -> None:
    """The baseline has another optimizer: with it, gp would draw the learning rate at random."""
    adam = load_space("default", ["optimizer=adam"])
    assert "learning_rate_adam" in needed_settings("gp", adam)
    assert "learning_rate_adam" in cmaes_dimensions(adam)
    assert "learning_rate_adam" not in needed_settings("gp", load_space("default"))


def test_gp_computes_on_one_thread_of_a_program_with_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise its suggestions could depend on the number of cores."""
    seen = list[int]()

    def spy(*_: object) -> dict[str, Any]:
        seen.append(torch.get_num_threads())
        return {}

    monkeypatch.setattr(optuna.samplers.GPSampler, "infer_relative_search_space", spy)
    with torch_threads(2):
        suggest_once(make_sampler("gp", plan(), 1), plan().space, [])
    assert seen == [1]


def test_a_setting_whose_condition_allows_each_choice_is_in_each_trial() -> None:
    space = load_space("default", ["optimizer=[adam, adamw]", "n_layers=int(2, 3)"])
    assert {"learning_rate_adam", "lstm_dropout"} <= cmaes_dimensions(space).keys()
    assert "weight_decay" not in cmaes_dimensions(space)


LEARN = [pytest.param(n, marks=pytest.mark.slow) if n == "gp" else n for n, info in SAMPLERS.items() if info.learns]


@pytest.mark.parametrize("sampler", LEARN)
def test_a_sampler_that_learns_uses_the_trials_of_another_study(sampler: str) -> None:
    theirs = outcomes(plan(seed=1, sampler="random"), 14)[1:]
    found = []
    for sign in (1, -1):
        prior = tuple(again(trial, sign * trial.params["fc_dropout"]) for trial in theirs)
        start = {"study": "other", "sha256": "70"}
        warm = plan(prior_trials=prior, warm_start=start, parallelism=1, sampler=sampler, startup=1)
        found.append(outcomes(warm, 3)[2].params)
    assert found[0] != found[1]
