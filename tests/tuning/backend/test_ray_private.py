"""tuning.backend.ray_private: workers, records, unused processes and nodes, and the private names of this Ray."""

import faulthandler
import importlib.util
import inspect
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray._private import ray_constants, services, utils, worker
from ray._private.authentication import authentication_token_setup
from ray._private.node import Node
from ray._raylet import AuthenticationTokenLoader, Config, GcsErrorSubscriber, InnerGcsClient
from ray.air._internal import usage
from ray.air.execution._internal import RayActorManager
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError
from ray.job_config import JobConfig
from ray.tune.execution import class_cache
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.utils.object_cache import _ObjectCache

from core.errors import UserError
from tuning.backend.ray_private import (
    UNUSED_STARTS,
    drop_finished_trials,
    keep_idle_workers,
    losses_are_deaths,
    noted_nodes,
    on_loopback,
    own_import_path,
    without_callback_telemetry,
    without_fault_handler,
    without_runtime_environment,
    without_signal_handlers,
    without_unused_processes,
    without_uv_environment,
)


def controller(trials: list[Trial], live: list[Trial]) -> Any:
    kept = {"_stopped_trials": set(trials) - set(live), "_failed_trials": set(), "_trials_to_cache": set(trials)}
    known_live = set(live)
    return SimpleNamespace(
        get_trials=lambda: trials,
        get_live_trials=lambda: known_live,
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


def test_ray_does_not_ask_for_the_descriptor_of_standard_error() -> None:
    with without_fault_handler():
        assert worker.faulthandler.is_enabled()  # so `connect` enables nothing
    assert worker.faulthandler is faulthandler
    assert "faulthandler" in inspect.unwrap(worker.connect).__code__.co_names


def test_trials_that_ended_are_forgotten_and_no_others() -> None:
    """For Ray, a trial whose worker has died remains live."""
    known = trials("TERMINATED", "RUNNING", "TERMINATED", "ERROR", "PENDING")
    ray = controller(known, live=known[1:])  # one is ending: it is still live
    drop_finished_trials(ray)
    assert [trial.trial_id for trial in known] == ["1", "2", "4"]
    assert {trial.trial_id for trial in ray.get_live_trials()} == {"1", "2", "4"}
    assert sorted(ray._trial_metadata) == ["1", "2", "4"]
    assert {trial.trial_id for trial in ray._trials_to_cache} == {"1", "2", "4"}


@pytest.mark.parametrize(
    "loss",
    [OutOfMemoryError("the node runs low on memory"), ObjectLostError("ab12", b"", "")],
    ids=["memory", "report"],
)
def test_a_worker_that_ray_killed_or_whose_report_is_lost_is_a_dead_worker(loss: Exception) -> None:
    """Without that, Ray's manager raises an error that ends the search."""
    seen: list[Exception] = []
    actor = SimpleNamespace(actor_id=1, _on_error=lambda actor, error: seen.append(error))
    task = SimpleNamespace(_tracked_actor=actor, _on_error=lambda actor, error: seen.append(error))
    manager: Any = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: None)
    given: Any = {"tracked_actor_task": task, "exception": loss}  # as Ray calls it
    with pytest.raises(RuntimeError, match="unexpected exception"):
        RayActorManager._actor_task_failed(manager, **given)
    with losses_are_deaths():
        RayActorManager._actor_task_failed(manager, **given)
    assert [(type(error), str(error)) for error in seen] == [(RayActorError, str(loss))] * 2
    assert manager._failed_actor_ids == {1}
    with pytest.raises(RuntimeError, match="unexpected exception"):
        RayActorManager._actor_task_failed(manager, **given)  # as before


