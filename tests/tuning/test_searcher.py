"""tuning.searcher and tuning.scheduler: what is written into the journal, in which order, and what is handed out."""

import errno
import os
import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from core.config import TrialConfig
from core.epoch import EpochResult
from tests.tuning.plans import plan
from tuning.halt import Halt
from tuning.ledger import Ledger, open_ledger
from tuning.records import TrialRecord, read_study
from tuning.scheduler import make_scheduler
from tuning.searcher import SPELLS, OrderedSearcher, shared_failure
from tuning.space_file import load_space
from tuning.spec import SearchPlan
from tuning.standings import Standings
from tuning.stopping import Asha, Halving


def test_three_failures_from_the_start_with_one_cause_are_recognised() -> None:
    def failed(cause: str) -> FrozenTrial:
        return create_trial(state=TrialState.FAIL, user_attrs={"outcome": {"error": cause}})

    assert shared_failure([failed("a")] * 3) == "a"
    assert shared_failure([failed(f"cannot write {n}/1e-3") for n in range(3)]) == "cannot write 0/1e-3"
    assert shared_failure([failed("a")] * 2) is None
    assert shared_failure([failed("a"), failed("b"), failed("a")]) is None
    assert shared_failure([create_trial(value=0.5), *[failed("a")] * 3]) is None


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def started(self, number: int, config: TrialConfig) -> None:
        self.events.append(f"started {number}")

    def waits(self, number: int) -> None:
        self.events.append(f"waits {number}")

    def epoch(self, number: int, result: EpochResult) -> None:
        self.events.append(f"epoch {number}.{result.epoch}")

    def ended(self, record: TrialRecord) -> None:
        self.events.append(f"{record.state} {record.number}")


class FakeRay:
    """Runs trials as Ray Tune would, but here and in an order that `rng` decides."""

    def __init__(self, ledger: Ledger, the_plan: SearchPlan, workers: int, rng: random.Random) -> None:
        self.halt = Halt()
        self.heard = Heard()
        self.standings = Standings(the_plan.stopping, the_plan.epochs, ledger.records())
        self.searcher = OrderedSearcher(ledger, the_plan, self.heard, self.halt, self.standings)
        self.scheduler = make_scheduler(ledger, the_plan, self.heard, self.halt, self.standings)
        self.plan, self.workers, self.rng = the_plan, workers, rng
        self.running: dict[str, tuple[Any, int]] = {}
        self.trained: dict[int, int] = {}
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
            # From its checkpoint if it waited, else from its first epoch.
            self.running[f"ray{self.asked}"] = (job, self.trained.get(job["number"], 0))
            self.scheduler.on_trial_add(None, self.ray_trial(f"ray{self.asked}"))

    def ray_trial(self, the_id: str) -> Any:
        """What Ray's Trial says of itself."""
        return SimpleNamespace(config=self.running[the_id][0], trial_id=the_id)

    def _step(self, ray_id: str) -> None:
        job, done = self.running[ray_id]
        result: dict[str, Any] = {}
        if done == self.plan.epochs:
            result = {"outcome/n_parameters": 1}
        else:
            rate = job["config"]["learning_rate"]
            score = 1 / (1 + abs(rate - 0.01) * (self.plan.epochs + 1 - done))  # the curves cross no one's clock
            epoch = {"epoch": done + 1, "train_loss": 0.0, "val_loss": -score, "val_accuracy": score, "seconds": 0.1}
            result = {f"epoch_result/{key}": value for key, value in epoch.items()}

        decision = self.scheduler.on_trial_result(None, self.ray_trial(ray_id), result)
        if decision == TrialScheduler.STOP or done == self.plan.epochs:
            del self.running[ray_id]
            self.searcher.on_trial_complete(ray_id, result)
        else:
            self.searcher.on_trial_result(ray_id, result)
            self.running[ray_id] = (job, done + 1)
            self.trained[job["number"]] = done + 1


def searcher_of(ledger: Ledger, the_plan: SearchPlan, halt: Halt) -> OrderedSearcher:
    """One that goes on where the journal stands."""
    standings = Standings(the_plan.stopping, the_plan.epochs, ledger.records())
    return OrderedSearcher(ledger, the_plan, Heard(), halt, standings)


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
    for space in ("quick", "notebook"):
        with open_ledger(tmp_path / space, {"fingerprint": ""}) as ledger:
            searcher = searcher_of(ledger, plan(space=load_space(space)), Halt())
            job = searcher.suggest("ray1")
            assert isinstance(job, dict)
            assert TrialConfig.from_dict(job["config"]) == TrialConfig.notebook(epochs=4, seed=7)
            assert ledger.records()[0].origin == "notebook"
            assert ledger.records()[0].params["learning_rate_adadelta" if space == "quick" else "learning_rate"] == 0.25


