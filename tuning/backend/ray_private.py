"""What Ray Tune's controller does only when its private names are touched: keep idle workers, forget ended trials.

Both save time or memory and change no trial. Where a Ray to come has other names, the search does without.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import ray
from ray.exceptions import RayError

ANSWER_SECONDS = 10
"""An idle worker that says nothing for so long is taken for dead."""


def keep_idle_workers(controller: Any, trial: Any, count: int) -> None:
    """Keep up to so many workers while no trial is at hand for them, and hand none on that has died meanwhile.

    By itself the controller keeps one idle worker and ends the others, and a new one takes seconds to start. At a
    rung, and at the window's edge, several may be idle for a moment. One that was killed then would cost the next
    trial one of its three deaths.

    Args:
        controller: Ray's TuneController.
        trial: one of Ray's, that needs what all of them need.
        count: of workers.
    """
    with contextlib.suppress(AttributeError):
        cache, manager = controller._actor_cache, controller._actor_manager
        cache.increase_max(trial.placement_group_factory, count)
        cache.has_cached_object = partial(_has_living, cache, manager, cache.has_cached_object)


def _has_living(cache: Any, manager: Any, usual: Callable[[Any], bool], resources: Any) -> bool:
    """Whether there is an idle worker with these resources; dead ones are let go."""
    with contextlib.suppress(AttributeError, KeyError):
        workers = cache._cached_objects[resources]
        while workers and not _answers(manager, workers[0]):
            dead = workers.pop(0)
            cache._num_cached_objects -= 1
            dead.set_on_stop(None)
            dead.set_on_error(None)
            manager.remove_actor(dead, kill=True)
    return usual(resources)


def _answers(manager: Any, worker: Any) -> bool:
    actor, _ = manager._live_actors_to_ray_actors_resources[worker]
    try:
        ray.get(actor.__ray_ready__.remote(), timeout=ANSWER_SECONDS)
    except RayError:
        return False
    return True


def drop_finished_trials(controller: Any) -> None:
    """Let go of the trials that have ended: some 25 kB each, which nobody asks for again.

    Args:
        controller: Ray's TuneController.
    """
    trials = controller.get_trials()
    ended = {trial for trial in trials if trial.is_finished()} - controller.get_live_trials()
    trials[:] = [trial for trial in trials if trial not in ended]
    for name in ("_stopped_trials", "_failed_trials", "_trials_to_cache"):
        getattr(controller, name, set()).difference_update(ended)
    for trial in ended:
        getattr(controller, "_trial_metadata", {}).pop(trial.trial_id, None)


def skip_callback_telemetry() -> None:
    """Ray counts them for telemetry, which is off, and imports what is installed of MLflow, W&B and Comet: seconds."""
    with contextlib.suppress(ImportError):  # another Ray's private matter
        from ray.air._internal import usage

        usage.tag_callbacks = lambda callbacks: None


class Process(Protocol):
    """As subprocess.Popen."""

    pid: int

    def wait(self) -> int: ...


def silence_error_thread() -> None:
    """Stop the thread that prints what Ray's processes think of one another: what matters is in the journal."""
    from ray._private.worker import global_worker

    with contextlib.suppress(AttributeError):
        global_worker.threads_stopped.set()
        global_worker.gcs_error_subscriber.close()


def ray_node() -> Any:
    from ray._private import worker  # Ray tells nobody in public which processes it started

    return worker._global_node


def ray_processes() -> dict[str, Process]:
    """Those of Ray's processes without which nothing goes on."""
    started = getattr(ray_node(), "all_processes", {})
    return {name: infos[0].process for name, infos in started.items() if name in ("raylet", "gcs_server") and infos}
