"""Tasks on a local Ray other than the trials of a search: several in parallel; restarted if their worker dies."""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from core.errors import UserError
from tuning.backend.interrupt import InterruptHandler
from tuning.scheduling.schedule import WORKER_DIED

T = TypeVar("T")


def run_tasks(
    tasks: Sequence[T],
    starter: Callable[[Any], Callable[[T], Any]],
    session: Callable[[], AbstractContextManager[Any]],
    workers: int,
    interrupt: InterruptHandler,
) -> Generator[tuple[T, Mapping[str, Any]]]:
    """Run tasks and yield each with its result, in the order in which they end; return after an interrupt.

    Args:
        tasks: The tasks, in the order in which they start.
        starter: Called with the module ray once it has started. Returns a function that starts a task and returns its
            reference; the result of a task is a mapping, see tuning.backend.worker.failure_result for failures.
        session: Context manager that yields module ray once Ray has started.
        workers: Number of parallel tasks.
        interrupt: Ends the execution; unfinished tasks are discarded.

    Yields:
        A task and its result, which contains `died` if its worker died at each attempt.

    Raises:
        UserError: A task had an error that the user must fix first, such as a full disk.
    """
    with session() as ray, interrupt.while_training():
        start = starter(ray)
        waiting, running = deque(tasks), dict[Any, T]()
        while (waiting or running) and not interrupt.requested:
            while waiting and len(running) < workers:
                task = waiting.popleft()
                running[start(task)] = task
            for reference in ray.wait(list(running), timeout=0.5)[0]:
                try:
                    result = dict(ray.get(reference))
                except ray.exceptions.RayTaskError:  # an error of the task, which is a RayError as well
                    raise
                except ray.exceptions.RayError:
                    result = {"died": WORKER_DIED}
                if "user_error" in result:
                    raise UserError(result["user_error"])
                yield running.pop(reference), result
