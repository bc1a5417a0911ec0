"""The expected best of random trials by both estimators, and the trials that count as random."""

import csv
import io
import itertools
import json
from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from tests.support.assessed_studies import trial
from tests.support.epochs import epoch
from tuning.analysis.random_search_curve import RandomSearchCurve, expected_best, random_search_curve
from tuning.analysis.tables import render_curve, sample_budgets

VALUES = [0.7, 0.75, 0.75, 0.6, 0.8]


def study(count: int, **changes: Any) -> list[Any]:
    """Return the baseline and trials that were drawn at random."""
    rest = [trial(number, range(40 + 7 * number % 30), origin="random", **changes) for number in range(1, count)]
    return [trial(0, range(40)), *rest]


def curve(count: int = 12) -> RandomSearchCurve:
    return random_search_curve(study(count))


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
def test_thousands_of_trials_stay_exact() -> None:
    plugin, unbiased = expected_best(np.linspace(0, 1, 2001))
    assert unbiased[0] == pytest.approx(0.5)
    assert unbiased[-1] == pytest.approx(1.0)
    assert unbiased[999] == pytest.approx((1000 * 2002 / 1001 - 1) / 2000)  # order statistics of 0..2000
    assert (np.diff(unbiased) > -1e-12).all()
    assert (plugin <= unbiased + 1e-12).all()


def test_the_band_holds_the_best_of_single_searches() -> None:
    found = random_search_curve(study(40))
    values = [t.best.val_accuracy for t in study(40) if t.origin == "random"]
    draws = np.random.default_rng(1).choice(values, (20_000, 5)).max(axis=1)
    budget = found.budgets[4]
    assert (budget.low, budget.high) == tuple(np.quantile(draws, [0.1, 0.9], method="inverted_cdf"))
    assert budget.low < budget.unbiased < budget.high


def test_a_budget_of_epochs_is_what_the_trials_took() -> None:
    stopped = trial(2, range(60), epochs=(epoch(1, 0.7),), state="PRUNED", origin="random")
    trials = [trial(0, range(9)), trial(1, range(50), origin="random"), stopped]
    found = random_search_curve(trials)
    assert [(budget.trials, budget.epochs) for budget in found.budgets] == [(1, 1.5), (2, 3.0)]


def test_only_trials_that_were_drawn_at_random_count() -> None:
    """A suggestion that used results is no independent draw; a trial that repeats another one adds nothing."""
    origins = ["baseline", "try_first", "random", "random", "sampler", "copy of 3", "random"]
    trials = [trial(number, range(9), origin=origin) for number, origin in enumerate(origins)]
    assert random_search_curve(trials).random_trials == 3


def test_paused_trials_count_as_stopped_ones_do() -> None:
    trials = study(3)
    trials[2] = trial(2, range(9), origin="random", state="PAUSED")
    assert random_search_curve(trials).random_trials == 2


def test_failed_trials_are_left_out_and_counted() -> None:
    trials = study(6)
    trials[3] = trial(3, range(1), state="FAIL", error="x", origin="random")
    trials[5] = trial(5, range(1), state="RUNNING", origin="random")
    found = random_search_curve(trials)
    assert (found.random_trials, found.failed) == (3, 1)
    assert "drawn at random: 3, without the 1 that failed" in render_curve(found, "table")


def test_too_few_random_trials_are_refused() -> None:
    said = (
        r"^the curve needs at least 2 finished trials .* at random, this study has 1; run more trials, or run a study"
    )
    with pytest.raises(UserError, match=said):
        random_search_curve(study(2))


def test_without_random_trials_the_first_trials_are_named() -> None:
    trials = [trial(number, range(9), origin="portfolio" if number else "baseline") for number in range(9)]
    said = r"this study has 0 \(those of --first-trials are not random: 8\); run a study"
    with pytest.raises(UserError, match=said):
        random_search_curve(trials)


def test_more_trials_are_no_advice_once_the_sampler_chooses_them() -> None:
    said = r"has 1; run a study with --sampler random --first-trials random under another --name$"
    with pytest.raises(UserError, match=said):
        random_search_curve([*study(2), trial(2, range(9), origin="sampler")])


def test_json_has_every_budget_under_stable_names() -> None:
    found = json.loads(render_curve(curve(30), "json"))
    assert (list(found), len(found["budgets"])) == (["metric", "random_trials", "failed", "budgets"], 29)
    assert list(found["budgets"][0]) == ["trials", "epochs", "plugin", "unbiased", "low", "high"]


def test_csv_has_every_budget_at_full_precision() -> None:
    rows = list(csv.DictReader(io.StringIO(render_curve(curve(30), "csv"))))
    assert len(rows) == 29
    assert float(rows[4]["unbiased"]) == curve(30).budgets[4].unbiased


@pytest.mark.parametrize("form", ["table", "md"])
def test_what_people_read_says_what_it_is_made_from(form: str) -> None:
    text = render_curve(curve(), form)
    assert max(map(len, text.splitlines())) <= {"table": 80, "md": 100}[form]
    for said in (
        "drawn at random: 11",
        "Tang et al. 2020",
        "Dodge et al. 2019",
        f"{curve().budgets[10].unbiased:.4f}",
    ):
        assert said in text


def test_a_long_curve_is_thinned_for_people_with_both_ends() -> None:
    shown = [budget.trials for budget in sample_budgets(curve(301).budgets)]
    assert (shown[0], shown[-1]) == (1, 300)
    assert shown == sorted(set(shown))
    assert len(shown) <= 16
