"""A Ray cluster that others run: joined for a search, looked at node by node, watched, and left as it was.

Our code goes to the nodes as Ray's runtime environment, the corpus through its object store: the nodes need the
libraries and no shared disk.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import core
import tuning
from core.errors import ConfigError, UserError
from tuning.backend.connect import check_head, is_listening, local_raylet, resolve_address
from tuning.backend.local_ray import RAY_ENV, ray_session, root_cause
from tuning.backend.storage import check_storage, marker_file
from tuning.resources.machine import Machine, TrialResources

WATCH_SECONDS, MISSES = 2.0, 3
"""How often the head is looked for, and how often in a row it must be gone."""
WORKER_SETTINGS = ("RAY_CHDIR_TO_TRIAL_DIR", "TUNE_FUNCTION_THREAD_TIMEOUT_S")
"""Those of RAY_ENV that workers read themselves: on another machine they do not inherit them."""
LOOK_SECONDS = 180
"""A node that has not started a worker and imported torch by then is not fit for trials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One of the cluster's."""

    node_id: str
    address: str
    """Its IP address."""
    machine: Machine


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that this process has joined."""

    address: str
    """The head's, HOST:PORT."""
    raylet: str
    """The socket of this machine's node, through which everything goes."""
    nodes: tuple[Node, ...]
    """Those that may run trials."""

    def max_parallel(self, resources: TrialResources) -> int:
        """How many trials run at once; each on one node.

        Raises:
            ConfigError: Not even one does.
        """
        fits = sum(_fits(resources, node.machine) for node in self.nodes)
        if fits:
            return fits
        have = ", ".join(f"{node.machine.cpus} and {node.machine.gpus}" for node in self.nodes) or "none"
        raise ConfigError(
            f"a trial with --cpus-per-trial {resources.cpus_per_trial} and "
            f"--gpus-per-trial {resources.gpus_per_trial:g} fits on no node of the cluster at {self.address}; "
            f"CPUs and GPUs of its nodes: {have}"
        )

    def run_on_each_node(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> list[Any]:
        """Call it once on each node; what it returned or raised, in the order of `nodes`."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        task = ray.remote(num_cpus=0, max_retries=0)(function)
        calls = [
            task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)).remote(
                *arguments
            )
            for node in self.nodes
        ]
        done, _ = ray.wait(calls, num_returns=len(calls), timeout=seconds)
        return [_result(call) if call in done else TimeoutError(f"no answer in {seconds:g} s") for call in calls]

    @contextlib.contextmanager
    def monitored(self, lost: Callable[[str], None]) -> Iterator[Any]:
        """Give Ray, as `local_ray` does; tell `lost` from another thread when the head or this machine's node is gone.

        It must end the process: soon after Ray would do so itself, with pages of its own words.
        """
        import ray

        over = threading.Event()
        for watch in (self._watch_node, self._watch_head):
            threading.Thread(target=watch, args=(over, lost), daemon=True).start()
        try:
            yield ray
        finally:
            over.set()

    def _watch_node(self, over: threading.Event, lost: Callable[[str], None]) -> None:
        """Hear at once that the raylet is gone: some 40 ms later Ray ends this process without a word.

        It is the socket that tells: a process that was killed can take a second to disappear after that is closed.
        """
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.connect(self.raylet)
            line.recv(1)  # nothing comes; it returns when the other side is closed
        if not over.is_set():
            lost("raylet")

    def _watch_head(self, over: threading.Event, lost: Callable[[str], None]) -> None:
        misses = 0
        while misses < MISSES and not over.wait(WATCH_SECONDS):
            misses = 0 if is_listening(self.address) else misses + 1
        if misses == MISSES and not over.is_set():
            lost(f"gcs_server at {self.address}")


@contextlib.contextmanager
def join_cluster(address: str) -> Iterator[Cluster]:
    """Join a running cluster, and leave it after the block.

    Args:
        address: HOST:PORT of the head, or `auto`.

    Raises:
        ConfigError: It is no such address.
        UserError: No cluster answers there, it has another Ray or Python, or this machine is not one of its nodes.
    """
    address = resolve_address(address)
    check_head(address)
    raylet = local_raylet(address)
    os.environ.update({name: value for name, value in RAY_ENV.items() if name != "RAY_AUTH_MODE"})  # that is theirs
    code = [str(Path(package.__path__[0]).absolute()) for package in (core, tuning)]
    environment = {"py_modules": code, "env_vars": {name: RAY_ENV[name] for name in WORKER_SETTINGS}}
    problem = f"cannot join the Ray cluster at {address} ({{}})"
    with ray_session(problem, address=address, runtime_env=environment) as ray:
        yield Cluster(address=address, raylet=raylet, nodes=_nodes(ray.nodes()))


def _nodes(listed: Sequence[Any]) -> tuple[Node, ...]:
    """Return the nodes that are alive and have CPUs."""
    alive = [node for node in listed if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    machines = [Machine(cpus=int(n["Resources"]["CPU"]), gpus=int(n["Resources"].get("GPU", 0))) for n in alive]
    return tuple(
        Node(node_id=node["NodeID"], address=node["NodeManagerAddress"], machine=machine)
        for node, machine in zip(alive, machines, strict=True)
    )


def _fits(resources: TrialResources, machine: Machine) -> int:
    try:
        return resources.max_parallel(machine)
    except ConfigError:
        return 0


def _result(call: Any) -> Any:
    import ray

    try:
        return ray.get(call)
    except Exception as error:
        return error


def check_nodes(cluster: Cluster, storage: str | None, say: Callable[[str], None]) -> None:
    """Check that every node has this machine's torch, and reaches the storage.

    Args:
        cluster: Joined.
        storage: As of tuning.backend.storage; None for none.
        say: Called if the nodes' processors differ in the instructions that torch uses.

    Raises:
        UserError: NAMING each node that cannot, and why.
    """
    ours = node_info(None, None)
    with contextlib.nullcontext() if storage is None else marker_file(storage) as mark:
        found = cluster.run_on_each_node(node_info, storage, mark, seconds=LOOK_SECONDS)
    problems = []
    for node, theirs in zip(cluster.nodes, found, strict=True):
        if isinstance(theirs, Exception):
            problems.append(f"node {node.address}: {root_cause(theirs)}")
        elif theirs["problem"]:
            problems.append(f"node {node.address}: {theirs['problem']}")
        elif theirs["torch"] != ours["torch"]:
            problems.append(f"node {node.address} has torch {theirs['torch']}, this machine {ours['torch']}")
    if problems:
        raise UserError(f"{'; '.join(problems)}; fix the node, or start the cluster without it")
    kinds = sorted({theirs["cpu"] for theirs in found} | {ours["cpu"]})
    if len(kinds) > 1:
        say(f"the nodes' processors differ ({', '.join(kinds)}): where a trial runs may show in its last bits")


def node_info(storage: str | None, mark: str | None) -> dict[str, str]:
    """Return what trials need to know of a node: torch, processor, and why it cannot reach the storage if it cannot.

    Args:
        storage: As of tuning.backend.storage; None for none.
        mark: Of the driver, in it.
    """
    import safetensors  # noqa: F401 - a worker needs it
    import torch
    from ray import tune  # noqa: F401 - a worker needs it

    problem = ""
    if storage is not None:
        try:
            check_storage(storage, mark)
        except UserError as error:
            problem = str(error)
    version = str(torch.__version__).split("+")[0]  # +cpu and +cu128 share their CPU kernels
    return {"torch": version, "cpu": torch.backends.cpu.get_cpu_capability(), "problem": problem}
