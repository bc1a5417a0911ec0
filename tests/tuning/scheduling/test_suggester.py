"""tuning.scheduling.suggester: a suggestion depends on the plan, all earlier parameters and the visible results."""

import dataclasses
import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from optuna.samplers import BaseSampler, CmaEsSampler
from optuna.trial import FrozenTrial

from core.config import TrialConfig
from tests.support.loaded import ROOT
from tests.support.study_configs import (
    ONE_OR_TWO_LAYERS,
    again,
    config_of,
    finished,
    log_of,
    outcomes,
    plan,
    suggester_after,
    visible_log,
)
from tuning.scheduling.asha import FAILED
from tuning.scheduling.samplers import SAMPLERS, Params, StatefulSampler, derive_seed, make_sampler, suggest_once
from tuning.scheduling.study_config import StudyConfig
from tuning.scheduling.suggester import MAX_SHOWN, Suggester, Suggestion, _key
from tuning.scheduling.virtual_clock import VisibleResult
from tuning.space.initial_trials import fit_settings
from tuning.space.load import load_space
from tuning.space.portfolio import FirstTrials
from tuning.space.space import Space

GP = pytest.param("gp", marks=pytest.mark.slow)
EACH_SAMPLER = [GP if name == "gp" else name for name in SAMPLERS]


@cache
def a_study(sampler: str) -> tuple[StudyConfig, list[FrozenTrial]]:
    """A plan and its first trials, few for gp, which takes half a second for each."""
    the_plan = plan(sampler=sampler, startup=2)
    return the_plan, outcomes(the_plan, 5 if sampler == "gp" else 12)


def next_suggestion(the_plan: StudyConfig, trials: list[FrozenTrial]) -> Suggestion:
    """Return what a new suggester suggests after these trials."""
    return suggester_after(the_plan, trials).suggest(visible_log(the_plan, trials, len(trials)))


@cache
def next_of_a_study(sampler: str) -> Suggestion:
    return next_suggestion(*a_study(sampler))


@pytest.mark.slow
def test_modes_of_the_callers_torch_change_no_suggestion_of_gp() -> None:
    expected = next_of_a_study("gp")
    with torch.no_grad(), torch.inference_mode():
        assert next_suggestion(*a_study("gp")) == expected


@pytest.mark.slow
@pytest.mark.parametrize("sampler", EACH_SAMPLER)
def test_a_suggestion_is_the_same_whatever_was_asked_before(sampler: str) -> None:
    """A suggester that made all suggestions, and one that is new, as after a restart, suggest the same."""
    the_plan, trials = a_study(sampler)
    old = Suggester(the_plan)
    for number, trial in enumerate(trials):
        assert old.suggest(visible_log(the_plan, trials, number)).config == config_of(trial)
        old.add(trial)
    assert next_of_a_study(sampler) == old.suggest(visible_log(the_plan, trials, len(trials)))
    assert next_suggestion(the_plan, trials[:4]).config == config_of(trials[4])


@pytest.mark.parametrize("sampler", EACH_SAMPLER)
def test_a_suggestion_does_not_use_results_that_are_not_visible(sampler: str) -> None:
    """Two virtual workers still run the latest two trials, which count as running whatever their results are."""
    the_plan, trials = a_study(sampler)
    hidden = [again(trial, 0.99 - 0.01 * i) for i, trial in enumerate(trials[-2:])]
    assert next_suggestion(the_plan, [*trials[:-2], *hidden]) == next_of_a_study(sampler)


@pytest.mark.parametrize("sampler", ["tpe", GP])
def test_a_suggestion_uses_visible_results(sampler: str) -> None:
    the_plan, trials = a_study(sampler)
    turned = [again(trial, 1 - (trial.value or 0)) for trial in trials[:-2]]
    assert next_suggestion(the_plan, [*turned, *trials[-2:]]) != next_of_a_study(sampler)