def test_no_suggestion_before_the_trials_that_it_may_see_are_finished(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "s", {"fingerprint": ""}) as ledger:
        searcher = searcher_of(ledger, plan(window=2), Halt())
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
        ray.halt.requested = True
        ray.run()
        assert {record.state for record in ledger.records()} == {"RUNNING"}
        assert ray.heard.events.count("started 0") == 1
        assert not [event for event in ray.heard.events if event.startswith(("COMPLETE", "PRUNED", "FAIL"))]


def test_where_a_trial_ran_is_written_down_with_its_end(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "s", {"fingerprint": ""}) as ledger:
        searcher = searcher_of(ledger, plan(), Halt())
        ends = ({"outcome/n_parameters": 1}, {"outcome/error": "TrainingError: the loss is NaN"}, {})
        for at, end in enumerate(ends):
            searcher.suggest(f"ray{at}")
            ledger.record(at, EpochResult(epoch=1, train_loss=1.0, val_loss=1.0, val_accuracy=0.5, seconds=1.0))
            searcher.on_trial_complete(f"ray{at}", {**end, "hostname": "node", "pid": 7})
        assert [(r.state, r.worker) for r in ledger.records()] == [
            ("COMPLETE", "node/7"),
            ("FAIL", "node/7"),
            ("PRUNED", "node/7"),
        ]


def test_a_failed_trial_does_not_end_the_study(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "s", {"fingerprint": ""}) as ledger:
        searcher = searcher_of(ledger, plan(), Halt())
        searcher.suggest("ray0")
        searcher.on_trial_complete("ray0", {"outcome/error": "TrainingError: the loss is NaN"})
        searcher.suggest("ray1")
        searcher.on_trial_complete("ray1", None, error=True)
        assert [r.error for r in ledger.records()] == [
            "TrainingError: the loss is NaN",
            "its worker died three times (killed, or out of memory)",
        ]
        assert isinstance(searcher.suggest("ray2"), dict)


def settled(folder: Path) -> list[tuple[str, str, int]]:
    return [(r.origin, r.state, len(r.epochs)) for r in read_study(folder)[1]]


TWO = load_space("notebook", ["n_layers=int(1,2)", "hidden_dim=16", "lstm_dropout=0", "fc_dropout=0.5",
                              "learning_rate=0.5", "freeze_embedding=false"])  # fmt: skip


@pytest.mark.parametrize("workers", [1, 3])
def test_a_trial_that_repeats_another_is_not_trained_and_ends_as_that_one_did(tmp_path: Path, workers: int) -> None:
    with open_ledger(tmp_path / "s", {"fingerprint": ""}) as ledger:
        ray = FakeRay(ledger, plan(space=TWO, stopping=None), workers, random.Random(0))
        ray.run()
        first, second, third, *copies = ledger.records()
    assert [r.origin for r in (first, second, third)] == ["notebook", "sampler", "sampler"]
    assert len(copies) == 9
    for copy in copies:
        source = (second, third)[int(copy.origin.removeprefix("copy of ")) - 1]
        assert (copy.state, copy.epochs, copy.config) == (source.state, source.epochs, source.config)
    assert [event for event in ray.heard.events if event.startswith("started")] == [f"started {n}" for n in range(3)]
    assert len([event for event in ray.heard.events if event.startswith("COMPLETE")]) == 12


@pytest.mark.parametrize("killed_after", [1, 5, 9])
def test_repeats_survive_a_kill(tmp_path: Path, killed_after: int) -> None:
    the_plan = plan(space=TWO, window=6)
    with open_ledger(tmp_path / "whole", {"fingerprint": ""}) as ledger:
        FakeRay(ledger, the_plan, 2, random.Random(0)).run()
    with open_ledger(tmp_path / "killed", {"fingerprint": ""}) as ledger:
        FakeRay(ledger, the_plan, 3, random.Random(1)).run(steps=killed_after)
    with open_ledger(tmp_path / "killed", {"fingerprint": ""}) as ledger:
        FakeRay(ledger, the_plan, 3, random.Random(2)).run()
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert settled(tmp_path / "killed") == settled(tmp_path / "whole")


def test_asha_stops_trials_by_rays_own_rule_and_lets_the_last_epoch_be(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "s", {"fingerprint": ""}) as ledger:
        FakeRay(ledger, plan(stopping=Asha(grace=1, reduction=2)), 2, random.Random(0)).run()
    ends = [(state, count) for _, state, count in settled(tmp_path / "s")]
    assert ("COMPLETE", 4) in ends
    assert {count for state, count in ends if state == "PRUNED"} <= {1, 2}
    assert "PRUNED" in {state for state, _ in ends}


