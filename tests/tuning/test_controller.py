"""tuning.controller: what Ray's controller keeps, and what it lets go of."""

from types import SimpleNamespace
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.utils.object_cache import _ObjectCache

from tuning.controller import forget_ended, keep_workers


def controller(trials: list[Trial], live: list[Trial]) -> Any:
    kept = {"_stopped_trials": set(trials) - set(live), "_failed_trials": set(), "_trials_to_cache": set(trials)}
    return SimpleNamespace(
        get_trials=lambda: trials,
        get_live_trials=lambda: set(live),
        _trial_metadata={trial.trial_id: "{}" for trial in trials},
        _actor_cache=_ObjectCache(may_keep_one=True),
        **kept,
    )


def trials(*states: str) -> list[Trial]:
    found = []
    for at, state in enumerate(states):
        found.append(Trial("a", trial_id=str(at), stub=True))
        found[-1].set_status(state)
    return found


def test_trials_that_ended_are_forgotten_and_no_others() -> None:
    known = trials("TERMINATED", "RUNNING", "TERMINATED", "ERROR", "PENDING")
    ray = controller(known, live=[known[1], known[2], known[4]])  # one is ending: it is still live
    forget_ended(ray)
    assert [trial.trial_id for trial in known] == ["1", "2", "4"]
    assert sorted(ray._trial_metadata) == ["1", "2", "4"]
    assert {trial.trial_id for trial in ray._trials_to_cache} == {"1", "2", "4"}


def test_several_idle_workers_are_kept() -> None:
    (trial,) = trials("RUNNING")
    trial.create_placement_group_factory()
    ray = controller([trial], [trial])
    keep_workers(ray, trial, 8)
    assert [ray._actor_cache.cache_object(trial.placement_group_factory, at) for at in range(3)] == [True] * 3
    assert list(ray._actor_cache.flush_cached_objects()) == []
    assert len(list(ray._actor_cache.flush_cached_objects(force_all=True))) == 3


def test_another_ray_without_those_names_is_left_alone() -> None:
    known = trials("TERMINATED")
    ray = SimpleNamespace(get_trials=lambda: known, get_live_trials=set)
    keep_workers(ray, known[0], 8)
    forget_ended(ray)
    assert known == []


def test_the_names_are_those_of_this_ray() -> None:
    names = set(TuneController.__init__.__code__.co_names)
    assert {"_actor_cache", "_stopped_trials", "_failed_trials", "_trials_to_cache", "_trial_metadata"} <= names