@pytest.mark.parametrize("sampler", ["tpe", GP])
def test_the_sampler_sees_only_trials_with_every_unconditional_setting(
    sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The baseline's 128 hidden units are outside the range: seeing it, tpe would not model them with the rest."""
    shown: list[set[str]] = []

    def spy(made: BaseSampler, space: Space, trials: Sequence[FrozenTrial]) -> Params:
        shown.append(set.intersection(*(set(trial.params) for trial in trials)) if trials else {"hidden_dim"})
        return suggest_once(made, space, trials)

    monkeypatch.setattr("tuning.scheduling.suggester.suggest_once", spy)
    found = outcomes(plan(space=load_space("quick", ["hidden_dim=int(16,64)"]), sampler=sampler, startup=2), 5)
    assert "hidden_dim" not in found[0].params
    assert len(shown) == 4
    assert all("hidden_dim" in names for names in shown)


def test_a_later_result_of_a_trial_replaces_its_earlier_one() -> None:
    """After its rung, trial 1 counts as stopped; after its last epoch, as complete, with another score."""
    the_plan, trials = a_study("tpe")
    log = log_of(the_plan, trials)
    rung, end = VisibleResult(1, 2, 0.3), VisibleResult(1, 4, 0.9)
    suggesters = [suggester_after(the_plan, trials) for _ in range(4)]
    rest = [result for result in log if result.trial != 1]
    first, second, both, repeated = (
        suggester.suggest(seen)
        for suggester, seen in zip(
            suggesters,
            ([*rest, rung], [*rest, end], [*rest, rung, end], [rung, *rest, end]),
            strict=True,
        )
    )
    assert first != second
    assert second == both == repeated


@pytest.mark.slow
def test_cmaes_goes_where_trials_were_better() -> None:
    """On a score that is the output dropout itself, later suggestions are higher than those at random."""
    the_plan = plan(sampler="cmaes", startup=1, parallelism=1, stopping=None)
    suggester, trials = Suggester(the_plan), []
    for _ in range(60):
        suggestion = suggester.suggest(log_of(the_plan, trials))
        trials.append(finished(the_plan, suggestion, suggestion.config.fc_dropout))
        suggester.add(trials[-1])
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
        cwd=ROOT,
    ).stdout
    here = [outcomes(plan(sampler=s, startup=3), 10)[-1].params for s in ("tpe", "qmc", "cmaes")]
    assert said == f"{here}\n"


def test_the_first_trial_is_the_baseline_and_later_ones_say_whether_results_were_used() -> None:
    """With `startup` 3 the sampler draws at random until it sees three results: not the baseline's, outside a range."""
    the_plan = plan(startup=3, parallelism=2)
    origins = [trial.user_attrs["origin"] for trial in outcomes(the_plan, 7)]
    assert origins == ["baseline", *["random"] * 4, "sampler", "sampler"]
    origins = [trial.user_attrs["origin"] for trial in outcomes(plan(startup=3, parallelism=2, baseline=False), 6)]
    assert origins == [*["random"] * 4, "sampler", "sampler"]


def test_first_trials_follow_the_baseline_and_count_as_results() -> None:
    """With five visible results in the space, none of which was drawn at random, the sampler uses them."""
    space = load_space("quick")
    settings = tuple(fit_settings(space, {"hidden_dim": size}) for size in (40, 50, 60, 70, 80))
    first = FirstTrials(source="portfolio", settings=settings)  # type: ignore[arg-type]
    trials = outcomes(plan(space=space, first_trials=first, parallelism=1, startup=5), 8)
    assert [t.user_attrs["origin"] for t in trials] == ["baseline", *["portfolio"] * 5, "sampler", "sampler"]
    assert [t.params["hidden_dim"] for t in trials[1:6]] == [40, 50, 60, 70, 80]


@pytest.mark.parametrize("sampler", ["cmaes", "qmc"])
def test_a_restart_among_first_trials_suggests_the_same(sampler: str) -> None:
    settings = tuple(fit_settings(load_space("quick"), {"hidden_dim": size}) for size in (40, 50, 60))
    the_plan = plan(sampler=sampler, startup=2, first_trials=FirstTrials(source="f", settings=settings))  # type: ignore[arg-type]
    trials = outcomes(the_plan, 8)
    for count in (1, 3, 6):
        assert next_suggestion(the_plan, trials[:count]).config == config_of(trials[count])


