"""All uses of Ray's private names, so that one test shows which of them another version of Ray lacks.

A search works without the names for unused processes, idle workers, ended trials, telemetry, error messages, runtime
environments, signals, the fault handler, the command line and the loopback address.
"""

import contextlib
import ctypes
import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError, RayError
from ray.job_config import JobConfig

from core.errors import UserError
from core.io.system_errors import is_out_of_memory

try:
    from ray import _raylet
    from ray._private import ray_constants, services
    from ray._private import utils as ray_utils
    from ray._private import worker as ray_worker
    from ray._private.authentication import authentication_token_setup
    from ray._private.node import Node
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.core.generated.gcs_pb2 import GcsNodeInfo
except ImportError as error:
    if is_out_of_memory(error):  # for the libraries of pyarrow and pandas, which ray.air imports
        raise
    raise UserError(f"sentune cannot use Ray {ray.__version__} ({error}); run pip install 'ray[tune]<=2.60'") from error

ANSWER_SECONDS = 10
"""Time in seconds after which an idle worker that does not answer counts as dead."""
HEAD_FIRST_SECONDS, HEAD_SECONDS = 2, 5
"""Time limits in seconds for the first answer of a cluster's head, and for each further one."""


def keep_idle_workers(controller: Any, trial: Any, count: int) -> None:
    """Keep up to `count` idle workers alive, and never reuse a worker that has died.

    By default the controller keeps one idle worker and ends the others, and a new worker takes seconds to start. At a
    rung, several workers may be idle for a moment. If one of them has been killed, reusing it would count as a death
    of the next trial's worker.

    Args:
        controller: Ray's TuneController.
        trial: A Ray trial; all of them need the same resources.
        count: Maximum number of idle workers.
    """
    with contextlib.suppress(AttributeError):
        cache, manager = controller._actor_cache, controller._actor_manager
        cache.increase_max(trial.placement_group_factory, count)
        cache.has_cached_object = partial(_has_living, cache, manager, cache.has_cached_object)
        cache.pop_cached_object = partial(_pop_found, cache)


def _has_living(cache: Any, manager: Any, usual: Callable[[Any], bool], resources: Any) -> bool:
    """Return whether there is an idle worker with these resources; remove dead ones."""
    with contextlib.suppress(AttributeError, KeyError):
        workers = cache._cached_objects[resources]
        while workers and not _answers(manager, workers[0]):
            dead = workers.pop(0)
            cache._num_cached_objects -= 1
            dead.set_on_stop(None)
            dead.set_on_error(None)
            manager.remove_actor(dead, kill=True)
    return usual(resources)


def _pop_found(cache: Any, resources: Any) -> Any:
    """Remove and return the worker that `_has_living` has just found; None if there is none.

    Ray's method asks again. If the worker has died in between, it returns None, and Ray uses None as a worker.
    """
    workers = cache._cached_objects[resources]
    if not workers:
        return None
    cache._num_cached_objects -= 1
    return workers.pop(0)


def _answers(manager: Any, worker: Any) -> bool:
    actor, _ = manager._live_actors_to_ray_actors_resources[worker]
    try:
        ray.get(actor.__ray_ready__.remote(), timeout=ANSWER_SECONDS)
    except RayError:
        return False
    return True


def drop_finished_trials(controller: Any) -> None:
    """Drop Ray's records of the trials that have ended: they are not needed any more.

    Args:
        controller: Ray's TuneController.
    """
    trials, live = controller.get_trials(), controller.get_live_trials()
    # For Ray, a trial whose worker has died remains live.
    ended = {trial for trial in trials if trial.is_finished() and (trial.status == "ERROR" or trial not in live)}
    trials[:] = [trial for trial in trials if trial not in ended]
    live.difference_update(ended)
    for name in ("_stopped_trials", "_failed_trials", "_trials_to_cache"):
        getattr(controller, name, set()).difference_update(ended)
    for trial in ended:
        getattr(controller, "_trial_metadata", {}).pop(trial.trial_id, None)


@contextlib.contextmanager
def _replaced(owner: Any, **values: Any) -> Iterator[None]:
    """Give attributes of a class or a module other values while the block runs, except those that it lacks."""
    usual = {name: getattr(owner, name) for name in values if hasattr(owner, name)}
    for name in usual:
        setattr(owner, name, values[name])
    try:
        yield
    finally:
        for name, value in usual.items():
            setattr(owner, name, value)


