"""Budgets that end a study, and trials that run again on a whole GPU."""

import random
from pathlib import Path
from typing import Any

import pytest

from core.io.atomic import atomic_write
from tests.support.fake_ray import FakeRay, command, content
from tests.support.study_configs import plan
from tuning.journal.file import JOURNAL
from tuning.journal.records import read_study
from tuning.journal.writer import open_study
from tuning.scheduling.budget import Budget
from tuning.scheduling.schedule import OOM

SPEC = {"fingerprint": ""}


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of `plan()`, made at once and without a budget."""
    folder = tmp_path_factory.mktemp("studies") / "free"
    command(folder, plan())
    return folder


@pytest.fixture(scope="module")
def budget(free: Path) -> Budget:
    """A target that ends a study in its middle."""
    scores = [record.best.val_accuracy for record in read_study(free)[1] if record.best]
    for number, score in enumerate(scores):
        target = Budget(target=score)
        ended = command(free.parent / f"target-{number}", plan(budget=target))
        if ended and 4 <= ended.n_trials < len(scores):
            return target
    raise AssertionError(scores)


@pytest.mark.parametrize(("workers", "seed"), [(2, 2), (4, 3), (12, 4)])
def test_a_target_ends_a_study_at_the_same_trial_for_any_workers_and_any_order(
    tmp_path: Path, budget: Budget, workers: int, seed: int
) -> None:
    one = command(tmp_path / "one", plan(budget=budget))
    many = command(tmp_path / "many", plan(budget=budget), workers, seed)
    assert one is not None
    assert many == one
    assert len(content(tmp_path / "one")) == one.n_trials < 12
    assert content(tmp_path / "many") == content(tmp_path / "one")
    assert "RUNNING" not in {row[1] for row in content(tmp_path / "one")}


def test_patience_ends_a_study_at_the_same_trial_for_any_workers(tmp_path: Path) -> None:
    the_plan = plan(budget=Budget(patience_trials=2))
    ends = [command(tmp_path / str(workers), the_plan, workers, workers) for workers in (1, 3, 6)]
    assert ends[0] is not None
    assert "2 new trials without a better one" in ends[0].reason
    assert ends[1:] == ends[:1] * 2
    assert content(tmp_path / "1") == content(tmp_path / "3") == content(tmp_path / "6")


def test_a_trial_that_is_opened_and_closed_again_keeps_the_times_of_its_worker(tmp_path: Path) -> None:
    command(tmp_path / "s", plan(n_trials=3, stopping=None))
    before = [record.segments for record in read_study(tmp_path / "s")[1]]
    assert [len(segments) for segments in before] == [1, 1, 1]
    command(tmp_path / "s", plan(n_trials=5, stopping=None))
    assert [record.segments for record in read_study(tmp_path / "s")[1]][:3] == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_command_that_is_killed_when_it_opens_the_trials_again_changes_nothing_in_the_end(
    tmp_path: Path, free: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The journal is replaced in one step: it is the old one or the new one."""
    command(tmp_path / "more", plan(n_trials=5))
    lines = (tmp_path / "more" / JOURNAL).read_bytes().splitlines()

    def killed(path: Path, data: bytes) -> None:
        if moment == "after":
            atomic_write(path, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tuning.journal.writer.atomic_write", killed)
        with pytest.raises(KeyboardInterrupt):
            command(tmp_path / "more", plan())
    left = (tmp_path / "more" / JOURNAL).read_bytes().splitlines()
    assert (len(left) < len(lines)) == (moment == "after")
    assert set(left) <= set(lines)
    states = {record.state for record in read_study(tmp_path / "more")[1]}
    assert states == {"COMPLETE", "PRUNED" if moment == "before" else "PAUSED"}
    command(tmp_path / "more", plan(), 3)
    assert content(tmp_path / "more") == content(free)


def test_a_longer_study_that_is_killed_often_is_the_one_that_is_made_at_once(
    tmp_path: Path, free: Path, budget: Budget
) -> None:
    for seed, changes in enumerate(({"n_trials": 4}, {"budget": budget}, {"n_trials": 7}, {})):
        command(tmp_path / "killed", plan(**changes), 3, seed, steps=6)
    command(tmp_path / "killed", plan(), 2)
    assert content(tmp_path / "killed") == content(free)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Content of a study without stopping whose trials all have whole GPUs."""
    folder = tmp_path_factory.mktemp("studies") / "whole"
    command(folder, plan(stopping=None))
    return content(folder)


class SmallShares(FakeRay):
    """Trials 2 and 7 run out of memory after two epochs unless they have a whole GPU."""

    def __init__(self, *args: Any, retry_oom: bool = True) -> None:
        super().__init__(*args, retry_oom=retry_oom)
        self.on_whole_gpus: set[int] = set()

    def _step(self, ray_id: str) -> None:
        job, done = self.running[ray_id]
        if job["whole_gpu"]:
            self.on_whole_gpus.add(job["number"])
        if job["number"] in (2, 7) and done == 2 and not job["whole_gpu"]:
            del self.running[ray_id]
            self.searcher.on_trial_complete(ray_id, {"result/error": "out of GPU memory: 2 GiB", "result/oom": True})
        else:
            super()._step(ray_id)


@pytest.mark.parametrize(("workers", "seed"), [(1, 1), (6, 3)])
def test_a_study_with_retries_is_the_one_that_whole_gpus_would_have_given(
    whole: list[Any], tmp_path: Path, workers: int, seed: int
) -> None:
    with open_study(tmp_path / "shares", SPEC) as journal:
        ray = SmallShares(journal, plan(stopping=None), workers, random.Random(seed))
        ray.run()
        assert ray.on_whole_gpus == {2, 7}
        assert [t.number for t in journal.trials() if OOM in t.user_attrs] == [2, 7]
    assert content(tmp_path / "shares") == whole


def test_without_a_retry_the_trial_fails_and_says_what_it_asked_for(tmp_path: Path) -> None:
    with open_study(tmp_path / "s", SPEC) as journal:
        SmallShares(journal, plan(stopping=None), 2, random.Random(0), retry_oom=False).run()
    failed = [record for record in read_study(tmp_path / "s")[1] if record.state == "FAIL"]
    assert [(record.number, record.error) for record in failed] == [(n, "out of GPU memory: 2 GiB") for n in (2, 7)]


def test_a_trial_that_no_gpu_holds_fails_after_its_retry(tmp_path: Path) -> None:
    with open_study(tmp_path / "s", SPEC) as journal:
        searcher = SmallShares(journal, plan(), 1, random.Random(0)).searcher
        searcher.suggest("a")
        searcher.on_trial_complete("a", {"result/error": "out of GPU memory: 2 GiB", "result/oom": True})
        assert [record.state for record in journal.records()] == ["RUNNING"]
        job = searcher.suggest("b")
        assert isinstance(job, dict)
        assert (job["number"], job["whole_gpu"]) == (0, True)
        searcher.on_trial_complete("b", {"result/error": "out of GPU memory: 99 GiB", "result/oom": True})
        assert [(record.state, record.error) for record in journal.records()] == [("FAIL", "out of GPU memory: 99 GiB")]