def test_a_failed_trial_is_no_result_that_the_sampler_can_use() -> None:
    """Trial 7 failed, and the baseline is outside a range, so the results of trials 0 to 9 are eight."""
    the_plan = plan(startup=8, parallelism=1)
    origins = [trial.user_attrs["origin"] for trial in outcomes(the_plan, 12)]
    assert origins == ["baseline", *["random"] * 9, "sampler", "sampler"]


def test_two_results_of_one_trial_count_once() -> None:
    the_plan = plan(startup=2, parallelism=1, baseline=False)
    trials = outcomes(the_plan, 2)
    log = [VisibleResult(0, 2, 0.5), VisibleResult(0, 4, 0.6)]
    suggester = suggester_after(the_plan, trials)
    assert suggester.suggest(log).origin == "random"
    assert suggester.suggest([*log, VisibleResult(1, 2, 0.4)]).origin == "sampler"


@pytest.mark.parametrize(("sampler", "origin"), [("random", "random"), ("qmc", "sampler")])
def test_a_sampler_that_does_not_learn_draws_at_random_or_never(sampler: str, origin: str) -> None:
    """qmc fills the space in order: its suggestions are no independent draws."""
    trials = outcomes(plan(sampler=sampler, startup=2, parallelism=1), 6)
    assert [trial.user_attrs["origin"] for trial in trials] == ["baseline", *[origin] * 5]


@pytest.mark.parametrize(("n_prior", "origins"), [(4, ["sampler"] * 3), (3, ["random", "random", "sampler"])])
def test_trials_of_another_study_count_as_results_if_the_sampler_sees_them(n_prior: int, origins: list[str]) -> None:
    """The first one is its baseline, which is outside a range. The result of trial 1 is visible to trial 3."""
    prior = tuple(outcomes(plan(seed=1), n_prior))
    warm = plan(prior_trials=prior, warm_start={"study": "other", "sha256": "70"}, startup=3, parallelism=2)
    assert [trial.user_attrs["origin"] for trial in outcomes(warm, 4)] == ["baseline", *origins]


@pytest.mark.parametrize(
    ("sampler", "n_prior"), [("tpe", 0), ("tpe", 4), pytest.param("gp", 0, marks=pytest.mark.slow)]
)
def test_the_origin_is_random_exactly_if_optuna_drew_at_random(sampler: str, n_prior: int) -> None:
    the_plan = plan(sampler=sampler, startup=4, parallelism=2, prior_trials=tuple(outcomes(plan(seed=1), n_prior)))
    if sampler == "gp":
        the_plan, before = a_study("gp")
        trials = [*before, finished(the_plan, next_of_a_study("gp"), 0.5)]
    else:
        trials = outcomes(the_plan, 9)
    assert {trial.user_attrs["origin"] for trial in trials} == {"baseline", "random", "sampler"}
    for number, trial in enumerate(trials[1:], 1):
        at_random = make_sampler("random", the_plan, derive_seed(the_plan.seed, number))
        drawn = suggest_once(at_random, the_plan.space, [])
        assert trial.user_attrs["origin"] == ("random" if trial.params == drawn else "sampler")