class Worker:
    """An idle one."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def set_on_stop(self, callback: Any) -> None:
        self.callbacks.append(callback)

    set_on_error = set_on_stop


def test_several_idle_workers_are_kept_and_the_living_are_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    (trial,) = trials("RUNNING")
    trial.create_placement_group_factory()
    ray, needs, workers = controller([trial], [trial]), trial.placement_group_factory, [Worker() for _ in range(4)]
    dead, removed = {workers[0], workers[1], workers[3]}, list[Worker]()
    monkeypatch.setattr("tuning.backend.ray_private._answers", lambda manager, worker: worker not in dead)
    ray._actor_manager = SimpleNamespace(remove_actor=lambda worker, kill: removed.append(worker))
    cache = ray._actor_cache
    keep_idle_workers(ray, trial, 8)
    assert all(cache.cache_object(needs, worker) for worker in workers)
    assert list(cache.flush_cached_objects()) == []
    assert cache.has_cached_object(needs)
    dead.add(workers[2])  # it dies after it was asked: like a worker that dies later, it must not become None
    assert cache.pop_cached_object(needs) is workers[2]
    assert removed == workers[:2]
    assert not cache.has_cached_object(needs)
    assert cache.pop_cached_object(needs) is None
    assert removed == [*workers[:2], workers[3]]
    assert cache.num_cached_objects == 0
    assert workers[3].callbacks == [None, None]  # its end has no callbacks


def test_another_ray_without_those_names_is_left_alone() -> None:
    known = trials("TERMINATED")
    ray = SimpleNamespace(get_trials=lambda: known, get_live_trials=set)
    keep_idle_workers(ray, known[0], 8)
    drop_finished_trials(ray)
    assert known == []


def test_ray_starts_its_unused_processes_again_after_the_block() -> None:
    before = [getattr(Node, name) for name in UNUSED_STARTS]
    with without_unused_processes():
        assert [getattr(Node, name) for name in UNUSED_STARTS] != before
        Node.start_api_server(None, include_dashboard=False, raise_on_failure=False)
    assert [getattr(Node, name) for name in UNUSED_STARTS] == before


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (TuneController, "_actor_cache"),
        (TuneController, "_actor_manager"),
        (TuneController, "_stopped_trials"),
        (TuneController, "_failed_trials"),
        (TuneController, "_trials_to_cache"),
        (TuneController, "_trial_metadata"),
        (_ObjectCache, "_cached_objects"),
        (_ObjectCache, "_num_cached_objects"),
        (_ObjectCache, "increase_max"),
        (_ObjectCache, "pop_cached_object"),
        (_ObjectCache, "has_cached_object"),
        (RayActorManager, "_live_actors_to_ray_actors_resources"),
        (RayActorManager, "remove_actor"),
        (TrackedActor, "set_on_stop"),
        (TrackedActor, "set_on_error"),
        (usage, "tag_callbacks"),
        (tune.tune, "_setup_signal_catching"),
        (class_cache, "DEFAULT_ENV_VARS"),
        (class_cache, "ENV_VARS_TO_PROPAGATE"),
        (worker, "global_worker"),
        (worker, "faulthandler"),
        (worker, "_global_node"),
        (worker.Worker, "threads_stopped"),
        (GcsErrorSubscriber, "close"),
        *((Node, name) for name in UNUSED_STARTS),
        (Node, "all_processes"),
        (Node, "kill_all_processes"),
        (utils, "get_entrypoint_name"),
        (Node, "get_logs_dir_path"),
        (services, "canonicalize_bootstrap_address"),
        (services, "get_node"),
        (ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV"),
        (ray_constants, "ENABLE_RAY_CLUSTER"),
        (authentication_token_setup, "ensure_token_if_auth_enabled"),
        (InnerGcsClient, "standalone"),
        (InnerGcsClient, "internal_kv_get"),
        (InnerGcsClient, "get_all_node_info"),
        (Config, "initialize"),
        (AuthenticationTokenLoader, "instance"),
        (AuthenticationTokenLoader, "reset_cache"),
        (JobConfig, "_py_driver_sys_path"),
    ],
)
def test_this_ray_has_each_private_name(owner: Any, name: str) -> None:
    """As an attribute of the module or class, or one that the class sets when an instance is made."""
    made = getattr(owner.__init__, "__code__", None)  # a module and a class in C have none
    assert name in {*dir(owner), *(made.co_names if made else ())}


def test_this_ray_asks_for_the_command_line_through_the_name_that_is_replaced() -> None:
    assert "utils.get_entrypoint_name()" in inspect.getsource(inspect.unwrap(worker.init))


@pytest.mark.parametrize(
    ("why", "error", "message"),
    [
        ("no module named node", UserError, r"cannot use Ray \d\S* \(no module named node\); run pip install 'ray"),
        ("lib.so: failed to map segment from shared object", ImportError, "^lib.so: failed to map"),  # no memory
    ],
)
def test_a_ray_without_a_module_that_a_search_needs_is_one_line(
    why: str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lacks:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "ray._private.node":
                raise ImportError(why)

    monkeypatch.delitem(sys.modules, "ray._private.node")
    monkeypatch.setattr(sys, "meta_path", [Lacks, *sys.meta_path])
    spec = importlib.util.find_spec("tuning.backend.ray_private")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(error, match=message):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_packages_that_ray_ships_are_not_imported_from_a_folder_of_this_machine() -> None:
    folder = str(Path(__file__).parents[3])
    assert list(own_import_path(shipped=False)._py_driver_sys_path) == [folder]
    assert list(own_import_path(shipped=True)._py_driver_sys_path) == []


def test_this_ray_sets_the_subscriber_that_hush_closes() -> None:
    assert "gcs_error_subscriber" in inspect.unwrap(worker.connect).__code__.co_names


def test_this_ray_sends_the_callbacks_through_the_name_that_is_replaced() -> None:
    assert {"air_usage", "tag_callbacks"} <= set(tune.run.__code__.co_names)


def test_a_node_is_noted_before_its_constructor_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The constructor waits for processes that may never answer."""

    def constructor(node: Any, value: int) -> None:
        assert noted[0] is node
        node.value = value

    monkeypatch.setattr(Node, "__init__", constructor)
    with noted_nodes() as noted:
        made = Node(3)
    assert noted == [made]
    assert made.value == 3
    assert Node.__init__ is constructor


