"""What Ray Tune's controller does only when its private names are touched: keep idle workers, forget trials that ended.

Both save time or memory and change no trial. Where a Ray to come has other names, the search does without.
"""

import contextlib
from typing import Any


def keep_workers(controller: Any, trial: Any, count: int) -> None:
    """Keep up to so many workers while no trial is at hand for them.

    By itself the controller keeps one idle worker and ends the others, and a new one takes seconds to start. At a
    rung, and at the window's edge, several may be idle for a moment.

    Args:
        controller: Ray's TuneController.
        trial: one of Ray's, that needs what all of them need.
        count: of workers.
    """
    with contextlib.suppress(AttributeError):
        controller._actor_cache.increase_max(trial.placement_group_factory, count)


def forget_ended(controller: Any) -> None:
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