def test_cmaes_draws_at_random_until_the_study_itself_has_enough_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever another study has; the baseline, outside a range, counts."""
    used, sample = list[str](), CmaEsSampler.sample_relative

    def spy(*given: Any) -> dict[str, Any]:
        found = sample(*given)
        used.append("sampler" if found else "random")
        return found

    monkeypatch.setattr(CmaEsSampler, "sample_relative", spy)
    prior = tuple(trial for trial in outcomes(plan(seed=1), 14) if trial.values)
    origins = [t.user_attrs["origin"] for t in outcomes(plan(sampler="cmaes", startup=3, prior_trials=prior), 8)]
    assert origins == ["baseline", *used]
    assert used == ["random"] * 4 + ["sampler"] * 3


def test_cmaes_learns_from_the_recorded_parameters_though_it_draws_others() -> None:
    """As after an upgrade of NumPy, which may round differently."""
    trials = outcomes(plan(sampler="cmaes", startup=2, seed=8), 12)
    suggester = suggester_after(plan(sampler="cmaes", startup=2), trials)
    assert suggester._stateful is not None
    learned = suggester._stateful.study.get_trials(deepcopy=False)
    assert trials[-1].params != a_study("cmaes")[1][-1].params
    assert trials[-1].params.items() <= learned[-1].params.items()


def test_a_trial_that_fails_after_its_rung_remains_a_result_to_cmaes() -> None:
    """Optuna's study accepts no second result of a trial."""
    the_plan = plan(sampler="cmaes", startup=2, parallelism=1, baseline=False)
    trials = outcomes(the_plan, 2)
    suggester = suggester_after(the_plan, trials)
    log = [*visible_log(the_plan, trials, 1), VisibleResult(1, 2, 0.6)]
    assert suggester.suggest(log).origin == "sampler"
    assert suggester.suggest([*log, VisibleResult(1, 4, FAILED)]).origin == "sampler"


def test_of_many_trials_the_sampler_sees_the_best_the_newest_running_and_an_even_sample() -> None:
    """300 trials, of which 60 run: the best 25, 25 of those that run, and 50 of 215 others."""
    the_plan = plan(sampler="random")
    suggester = Suggester(the_plan)
    baseline = suggester.suggest([])
    for _ in range(300):
        suggester.add(finished(the_plan, baseline, 0.5))
    log = [VisibleResult(number, 2, number * 7 % 240 / 240) for number in range(240)]
    suggester.suggest(log)
    shown = [view.number - 1 for view in suggester._views.shown()]
    assert len(shown) == MAX_SHOWN == 100
    assert shown == sorted(set(shown))
    best = sorted(range(240), key=lambda number: -(number * 7 % 240))[:25]
    assert set(best) <= set(shown)
    assert shown[-25:] == list(range(275, 300))
    others = [number for number in range(240) if number not in best]
    places = [others.index(number) for number in shown if number in others]
    assert {after - before for before, after in itertools.pairwise(places)} <= {4, 5}


def test_of_many_trials_of_another_study_the_sampler_sees_the_best_and_an_even_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = outcomes(plan(), 2)[1]
    prior = tuple(again(one, number * 7 % 300 / 300) for number in range(300))
    shown: list[float] = []

    def spy(made: BaseSampler, space: Space, trials: Sequence[FrozenTrial]) -> Params:
        assert [trial.number for trial in trials] == list(range(1, len(trials) + 1))
        shown[:] = [trial.value * 300 for trial in trials if trial.value is not None]
        return suggest_once(made, space, trials)

    monkeypatch.setattr("tuning.scheduling.suggester.suggest_once", spy)
    outcomes(plan(prior_trials=prior, warm_start={"study": "other", "sha256": "70"}, startup=1), 2)
    numbers = [round(value) * 43 % 300 for value in shown]  # 43 * 7 is 1 modulo 300
    assert len(numbers) == MAX_SHOWN
    assert numbers == sorted(set(numbers))
    assert set(range(275, 300)) <= {round(value) for value in shown}
    assert max(after - before for before, after in itertools.pairwise(numbers)) <= 5
    outcomes(plan(prior_trials=prior[:99], warm_start={"study": "other", "sha256": "70"}, startup=1), 2)
    assert len(shown) == 99


