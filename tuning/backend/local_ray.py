"""A local Ray: quiet, monitored while it runs, and shut down afterwards."""

import contextlib
import logging
import os
import resource
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.io.text import error_summary
from tuning.backend.ray_private import (
    node_is_looked_for_often,
    on_loopback,
    own_import_path,
    ray_processes,
    reload_authentication,
    running_node,
    sigterm_handler_kept,
    silence_error_thread,
    without_command_line,
    without_fault_handler,
    without_unused_processes,
    without_uv_environment,
)
from tuning.backend.start_watch import call_watched
from tuning.resources.machine import Machine

RAY_ENV = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_AUTH_MODE": "token",  # without one, Ray runs the code of everyone who can connect to its ports
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray writes one into the home folder
    "RAY_ENABLE_K8S_TOKEN_AUTH": "0",  # else Ray in a pod asks Kubernetes about this token
    "RAY_prestart_worker_first_driver": "0",  # one worker per core, which trials do not use: they run as actors
    "RAY_raylet_client_connect_timeout_milliseconds": "50",  # it usually needs two attempts, with a second in between
    "RAY_raylet_client_num_connect_attempts": "200",  # 10 s in total, as before
    # A raylet without an answer for 30 s, as on a busy machine, would end this process without a message.
    "RAY_health_check_failure_threshold": "1000000",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # tuning.backend.interrupt.InterruptHandler handles it
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "600",  # a reused worker waits for its last trial's thread, not 2 s
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Ray's snapshots are never read
    "TUNE_RESULT_DIR": "",  # of older versions of Ray; Tune refuses to run if one of these two has a value
    "RAY_AIR_LOCAL_CACHE_DIR": "",
    "RAY_TUNE_CALLBACKS": "",  # those of the user's own searches
    "OMP_PROC_BIND": "false",  # else torch's OpenMP may bind all workers to the same CPU
    "PYTHONBREAKPOINT": "",  # Ray's start sets it; later breakpoints of a notebook must not call Ray's debugger
}

OF_A_CLUSTER = (
    "RAY_JOB_CONFIG_JSON_ENV_VAR",  # of a submitted job: its packages are only in the cluster
    "RAY_OVERRIDE_RESOURCES",  # of a node: a head may have no CPU
    "RAY_REDIS_ADDRESS",  # of a head, as the next: another Ray would write the cluster's tables
    "RAY_gcs_storage",
    "RAY_RUNTIME_ENV_HOOK",  # gives workers another environment than this process has
)
"""Variables of a cluster in whose job or container this process may run. A local Ray must not see them."""

OPEN_FILES, OPEN_FILES_PER_CPU = 100, 4
"""Open files that one process of Ray needs. Its raylet has 54 with one worker, and 3 more for each further one."""

LONGEST_PATH = 26
"""Maximum bytes of the path in which Ray's folder is made. Ray's sockets add 77, of the 103 that macOS allows. On Linux
they add up to 79, of 107."""

_in_use = threading.Lock()


@contextlib.contextmanager
def ray_session(
    problem: str, settings: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext, **options: Any
) -> Iterator[Any]:
    """Start or join Ray, without its output, and shut it down after the block. A process has one at a time.

    Args:
        problem: Message of the UserError if Ray does not start; `{}` is replaced by the cause.
        settings: Context manager of the whole session. It is not entered if another Ray runs in this process.
        options: Arguments of ray.init.

    Raises:
        UserError: Ray does not start: it fails, one of its processes dies, or it does not answer; or it runs already.
    """
    import ray

    if not _in_use.acquire(blocking=False):
        raise UserError(
            "another search of this Python process uses Ray; wait until it has ended, or search in another process"
        )
    try:
        if ray.is_initialized():
            raise UserError("Ray already runs in this Python process; run ray.shutdown() first")
        with settings():
            yield from _only_session(ray, problem, options)
    finally:
        _in_use.release()


def _only_session(ray: Any, problem: str, options: Mapping[str, Any]) -> Iterator[Any]:
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the journal has every error

    def shut_down() -> None:
        with sigterm_handler_kept():
            ray.shutdown()

    def start() -> None:
        try:
            with sigterm_handler_kept(), without_uv_environment(), without_fault_handler(), without_command_line():
                ray.init(
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=True,
                    job_config=own_import_path(shipped="runtime_env" in options),
                    **options,
                )
        except Exception as error:
            shut_down()
            if "AF_UNIX path length" in str(error):
                why = "the path of Ray's temporary folder is too long; set RAY_TMPDIR to a short one, such as /tmp"
                raise UserError(why) from error
            raise UserError(problem.format(root_cause(error))) from error

    with call_watched(start, problem, shut_down):
        silence_error_thread()
        try:
            yield ray
        finally:
            shut_down()