def test_what_the_person_can_mend_ends_the_search_and_not_the_trial(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "s", {"fingerprint": ""}) as ledger:
        halt = Halt()
        searcher = searcher_of(ledger, plan(), halt)
        searcher.suggest("ray0")
        searcher.on_trial_complete("ray0", {"outcome/mend": "cannot write x: the disk is full"})
        assert str(halt.reason) == "cannot write x: the disk is full"
        assert searcher.suggest("ray1") == Searcher.FINISHED
        assert [record.state for record in ledger.records()] == ["RUNNING"]


@pytest.mark.parametrize("writes", [1, 4, 6, 11])
def test_a_full_disk_at_any_write_ends_the_search_and_the_study_completes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    with open_ledger(tmp_path / "whole", {"fingerprint": ""}) as ledger:
        FakeRay(ledger, plan(n_trials=4), 2, random.Random(0)).run()
    left = writes

    def fsync(handle: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.truncate(handle, os.fstat(handle).st_size - 3)  # a part of the record is there
            raise OSError(errno.ENOSPC, "No space left on device")

    with open_ledger(tmp_path / "full", {"fingerprint": ""}) as ledger, monkeypatch.context() as patched:
        patched.setattr("os.fsync", fsync)
        ray = FakeRay(ledger, plan(n_trials=4), 2, random.Random(0))
        ray.run()
    assert re.search("study.journal: the disk is full; free some space and run the same command", str(ray.halt.reason))
    with open_ledger(tmp_path / "full", {"fingerprint": ""}) as ledger:
        FakeRay(ledger, plan(n_trials=4), 2, random.Random(0)).run()
    assert content(tmp_path / "full") == content(tmp_path / "whole")


def test_a_trial_that_waits_gives_its_worker_back_and_goes_on_from_where_it_was(tmp_path: Path) -> None:
    """One worker: trial 0 is never stopped, the two after it reach their rung before either goes on."""
    with open_ledger(tmp_path / "s", {"fingerprint": ""}) as ledger:
        ray = FakeRay(ledger, plan(), 1, random.Random(0))
        ray.run()
        spells = {trial.number: trial.user_attrs.get(SPELLS, []) for trial in ledger.trials()}
    events = ray.heard.events
    assert events[:6] == ["started 0", *(f"epoch 0.{epoch}" for epoch in range(1, 5)), "COMPLETE 0"]
    assert events[6:10] == ["started 1", "epoch 1.1", "epoch 1.2", "waits 1"]
    assert events[10:13] == ["started 2", "epoch 2.1", "epoch 2.2"]
    assert events.count("started 1") == (1 if "PRUNED 1" in events else 2)
    assert [number for number, times in spells.items() if times] == [1]
    assert all(spell["until"] >= spell["since"] for times in spells.values() for spell in times)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("together", [1, 4, 6])
def test_the_order_holds_however_many_are_compared_first(tmp_path: Path, workers: int, together: int) -> None:
    the_plan = plan(n_trials=20, epochs=9, window=6, stopping=Halving(grace=1, reduction=2, together=together))
    for folder, count, seed in ((tmp_path / "one", 1, 0), (tmp_path / "many", workers, workers)):
        with open_ledger(folder, {"fingerprint": ""}) as ledger:
            FakeRay(ledger, the_plan, count, random.Random(seed)).run()
    lengths = [len(record[4]) for record in content(tmp_path / "one")]
    assert content(tmp_path / "many") == content(tmp_path / "one")
    assert {record[1] for record in content(tmp_path / "one")} == {"COMPLETE", "PRUNED"}
    assert sorted(set(lengths)) == [1, 2, 4, 8, 9] or sorted(set(lengths)) == [1, 2, 4, 9]


def test_a_killed_search_goes_on_with_those_that_waited(tmp_path: Path) -> None:
    """Trials at a rung are not handed out again before their verdict is there."""
    the_plan = plan(n_trials=12, window=6, stopping=Halving(grace=2, reduction=3, together=6))
    with open_ledger(tmp_path / "whole", {"fingerprint": ""}) as ledger:
        FakeRay(ledger, the_plan, 1, random.Random(0)).run()
    with open_ledger(tmp_path / "killed", {"fingerprint": ""}) as ledger:
        FakeRay(ledger, the_plan, 1, random.Random(0)).run(steps=10)
        assert [len(record.epochs) for record in ledger.records()] == [4, 2, 2, 1]
    with open_ledger(tmp_path / "killed", {"fingerprint": ""}) as ledger:
        ray = FakeRay(ledger, the_plan, 1, random.Random(0))
        ray.run()
        assert ray.heard.events[0] == "started 3"
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
