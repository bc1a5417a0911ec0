"""A local Ray: quiet, monitored while it runs, and shut down afterwards."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from core.errors import UserError
from core.io.text import error_summary
from tuning.backend.ray_private import (
    Process,
    kill_processes,
    ray_processes,
    silence_error_thread,
    without_unused_processes,
)
from tuning.resources.machine import Machine

RAY_ENV = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_AUTH_MODE": "disabled",  # no token written into the home folder
    "RAY_prestart_worker_first_driver": "0",  # one a core, which trials would not use: theirs are actors
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # tuning.backend.interrupt.InterruptHandler handles it
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "600",  # a reused worker waits for its last trial's thread, not 2 s
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Ray's snapshots are never read
}


@contextlib.contextmanager
def local_ray(machine: Machine, lost: Callable[[str], None]) -> Iterator[Any]:
    """Start Ray on this machine, and shut it down after the block.

    Args:
        machine: what Ray may use of it.
        lost: called from another thread with the name of one of Ray's processes that has ended (killed, or out of
            memory). It must end the process; otherwise Ray does so shortly afterwards and prints pages of output.

    Raises:
        UserError: Ray does not start.
    """
    os.environ.update(RAY_ENV)
    import ray

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the journal has every error
    try:
        with without_unused_processes():
            ray.init(
                address="local",
                num_cpus=machine.cpus,
                num_gpus=machine.gpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
            )
    except Exception as error:
        ray.shutdown()
        raise UserError(
            f"Ray did not start ({error_summary(error)}): see that the machine is not too busy and try again"
        ) from error
    silence_error_thread()
    over = threading.Lock()
    processes = ray_processes()
    orphans = _children(processes)
    for name, process in processes.items():
        threading.Thread(target=_watch, args=(name, process, over, orphans, lost), daemon=True).start()
    try:
        yield ray
    finally:
        over.acquire(blocking=False)
        ray.shutdown()


def _watch(
    name: str, process: Process, over: threading.Lock, orphans: Sequence[Any], lost: Callable[[str], None]
) -> None:
    """Call `lost` when the process ends and no one holds `over`: neither the shutdown nor another watcher."""
    process.wait()
    if over.acquire(blocking=False):
        _kill_all(orphans)
        lost(name)


def _children(processes: Mapping[str, Process]) -> list[Any]:
    """What Ray's processes have started themselves: it outlives them by minutes."""
    import psutil  # Ray brings it along

    return [child for process in processes.values() for child in psutil.Process(process.pid).children()]


def _kill_all(orphans: Sequence[Any]) -> None:
    """End what is left of Ray: without a raylet no one else does."""
    kill_processes()
    for orphan in orphans:
        with contextlib.suppress(Exception):  # it may be gone
            orphan.kill()