def root_cause(error: Exception) -> str:
    """Return the cause of an error in one line, without the pages that Ray adds."""
    return error_summary(getattr(error, "cause", None) or error)


@contextlib.contextmanager
def _own_settings() -> Iterator[None]:
    """Use RAY_ENV and hide OF_A_CLUSTER while the block runs. Ray keeps the token, so it must read it again."""
    try:
        with environment({**RAY_ENV, **dict.fromkeys(OF_A_CLUSTER)}):
            reload_authentication()
            yield
    finally:
        reload_authentication()  # with the variables as they were


_REMOVE = """
rm -rf "$0"
for process in /proc/[0-9]*
do grep -qsF "$0/" $process/cmdline && kill -9 ${process#/proc/}
done
sleep 3
exec rm -rf "$0"
"""
"""Shell script that removes a folder of Ray after a loss.

Workers may outlive the raylet, and make the folder again. One that still starts, which takes seconds, is killed: its
command line names files of the folder. One that begins a trial ends in a moment, before the second removal.
"""


@contextlib.contextmanager
def local_ray(machine: Machine, lost: Callable[[str], None]) -> Iterator[Any]:
    """Start Ray on this machine, and shut it down after the block.

    Args:
        machine: CPUs and GPUs that Ray may use.
        lost: Called from another thread with the name of one of Ray's processes that has ended (killed, or out of
            memory). It must end this process; otherwise Ray does so shortly afterwards and prints pages of output.

    Raises:
        UserError: Ray does not start.
    """
    import psutil  # Ray brings it along

    problem = (
        "Ray did not start ({}); check that the machine has enough memory, threads and free processors, and run the "
        "same command again"
    )
    _check_open_files(machine.cpus)
    own = {"address": "local", "num_cpus": machine.cpus, "num_gpus": machine.gpus, "include_dashboard": False}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_private_folder())
        with without_unused_processes(), node_is_looked_for_often(), on_loopback():
            ray = stack.enter_context(ray_session(problem, _own_settings, _temp_dir=folder, **own))
        over = threading.Lock()
        processes = list(ray_processes(running_node()).items())
        for _, process in tuple(processes):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended, which `watch` reports
                # The raylet's agents survive it by minutes. It ends itself as soon as one of them has ended.
                processes += [(child.name(), child) for child in psutil.Process(process.pid).children()]

        def watch(name: str, process: Any) -> None:
            process.wait()
            if not over.acquire(blocking=False):  # the shutdown or another watcher has it
                return
            for _, other in processes:  # at once: if the raylet ends itself, Ray ends this process without a message
                with contextlib.suppress(Exception):  # it may be gone
                    other.kill()
            # By another process: it takes 50 ms, and Ray may end this one earlier.
            remove = ["sh", "-c", _REMOVE, str(Path(folder).parent)]
            silent = [(os.POSIX_SPAWN_OPEN, output, os.devnull, os.O_WRONLY, 0) for output in (1, 2)]
            with contextlib.suppress(OSError):
                os.posix_spawnp("sh", remove, os.environ, file_actions=silent)
            lost(name)

        for name, process in processes:
            if name.endswith(("raylet", "gcs_server", "Agent")):
                threading.Thread(target=watch, args=(name, process), daemon=True).start()
        stack.callback(over.acquire, blocking=False)
        yield ray


@contextlib.contextmanager
def _private_folder() -> Iterator[str]:
    """Yield the path of a temporary folder for Ray, in one that only this user may enter. Remove both after the block.

    Ray lets every user of the machine write into its folder, so that another one could replace its sockets and logs.
    """
    chosen = os.environ.get("RAY_TMPDIR")
    try:
        usual = chosen or tempfile.gettempdir()
        parent = Path(usual if chosen or len(os.fsencode(usual)) <= LONGEST_PATH else "/tmp").absolute()
        parent.mkdir(parents=True, exist_ok=True)
        private = Path(tempfile.mkdtemp(prefix="ray-", dir=parent))
    except OSError as error:
        why = f"Ray cannot write its temporary folder ({root_cause(error)}); set RAY_TMPDIR to another one"
        raise UserError(why) from error
    try:
        yield str(private / "r")
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _check_open_files(cpus: int) -> None:
    """Check the limit that Ray raises the usual one to. With fewer files, Ray ends this process without a message.

    Raises:
        UserError: The limit is too low.
    """
    needed, limit = OPEN_FILES + OPEN_FILES_PER_CPU * cpus, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= limit < needed:
        raise UserError(
            f"a process may open {limit} files here, and Ray needs {needed}; raise the limit (`ulimit -n {needed}`), "
            "and run the same command again"
        )


@contextlib.contextmanager
def environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables, or remove those that are None, and restore all of them after the block."""
    before = {name: os.environ.get(name) for name in variables}
    try:
        _set_variables(variables)
        yield
    finally:
        _set_variables(before)


def _set_variables(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