def test_a_node_has_its_processes_by_name() -> None:
    assert "self.all_processes: dict = {}" in inspect.getsource(Node.__init__)


def test_a_search_works_with_a_ray_that_lacks_the_telemetry_of_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(usage, "tag_callbacks")
    with without_callback_telemetry():
        assert not hasattr(usage, "tag_callbacks")


def test_tune_leaves_the_callers_handlers_of_signals() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with without_signal_handlers():
        assert not tune.tune._setup_signal_catching().is_set()
    assert signal.getsignal(signal.SIGUSR1) == before
    assert "_setup_signal_catching" in tune.run.__code__.co_names


def test_the_ray_of_this_machine_does_not_depend_on_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_global_node", None)
    with on_loopback():
        assert services.get_node_ip_address() in ("127.0.0.1", "::1")


def test_workers_of_trials_get_no_keys_and_need_no_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    usual: Any = class_cache._ActorClassCache().get(type("Usual", (), {}))
    assert usual._default_options["runtime_env"]["env_vars"]["AWS_SECRET_ACCESS_KEY"] == "secret"
    with without_runtime_environment():
        own: Any = class_cache._ActorClassCache().get(type("Own", (), {}))
    assert not own._default_options["runtime_env"]


def test_workers_have_the_environment_of_this_process_also_below_uv_run(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = "ray._private.runtime_env.uv_runtime_env_hook"
    monkeypatch.setattr(f"{hook}._get_uv_run_cmdline", lambda: ["uv", "run", "search.py"])
    monkeypatch.setattr(f"{hook}.hook", lambda runtime_env: {"py_executable": "uv run python"})
    assert worker._maybe_modify_runtime_env(None, True) == {"py_executable": "uv run python"}
    with without_uv_environment():
        assert worker._maybe_modify_runtime_env(None, True) is None
