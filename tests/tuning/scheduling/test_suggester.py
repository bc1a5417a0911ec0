"""tuning.scheduling.suggester: a suggestion depends on the plan and on the trials it may see, and on nothing else."""

import os
import subprocess
import sys
from functools import cache

import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.support.study_configs import again, config_of, finished, outcomes, plan
from tuning.scheduling.samplers import SAMPLERS
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.suggester import Suggester, is_ready, visible_trials
from tuning.space.load import load_space

GP = pytest.param("gp", marks=pytest.mark.slow)
EACH_SAMPLER = [GP if name == "gp" else name for name in SAMPLERS]


@cache
def a_study(sampler: str) -> tuple[StudyConfig, list[FrozenTrial]]:
    """A plan and its first trials, few for gp, which takes half a second for each."""
    the_plan = plan(sampler=sampler, startup=2)
    return the_plan, outcomes(the_plan, 5 if sampler == "gp" else 12)


@pytest.mark.parametrize("sampler", EACH_SAMPLER)
def test_a_suggestion_is_the_same_whatever_was_asked_before(sampler: str) -> None:
    """One who made all suggestions, and one who comes new to the study, as after a restart, say the same."""
    the_plan, trials = a_study(sampler)
    old = Suggester(the_plan)
    for number in range(len(trials)):
        assert old.suggest(trials[:number]).config == config_of(trials[number])
    assert Suggester(the_plan).suggest(trials) == old.suggest(trials)
    assert Suggester(the_plan).suggest(trials[:4]).config == config_of(trials[4])


@pytest.mark.parametrize("sampler", EACH_SAMPLER)
def test_a_suggestion_does_not_know_what_lies_inside_the_window(sampler: str) -> None:
    """Trials n-window+1..n-1 count as running, whatever they came to."""
    the_plan, trials = a_study(sampler)
    hidden = [again(trial, 0.99 - 0.01 * i) for i, trial in enumerate(trials[-2:])]
    assert Suggester(the_plan).suggest([*trials[:-2], *hidden]) == Suggester(the_plan).suggest(trials)


@pytest.mark.parametrize("sampler", ["tpe", GP])
def test_a_suggestion_does_know_what_lies_before_the_window(sampler: str) -> None:
    the_plan, trials = a_study(sampler)
    turned = [again(trial, 1 - (trial.value or 0)) for trial in trials[:-2]]
    assert Suggester(the_plan).suggest([*turned, *trials[-2:]]) != Suggester(the_plan).suggest(trials)


def test_cmaes_goes_where_trials_were_better() -> None:
    """On a score that is the output dropout itself, later suggestions are higher than those at random."""
    the_plan = plan(sampler="cmaes", startup=1, window=1, stopping=None)
    suggester, trials = Suggester(the_plan), []
    for _ in range(60):
        suggestion = suggester.suggest(trials)
        trials.append(finished(the_plan, suggestion, suggestion.config.fc_dropout))
    late = [trial.params["fc_dropout"] for trial in trials[-15:]]
    assert sum(late) / len(late) > 0.5  # the range is 0.1 to 0.6


def test_qmc_fills_the_space_evenly_from_its_first_suggestion_on() -> None:
    the_plan = plan(sampler="qmc")
    trials = outcomes(the_plan, 17)
    dropouts = sorted(trial.params["fc_dropout"] for trial in trials[1:])
    cells = {int((dropout - 0.1) / 0.5 * 16) for dropout in dropouts}
    assert len(cells) == 16


@pytest.mark.parametrize("sampler", EACH_SAMPLER)
def test_another_seed_gives_another_suggestion(sampler: str) -> None:
    assert outcomes(plan(sampler=sampler), 3)[2].params != outcomes(plan(sampler=sampler, seed=8), 3)[2].params


@pytest.mark.slow
def test_suggestions_do_not_depend_on_pythons_hash_seed() -> None:
    script = (
        "from tests.support.study_configs import outcomes, plan\n"
        "print([[t.params for t in outcomes(plan(sampler=s, startup=3), 10)][-1] for s in ('tpe', 'qmc', 'cmaes')])"
    )
    other = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, "PYTHONHASHSEED": other},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    here = [outcomes(plan(sampler=s, startup=3), 10)[-1].params for s in ("tpe", "qmc", "cmaes")]
    assert said == f"{here}\n"


def test_what_suggestion_n_sees() -> None:
    trials = outcomes(plan(), 6)
    assert [len(visible_trials(trials[:n], n, 3)) for n in range(7)] == [0, 0, 0, 1, 2, 3, 4]


def test_a_suggestion_waits_for_what_it_may_see_and_for_nothing_else() -> None:
    the_plan = plan(window=2)
    trials = outcomes(the_plan, 3)
    trials[2].state = TrialState.RUNNING
    assert is_ready(the_plan, trials)
    trials[1].state = TrialState.RUNNING
    assert not is_ready(the_plan, trials)


@pytest.mark.parametrize("sampler", EACH_SAMPLER)
def test_no_configuration_comes_twice_while_there_are_others(sampler: str) -> None:
    """Three layers by four poolings."""
    space = load_space("notebook", ["n_layers=int(1,3)", "pooling=choice(last,max,mean,attention)",
                                    "hidden_dim=16", "lstm_dropout=0", "fc_dropout=0.5",
                                    "learning_rate=0.5", "freeze_embedding=false"])  # fmt: skip
    the_plan = plan(space=space, sampler=sampler, startup=2, window=1)
    trials = outcomes(the_plan, 5)
    assert len({str(config_of(trial)) for trial in trials}) == 5


@pytest.mark.parametrize("sampler", EACH_SAMPLER)
def test_where_there_is_no_other_the_first_ones_result_is_taken(sampler: str) -> None:
    space = load_space("notebook", ["n_layers=int(1,2)", "hidden_dim=16", "lstm_dropout=0", "fc_dropout=0.5",
                                    "learning_rate=0.5", "freeze_embedding=false"])  # fmt: skip
    trials = outcomes(plan(space=space, sampler=sampler, window=1, startup=2), 6)
    origins = [trial.user_attrs["origin"] for trial in trials]
    assert origins[0] == "baseline"
    assert origins.count("sampler") == 2
    for trial, origin in zip(trials, origins, strict=True):
        if origin.startswith("copy of "):
            first = origin.removeprefix("copy of ")
            assert config_of(trials[int(first)]) == config_of(trial)
            assert origins[int(first)] == "sampler"


def test_knowledge_of_another_study_moves_the_first_suggestions() -> None:
    """With eight known outcomes tpe need not start at random."""
    knowledge = tuple(again(t, 0.9 if t.params["pooling"] == "max" else 0.1) for t in outcomes(plan(seed=1), 20))
    warm = plan(prior_trials=knowledge, warm_start={"study": "other"}, window=1)
    poolings = [trial.params["pooling"] for trial in outcomes(warm, 9)[1:]]
    assert poolings.count("max") >= 5
    assert outcomes(warm, 4)[3].params == outcomes(warm, 9)[3].params


def test_cmaes_starts_where_the_other_study_was_good() -> None:
    knowledge = tuple(again(t, t.params["fc_dropout"]) for t in outcomes(plan(seed=1, sampler="random"), 30))
    warm = plan(prior_trials=knowledge, warm_start={"study": "other"}, window=1, sampler="cmaes", startup=1)
    dropouts = [trial.params["fc_dropout"] for trial in outcomes(warm, 9)[2:]]
    assert sum(dropouts) / len(dropouts) > 0.45