def losses_are_deaths() -> AbstractContextManager[None]:
    """Let Tune treat a worker that Ray killed because memory ran low, or whose report was lost, like any dead worker.

    Ray's errors for them are no RayActorError, and Tune would end the whole search. A report of more than 100 KiB stays
    on the worker's node until the driver fetches it, and is lost with this node.
    """
    usual: Any = getattr(RayActorManager, "_actor_task_failed", None)

    def failed(manager: Any, *, exception: Exception, **task: Any) -> None:
        dead = isinstance(exception, OutOfMemoryError | ObjectLostError)
        usual(manager, exception=RayActorError(error_msg=str(exception)) if dead else exception, **task)

    return _replaced(RayActorManager, _actor_task_failed=failed)


def without_callback_telemetry() -> AbstractContextManager[None]:
    """Skip Ray's count of callbacks for telemetry, which is off: it imports MLflow, W&B and Comet for seconds."""
    try:
        from ray.air._internal import usage
    except ImportError:  # another version of Ray
        return contextlib.nullcontext()
    return _replaced(usage, tag_callbacks=lambda callbacks: None)


def without_signal_handlers() -> AbstractContextManager[None]:
    """Let Tune set no handlers of signals: it would replace the caller's of SIGUSR1 and never restore it."""
    from ray.tune import tune

    return _replaced(tune, _setup_signal_catching=threading.Event)


def without_runtime_environment() -> AbstractContextManager[None]:
    """Let Tune's workers have no runtime environment of their own: they inherit the variables that they need.

    Tune's has the AWS keys of this process, which Ray writes into a log that every user of the machine can read. Ray
    also starts such a worker by bash, and does not quote the path of Python: with a space in it, no worker ever starts.
    Workers of a cluster have the environment of the job.
    """
    from ray.tune.execution import class_cache

    return _replaced(class_cache, DEFAULT_ENV_VARS={}, ENV_VARS_TO_PROPAGATE=set())


def without_uv_environment() -> AbstractContextManager[None]:
    """Let Ray's start ignore that this process runs below `uv run`.

    Otherwise Ray copies the current folder, and starts each worker by `uv run` in the copy, in another environment.
    """
    return _replaced(ray_constants, RAY_ENABLE_UV_RUN_RUNTIME_ENV=False)


def without_fault_handler() -> AbstractContextManager[None]:
    """Let Ray's start not enable Python's fault handler, which would stay enabled.

    It also fails if the program has closed standard error, or replaced it by an object without a descriptor.
    """
    return _replaced(ray_worker, faulthandler=SimpleNamespace(is_enabled=lambda: True))


def without_command_line() -> AbstractContextManager[None]:
    """Let Ray's start not record the command line.

    It may have a storage's keys, or a file name that is not UTF-8, with which Ray does not start.
    """
    return _replaced(ray_utils, get_entrypoint_name=lambda: "sentune")


def on_loopback() -> AbstractContextManager[None]:
    """Let Ray's start use the loopback address while the block runs, as it does on macOS.

    The machine's own address may disappear during a search, as with a VPN. Then Ray's processes would lose each other.
    """
    return _replaced(ray_constants, ENABLE_RAY_CLUSTER=False)


NODE_SECONDS = 10
"""Time in seconds after which Ray checks for its node itself."""
UNUSED_STARTS = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's Node that start processes which a search on this machine does not need: the autoscaler, the log
monitor and the dashboard's server, which starts even without a dashboard."""


def without_unused_processes() -> AbstractContextManager[None]:
    """Let Ray start without the processes of UNUSED_STARTS while the block runs.

    They take 3.4 of the 8 s of processor time of Ray's start on a slow machine.
    """
    return _replaced(Node, **dict.fromkeys(UNUSED_STARTS, lambda node, **options: None))


@contextlib.contextmanager
def noted_nodes() -> Iterator[list[Any]]:
    """Give a list to which each Node object of Ray is added when its constructor begins, while the block runs.

    Ray itself keeps it only after its processes have answered. It has `all_processes` from the beginning.
    """
    usual, nodes = Node.__init__, list[Any]()

    def noted(node: Any, *arguments: Any, **options: Any) -> None:
        nodes.append(node)
        usual(node, *arguments, **options)

    with _replaced(Node, __init__=noted):
        yield nodes


def node_is_looked_for_often() -> AbstractContextManager[None]:
    """Let Ray's start end as soon as its node exists. Ray checks only once a second, which takes half a second more."""
    usual = services.get_node

    def get_node(address: str, node_id: str) -> Any:
        deadline = time.monotonic() + NODE_SECONDS
        with contextlib.suppress(AttributeError, RayError):
            while node_id not in {info.node_id.hex() for info in alive_nodes(address)} and time.monotonic() < deadline:
                time.sleep(0.02)
        return usual(address, node_id)

    return _replaced(services, get_node=get_node)


