"""tuning.searcher: a suggestion depends on the plan and on the trials it may see, and on nothing else."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from core.config import TrialConfig
from core.epoch import EpochResult
from tuning.ledger import Ledger, open_ledger
from tuning.records import TrialRecord, read_study
from tuning.searcher import OrderedSearcher, OrderedStopping, shared_failure, suggest_params, visible
from tuning.space_file import load_space
from tuning.spec import SearchPlan
from tuning.stopping import Halving


def plan(**changes: Any) -> SearchPlan:
    settings: dict[str, Any] = {
        "space": load_space("default"),
        "n_trials": 12,
        "epochs": 4,
        "window": 3,
        "seed": 7,
        "halving": Halving(grace=2, reduction=3),
    }
    return SearchPlan(**(settings | changes))


def outcomes(count: int) -> list[FrozenTrial]:
    """Finished trials of the default space, each with its own score."""
    space = load_space("default")
    trials: list[FrozenTrial] = []
    for number in range(count):
        params = suggest_params(plan(window=10_000), number, trials)
        trials.append(finished(params, 0.5 + 0.01 * (number * 7 % count)))
    assert len({str(space.config(t.params)) for t in trials}) == count
    return trials


def finished(params: dict[str, Any], value: float) -> FrozenTrial:
    distributions = load_space("default").distributions(params)
    return create_trial(state=TrialState.COMPLETE, params=params, distributions=distributions, value=value)


def test_a_suggestion_is_the_same_each_time_it_is_made() -> None:
    trials = outcomes(10)
    assert suggest_params(plan(), 10, trials) == suggest_params(plan(), 10, trials)


def test_a_suggestion_does_not_know_what_lies_inside_the_window() -> None:
    """Trials n-window+1..n-1 count as running, whatever they came to."""
    trials = outcomes(12)
    hidden = [finished(t.params, 0.99 - 0.01 * i) for i, t in enumerate(trials[-2:])]
    assert suggest_params(plan(), 12, [*trials[:-2], *hidden]) == suggest_params(plan(), 12, trials)


def test_a_suggestion_does_know_what_lies_before_the_window() -> None:
    trials = outcomes(12)
    turned = [finished(t.params, 1 - (t.value or 0)) for t in trials[:-2]]
    assert suggest_params(plan(), 12, [*turned, *trials[-2:]]) != suggest_params(plan(), 12, trials)


def test_another_seed_or_number_gives_another_suggestion() -> None:
    trials = outcomes(10)
    suggestions = [
        suggest_params(plan(), 10, trials),
        suggest_params(plan(seed=8), 10, trials),
        suggest_params(plan(), 9, trials[:9]),
    ]
    assert len({str(s) for s in suggestions}) == 3


def test_suggestions_do_not_depend_on_pythons_hash_seed() -> None:
    script = (
        "from tests.tuning.test_searcher import outcomes, plan, suggest_params\n"
        "print(suggest_params(plan(), 10, outcomes(10)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {f"{suggest_params(plan(), 10, outcomes(10))}\n"}


def test_what_suggestion_n_sees() -> None:
    trials = outcomes(6)
    assert [len(visible(trials[:n], n, 3)) for n in range(7)] == [0, 0, 0, 1, 2, 3, 4]


def test_three_failures_from_the_start_with_one_cause_are_recognised() -> None:
    def failed(cause: str) -> FrozenTrial:
        return create_trial(state=TrialState.FAIL, user_attrs={"outcome": {"error": cause}})

    assert shared_failure([failed("a")] * 3) == "a"
    assert shared_failure([failed("a")] * 2) is None
    assert shared_failure([failed("a"), failed("b"), failed("a")]) is None
    assert shared_failure([finished({}, 0.5), *[failed("a")] * 3]) is None


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def started(self, number: int, config: TrialConfig) -> None:
        self.events.append(f"started {number}")

    def epoch(self, number: int, result: EpochResult) -> None:
        self.events.append(f"epoch {number}.{result.epoch}")

    def ended(self, record: TrialRecord) -> None:
        self.events.append(f"{record.state} {record.number}")


class FakeRay:
    """Runs trials as Ray Tune would, but here and in an order that `rng` decides."""

    def __init__(self, ledger: Ledger, the_plan: SearchPlan, workers: int, rng: random.Random) -> None:
        self.halt = False
        self.heard = Heard()
        self.searcher = OrderedSearcher(ledger, the_plan, self.heard, lambda: self.halt)
        self.stopping = OrderedStopping(ledger, the_plan, self.heard, lambda: self.halt)
        self.plan, self.workers, self.rng = the_plan, workers, rng
        self.running: dict[str, tuple[Any, int]] = {}
        self.asked = 0

    def run(self, steps: int = 10_000) -> None:
        """At most so many epochs; then the driver is gone in the middle."""
        for _ in range(steps):
            self._fill()
            if not self.running:
                return
            self._step(self.rng.choice(sorted(self.running)))

    def _fill(self) -> None:
        while len(self.running) < self.workers:
            self.asked += 1
            job = self.searcher.suggest(f"ray{self.asked}")
            if job is None or isinstance(job, str):
                assert job in (None, Searcher.FINISHED)
                return
            self.running[f"ray{self.asked}"] = (job, 0)

    def _step(self, ray_id: str) -> None:
        job, done = self.running[ray_id]
        result: dict[str, Any] = {}
        if done == self.plan.epochs:
            result = {"outcome/n_parameters": 1}
        else:
            rate = job["config"]["learning_rate"]
            score = 1 / (1 + abs(rate - 0.01) * (5 - done))  # the curves cross no one's clock
            epoch = {"epoch": done + 1, "train_loss": 0.0, "val_loss": -score, "val_accuracy": score, "seconds": 0.1}
            result = {f"epoch_result/{key}": value for key, value in epoch.items()}

        class Trial:
            config = job

        decision = self.stopping.on_trial_result(None, Trial(), result)
        if decision == TrialScheduler.STOP or done == self.plan.epochs:
            del self.running[ray_id]
            self.searcher.on_trial_complete(ray_id, result)
        else:
            self.searcher.on_trial_result(ray_id, result)
            self.running[ray_id] = (job, done + 1)


def content(folder: Path) -> list[Any]:
    return [(r.number, r.state, r.params, r.config, r.epochs) for r in read_study(folder)[1]]


@pytest.mark.parametrize(("workers", "order"), [(1, 1), (2, 2), (3, 3), (4, 4), (12, 5)])
def test_trials_and_stops_are_the_same_for_any_workers_and_any_order(tmp_path: Path, workers: int, order: int) -> None:
    for folder, count, seed in ((tmp_path / "one", 1, 0), (tmp_path / "many", workers, order)):
        with open_ledger(folder, {"fingerprint": ""}) as ledger:
            FakeRay(ledger, plan(), count, random.Random(seed)).run()
    states = [record[1] for record in content(tmp_path / "one")]
    assert len(states) == 12
    assert {"COMPLETE", "PRUNED"} == set(states)
    assert content(tmp_path / "many") == content(tmp_path / "one")


@pytest.mark.parametrize("killed_after", [1, 5, 12, 20])
def test_a_killed_search_completes_to_the_same_study(tmp_path: Path, killed_after: int) -> None:
    """Unfinished trials run again under their own number, from their first epoch."""
    with open_ledger(tmp_path / "whole", {"fingerprint": ""}) as ledger:
        FakeRay(ledger, plan(), 2, random.Random(0)).run()
    for _ in range(3):
        with open_ledger(tmp_path / "killed", {"fingerprint": ""}) as ledger:
            FakeRay(ledger, plan(), 3, random.Random(killed_after)).run(steps=killed_after)
    with open_ledger(tmp_path / "killed", {"fingerprint": ""}) as ledger:
        FakeRay(ledger, plan(), 2, random.Random(1)).run()
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_the_first_trial_is_the_notebooks(tmp_path: Path) -> None:
    for space in ("default", "notebook"):
        with open_ledger(tmp_path / space, {"fingerprint": ""}) as ledger:
            searcher = OrderedSearcher(ledger, plan(space=load_space(space)), Heard(), lambda: False)
            job = searcher.suggest("ray1")
            assert isinstance(job, dict)
            assert TrialConfig.from_dict(job["config"]) == TrialConfig.notebook(epochs=4, seed=7)
            assert ledger.records()[0].origin == "notebook"
            assert (
                ledger.records()[0].params["learning_rate_adadelta" if space == "default" else "learning_rate"] == 0.25
            )


def test_no_suggestion_before_the_trials_that_it_may_see_are_finished(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "s", {"fingerprint": ""}) as ledger:
        searcher = OrderedSearcher(ledger, plan(window=2), Heard(), lambda: False)
        assert [isinstance(searcher.suggest(f"ray{n}"), dict) for n in range(3)] == [True, True, False]
        for number in (0, 1):
            ledger.record(number, EpochResult(epoch=1, train_loss=1.0, val_loss=1.0, val_accuracy=0.5, seconds=1.0))
        searcher.on_trial_complete("ray1", {"outcome/n_parameters": 1})
        assert searcher.suggest("ray3") is None
        searcher.on_trial_complete("ray0", {"outcome/n_parameters": 1})
        assert isinstance(searcher.suggest("ray4"), dict)


def test_an_interrupted_search_starts_nothing_and_leaves_trials_to_go_on(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "s", {"fingerprint": ""}) as ledger:
        ray = FakeRay(ledger, plan(), 2, random.Random(0))
        ray.run(steps=3)
        ray.halt = True
        ray.run()
        assert {record.state for record in ledger.records()} == {"RUNNING"}
        assert ray.heard.events.count("started 0") == 1
        assert not [event for event in ray.heard.events if event.startswith(("COMPLETE", "PRUNED", "FAIL"))]


def test_a_failed_trial_does_not_end_the_study(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "s", {"fingerprint": ""}) as ledger:
        searcher = OrderedSearcher(ledger, plan(), Heard(), lambda: False)
        searcher.suggest("ray0")
        searcher.on_trial_complete("ray0", {"outcome/error": "TrainingError: the loss is NaN"})
        searcher.suggest("ray1")
        searcher.on_trial_complete("ray1", None, error=True)
        assert [r.error for r in ledger.records()] == [
            "TrainingError: the loss is NaN",
            "its worker died three times (killed, or out of memory)",
        ]
        assert isinstance(searcher.suggest("ray2"), dict)