@pytest.mark.parametrize("sampler", EACH_SAMPLER)
def test_no_configuration_comes_twice_while_there_are_others(sampler: str) -> None:
    """Three layers by four poolings."""
    space = load_space("notebook", ["n_layers=int(1,3)", "pooling=choice(last,max,mean,attention)",
                                    "hidden_dim=16", "lstm_dropout=0", "fc_dropout=0.5",
                                    "learning_rate=0.5", "freeze_embedding=false"])  # fmt: skip
    the_plan = plan(space=space, sampler=sampler, startup=2, parallelism=1)
    trials = outcomes(the_plan, 5)
    assert len({str(config_of(trial)) for trial in trials}) == 5


@pytest.mark.parametrize("sampler", EACH_SAMPLER)
def test_where_there_is_no_other_the_first_ones_result_is_taken(sampler: str) -> None:
    trials = outcomes(plan(space=ONE_OR_TWO_LAYERS, sampler=sampler, parallelism=1, startup=2), 6)
    origins = [trial.user_attrs["origin"] for trial in trials]
    assert origins[0] == "baseline"
    assert len([origin for origin in origins if origin in ("random", "sampler")]) == 2
    for trial, origin in zip(trials, origins, strict=True):
        if origin.startswith("copy of "):
            first = origin.removeprefix("copy of ")
            assert config_of(trials[int(first)]) == config_of(trial)
            assert origins[int(first)] in ("random", "sampler")


def test_a_whole_number_in_a_setting_that_is_not_searched_makes_no_other_configuration() -> None:
    """The entry of try_first has 0 where a suggestion has 0.0."""
    space = dataclasses.replace(ONE_OR_TWO_LAYERS, try_first=({"n_layers": 1, "embedding_dropout": 0},))
    trials = outcomes(plan(space=space, parallelism=1, startup=2), 6)
    trained = [config_of(trial) for trial in trials if not trial.user_attrs["origin"].startswith("copy of ")]
    assert len(trained) == len(set(trained)) == 3  # the baseline, the entry, and two layers


def test_a_stateful_sampler_gets_a_copy_whose_source_has_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each suggestion uses the results of all trials before it, three of which are copies."""
    tell, numbers = StatefulSampler.tell, list[int]()

    def spy(sampler: StatefulSampler, number: int, view: FrozenTrial) -> None:
        numbers.append(number)
        tell(sampler, number, view)

    monkeypatch.setattr(StatefulSampler, "tell", spy)
    the_plan = plan(space=ONE_OR_TWO_LAYERS, sampler="cmaes", parallelism=1, startup=2)
    trials = outcomes(the_plan, 7)
    assert [trial.user_attrs["origin"].startswith("copy of ") for trial in trials] == [False] * 3 + [True] * 4
    assert numbers == list(range(6))


def test_cmaes_starts_where_the_other_study_was_good() -> None:
    knowledge = tuple(again(t, t.params["fc_dropout"]) for t in outcomes(plan(seed=1, sampler="random"), 30))
    warm = plan(
        prior_trials=knowledge, warm_start={"study": "other", "sha256": "70"}, parallelism=1, sampler="cmaes", startup=1
    )
    dropouts = [trial.params["fc_dropout"] for trial in outcomes(warm, 9)[2:]]
    assert sum(dropouts) / len(dropouts) > 0.45


@pytest.mark.parametrize(("sampler", "n_theirs"), [("cmaes", 14), ("tpe", 4)])
def test_a_warm_start_does_not_draw_the_random_trials_of_the_other_study_again(sampler: str, n_theirs: int) -> None:
    """Both studies have one seed, as the same split requires."""
    cold = plan(sampler=sampler, parallelism=1, startup=6)
    theirs = outcomes(cold, n_theirs)
    prior = tuple(trial for trial in theirs[1:] if trial.values)
    warm = dataclasses.replace(cold, prior_trials=prior, warm_start={"study": "other", "sha256": "70"})
    tried = [trial.params for trial in theirs]
    assert not [trial for trial in outcomes(warm, 5)[1:] if trial.params in tried]


def test_a_trial_that_lacks_a_newer_setting_is_equal_to_one_with_its_default() -> None:
    settings = TrialConfig().to_dict()
    assert _key({name: value for name, value in settings.items() if name != "weight_dropout"}) == _key(settings)