@contextlib.contextmanager
def sigterm_handler_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM that Ray replaces.

    Its start sets one that prints a stack trace, and its shutdown the default, which ends the process without a line.

    Works on the handler of C below Python's, because Python sets handlers in the main thread only.
    """
    python = ctypes.pythonapi
    python.PyOS_getsig.restype = python.PyOS_setsig.restype = ctypes.c_void_p
    python.PyOS_setsig.argtypes = [ctypes.c_int, ctypes.c_void_p]
    before = python.PyOS_getsig(signal.SIGTERM)
    try:
        yield
    finally:
        python.PyOS_setsig(signal.SIGTERM, before)


class _FixedPath(list[str]):
    """The import path that workers get. Ray's start does not extend it."""

    def extend(self, folders: Iterable[str]) -> None:
        """Ignore the current folder and the script's, which workers would prefer to all other folders."""


def own_import_path(*, shipped: bool) -> JobConfig:
    """Return a configuration of a job whose workers import `core` and `tuning` from where this process has them.

    With Ray's usual one, a package `core` in the user's folder would come first.

    Args:
        shipped: Whether the job's runtime environment has the packages.
    """
    config = JobConfig()
    folder = Path(__file__).parents[2]
    there = shipped or folder.name in ("site-packages", "dist-packages")  # which is on every import path
    config._py_driver_sys_path = _FixedPath([] if there else [str(folder)])
    return config


def reload_authentication() -> None:
    """Let this process read RAY_AUTH_MODE and RAY_AUTH_TOKEN again, which Ray keeps. The mode must be the first."""
    native: Any = _raylet  # its stub leaves out both names
    native.Config.initialize("")
    native.AuthenticationTokenLoader.instance().reset_cache()


def silence_error_thread() -> None:
    """Stop the thread that prints errors of Ray's processes: the journal has all that matter."""
    with contextlib.suppress(AttributeError):
        ray_worker.global_worker.threads_stopped.set()
        ray_worker.global_worker.gcs_error_subscriber.close()


def running_node() -> Any:
    """Return the Node object of Ray on this machine; None if Ray does not run."""
    return ray_worker._global_node


def ray_processes(node: Any) -> dict[str, Any]:
    """Return the Popen of each process of a Node object without which Ray can neither start nor continue."""
    started = list(getattr(node, "all_processes", {}).items())  # no public name lists them
    return {name: infos[0].process for name, infos in started if name in ("raylet", "gcs_server") and infos}


def kill_processes(node: Any) -> None:
    """Kill the processes that a Node object has started and that still run."""
    with contextlib.suppress(Exception):
        node.kill_all_processes(check_alive=False, allow_graceful=False)


def bootstrap_address(address: str) -> str | None:
    """Return HOST:PORT of a cluster's head as ray.init finds it, or None for `auto` if RAY_ADDRESS is `local`.

    Raises:
        ConnectionError: `auto` is given, and no cluster runs on this machine.
    """
    found: str | None = services.canonicalize_bootstrap_address(address)
    return found


def cluster_metadata(address: str) -> dict[str, Any]:
    """Return the data that the head of a cluster has for ray.init, such as its versions of Ray and Python.

    Raises:
        AuthenticationError: The token that the cluster or RAY_AUTH_MODE requires is missing or wrong.
        RpcError: No head answers there.
    """
    # Without this check Ray's client ends the process if the token is missing.
    authentication_token_setup.ensure_token_if_auth_enabled(create_token_if_missing=False)
    return dict(json.loads(_head(address).internal_kv_get(b"CLUSTER_METADATA", b"cluster", timeout=HEAD_SECONDS)))


def alive_nodes(address: str) -> list[Any]:
    """Return Ray's GcsNodeInfo of each node of a cluster that is alive, the head first."""
    known = _head(address).get_all_node_info(timeout=HEAD_SECONDS).values()
    alive = [info for info in known if info.state == GcsNodeInfo.GcsNodeState.ALIVE]
    return sorted(alive, key=lambda info: not info.is_head_node)


def _head(address: str) -> Any:
    """Return a client of the head; raise RpcError if another process listens there, after 12 s with Ray 2.60.

    Ray first waits twice for a connection, 5 s each. Its usual client, GcsClient, waits another 30 s for the first
    answer.
    """
    client = _raylet.InnerGcsClient  # type: ignore[attr-defined]  # its stub leaves it out
    return client.standalone(address, None, timeout_ms=1000 * HEAD_FIRST_SECONDS)
