"""What so many random trials bring, by both estimators, and which trials count as random."""

import csv
import io
import itertools
import json
from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from tests.support.assessed_studies import SPEC, epoch, trial
from tuning.analysis.random_search_curve import RandomSearchCurve, expected_best, random_search_curve, random_trials
from tuning.analysis.tables import render_curve, sample_budgets

VALUES = [0.7, 0.75, 0.75, 0.6, 0.8]


def study(count: int, **changes: Any) -> list[Any]:
    return [trial(number, range(40 + 7 * number % 30), **changes) for number in range(count)]


def sampler(name: str, **changes: Any) -> dict[str, Any]:
    return {**SPEC, "sampler": {"name": name, "startup": 6, "constant_liar": True}, **changes}


def curve(count: int = 12, name: str = "random") -> RandomSearchCurve:
    return random_search_curve(study(count), sampler(name))


def test_the_unbiased_estimate_is_the_mean_over_all_subsets() -> None:
    _, unbiased = expected_best(VALUES)
    for n in range(1, 6):
        bests = [max(subset) for subset in itertools.combinations(VALUES, n)]
        assert unbiased[n - 1] == pytest.approx(sum(bests) / len(bests))


def test_the_plug_in_estimate_is_the_mean_over_all_draws_with_replacement() -> None:
    plugin, _ = expected_best(VALUES)
    for n in range(1, 6):
        bests = [max(draw) for draw in itertools.product(VALUES, repeat=n)]
        assert plugin[n - 1] == pytest.approx(sum(bests) / len(bests))


@pytest.mark.slow
def test_one_is_unbiased_and_the_other_is_too_low() -> None:
    """The best of 4 uniform draws is 0.8 on average; both see 6 draws, 4,000 times."""
    draws = np.random.default_rng(0).random((4000, 6))
    found = np.array([[estimate[3] for estimate in expected_best(row)] for row in draws])
    plugin, unbiased = found.mean(axis=0)
    error = float(found[:, 1].std()) / len(draws) ** 0.5
    assert abs(unbiased - 0.8) < 4 * error < 0.01
    assert plugin < 0.8 - 0.03


def test_thousands_of_trials_stay_exact() -> None:
    plugin, unbiased = expected_best(np.linspace(0, 1, 2001))
    assert unbiased[0] == pytest.approx(0.5)
    assert unbiased[-1] == pytest.approx(1.0)
    assert unbiased[999] == pytest.approx((1000 * 2002 / 1001 - 1) / 2000)  # order statistics of 0..2000
    assert (np.diff(unbiased) > -1e-12).all()
    assert (plugin <= unbiased + 1e-12).all()


def test_the_band_holds_the_best_of_single_searches() -> None:
    found = random_search_curve(study(40), sampler("random"))
    values = [t.best.val_accuracy for t in study(40) if t.origin == "sampler"]
    draws = np.random.default_rng(1).choice(values, (20_000, 5)).max(axis=1)
    budget = found.budgets[4]
    assert (budget.low, budget.high) == tuple(np.quantile(draws, [0.1, 0.9], method="inverted_cdf"))
    assert budget.low < budget.unbiased < budget.high


def test_a_budget_of_epochs_is_what_the_trials_took() -> None:
    trials = [trial(0, range(9)), trial(1, range(50)), trial(2, range(60), epochs=(epoch(1, 0.7),), state="PRUNED")]
    found = random_search_curve(trials, sampler("random"))
    assert [(budget.trials, budget.epochs) for budget in found.budgets] == [(1, 1.5), (2, 3.0)]


def test_in_a_random_study_all_but_the_first_settings_count() -> None:
    trials = [
        trial(0, range(9)),
        trial(1, range(9), origin="try_first"),
        *study(9)[2:8],
        trial(8, range(9), origin="copy of 3"),
    ]
    assert [t.number for t in random_trials(trials, sampler("random"))] == [2, 3, 4, 5, 6, 7]


def test_others_count_until_the_sampler_has_seen_enough_outcomes() -> None:
    """Window 4: suggestion n sees trials 0..n-4, so number 9 is the first to see 6 of them."""
    trials = study(30)
    assert [t.number for t in random_trials(trials, sampler("tpe"))] == list(range(1, 9))
    trials[2] = trial(2, range(9), state="FAIL")  # brought no outcome
    assert [t.number for t in random_trials(trials, sampler("gp"))] == list(range(1, 10))


@pytest.mark.parametrize("spec", [sampler("qmc"), sampler("tpe", warm_start={"study": "other", "trials": 9})])
def test_draws_that_know_of_others_do_not_count(spec: dict[str, Any]) -> None:
    assert random_trials(study(9), spec) == []


def test_failed_trials_are_left_out_and_counted() -> None:
    trials = study(6)
    trials[3] = trial(3, range(1), state="FAIL", error="x")
    trials[5] = trial(5, range(1), state="RUNNING")
    found = random_search_curve(trials, sampler("random"))
    assert (found.random_trials, found.failed) == (3, 1)
    assert "drawn at random: 3, without the 1 that failed" in render_curve(found, "table")


def test_too_few_random_trials_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"1 finished trials that were drawn at random.*needs at least 2.*--sampler random"
    ):
        random_search_curve(study(2), SPEC)


def test_json_has_every_budget_under_stable_names() -> None:
    found = json.loads(render_curve(curve(30), "json"))
    assert (list(found), len(found["budgets"])) == (["random_trials", "failed", "budgets"], 29)
    assert list(found["budgets"][0]) == ["trials", "epochs", "plugin", "unbiased", "low", "high"]


def test_csv_has_every_budget_at_full_precision() -> None:
    rows = list(csv.DictReader(io.StringIO(render_curve(curve(30), "csv"))))
    assert len(rows) == 29
    assert float(rows[4]["unbiased"]) == curve(30).budgets[4].unbiased


@pytest.mark.parametrize("form", ["table", "md"])
def test_what_people_read_says_what_it_is_made_from(form: str) -> None:
    text = render_curve(curve(), form)
    assert max(map(len, text.splitlines())) <= 100
    for said in (
        "drawn at random: 11",
        "Tang et al. 2020",
        "Dodge et al. 2019",
        f"{curve().budgets[10].unbiased:.4f}",
    ):
        assert said in text


def test_a_table_is_80_wide() -> None:
    assert max(map(len, render_curve(curve(), "table").splitlines())) <= 80


def test_a_long_curve_is_thinned_for_people_with_both_ends() -> None:
    shown = [budget.trials for budget in sample_budgets(curve(301).budgets)]
    assert (shown[0], shown[-1]) == (1, 300)
    assert shown == sorted(set(shown))
    assert len(shown) <= 16
