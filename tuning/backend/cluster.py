"""An existing Ray cluster: join it for a search, check its nodes, watch it, and leave it unchanged.

Sentune's code reaches the nodes as Ray's runtime environment, and the corpus through its object store. The nodes need
the libraries, but no shared disk.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import core
import tuning
from core.errors import ConfigError, UserError
from core.io.memory import available_memory
from core.nn.environment import cpu_capability, cpu_model
from tuning.backend.connect import check_head, is_listening, local_raylet, resolve_address
from tuning.backend.local_ray import RAY_ENV, environment, ray_session, root_cause
from tuning.backend.storage import check_storage, marker_file, node_root
from tuning.resources.machine import Machine, TrialResources

WATCH_SECONDS, MISSES = 2.0, 7
"""Seconds between two checks of the head, and number of consecutive failures after which it counts as lost. Ray bridges
a network that is gone for some seconds."""
WORKER_SETTINGS = ("RAY_CHDIR_TO_TRIAL_DIR", "TUNE_FUNCTION_THREAD_TIMEOUT_S", "OMP_PROC_BIND")
"""Variables of RAY_ENV that workers use themselves; on another machine, they do not inherit them."""
LOOK_SECONDS = 180
"""Time in seconds within which a node must start a worker and import torch to be used for trials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One node of a cluster."""

    node_id: str
    address: str
    """IP address of the node."""
    machine: Machine


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that this process has joined."""

    address: str
    """Address of the head, HOST:PORT."""
    raylet: str
    """Socket of this machine's node, which all communication uses."""
    nodes: tuple[Node, ...]
    """Nodes that may run trials."""

    memory_bytes: int = 0
    """Memory of the largest node, from `check_nodes`; 0 if unknown."""

    def max_parallel(self, resources: TrialResources) -> int:
        """Return how many trials run in parallel, each on one node.

        Raises:
            ConfigError: Not even one trial fits.
        """
        fits = sum(_fits(resources, node.machine) for node in self.nodes)
        if fits:
            return fits
        if not self.nodes:
            join = f"run `ray start --address={self.address}` on a machine that has"
            raise ConfigError(f"no node of the cluster at {self.address} has CPUs for trials; {join}")
        have = ", ".join(f"{node.machine.cpus} and {node.machine.gpus}" for node in self.nodes)
        raise ConfigError(
            f"a trial with --cpus-per-trial {resources.cpus_per_trial} and "
            f"--gpus-per-trial {resources.gpus_per_trial:g} fits on no node of the cluster at {self.address}; "
            f"pass at most the CPUs and GPUs of its nodes: {have}"
        )

    def with_present_nodes(self) -> "Cluster":
        """Return the cluster with the nodes that it has now: some may have joined later, or have come back."""
        import ray

        return replace(self, nodes=_nodes(ray.nodes()))

    def run_on_each_node(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> list[Any]:
        """Call a function once on each node; return the results or exceptions, in the order of `nodes`."""
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
        """Yield Ray, as `local_ray` does; watch the head and this machine's node in other threads.

        `lost` is called from such a thread when one of them is gone. It must terminate the process; otherwise Ray does
        so shortly afterwards and prints pages of output.
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
        """Notice at once that the raylet is gone: about 40 ms later, Ray ends this process without a message.

        The closed socket is the signal. A killed process can exist for a second longer.
        """
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.connect(self.raylet)
            line.settimeout(WATCH_SECONDS)
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    line.recv(1)  # receives nothing; returns when the other side is closed
                    break
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
        ConfigError: The address has another form.
        UserError: No cluster answers there, it has another Ray or Python, or this machine is not one of its nodes.
    """
    address = resolve_address(address)
    check_head(address)
    raylet = local_raylet(address)
    variables = {name: value for name, value in RAY_ENV.items() if "_AUTH" not in name}  # the cluster decides them
    code = [str(Path(package.__path__[0]).absolute()) for package in (core, tuning)]
    runtime_env = {"py_modules": code, "env_vars": {name: RAY_ENV[name] for name in WORKER_SETTINGS}}
    problem = f"cannot join the Ray cluster at {address} ({{}})"
    with environment(variables), ray_session(problem, address=address, runtime_env=runtime_env) as ray:
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


def check_nodes(cluster: Cluster, storage: str | None, say: Callable[[str], None], *, gpu: bool) -> int:
    """Check that every node has this machine's torch, for its GPUs with CUDA, and reaches the storage.

    Return the memory in bytes of the largest node.

    Args:
        cluster: The joined cluster.
        storage: A path or URI (tuning.backend.storage); None for none.
        gpu: Whether the trials train on GPUs.
        say: Called with a line if the nodes' processors differ.

    Raises:
        UserError: A node fails a check; the message names each such node and the reason.
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
        elif gpu and node.machine.gpus and not theirs["cuda"]:
            problems.append(f"node {node.address} has a GPU and torch's CPU build")
    if problems:
        raise UserError(f"{'; '.join(problems)}; fix the node, or start the cluster without it")
    kinds = sorted({theirs["cpu"] for theirs in found})
    if len(kinds) > 1:
        say(f"the nodes' processors differ ({', '.join(kinds)}): results may not be bit-identical across nodes")
    return max(int(theirs["memory"]) for theirs in found)


def node_info(storage: str | None, mark: str | None) -> dict[str, Any]:
    """Return facts about a node: version of torch and its CUDA, processor, memory, and why it keeps no checkpoints.

    Args:
        storage: A path or URI (tuning.backend.storage); None for none.
        mark: Name of the driver's file in the storage.
    """
    import safetensors  # noqa: F401 - a worker needs it
    import torch
    from ray import tune  # noqa: F401 - a worker needs it

    problem = ""
    try:
        node_root()
        if storage is not None:
            check_storage(storage, mark)
    except UserError as error:
        problem = str(error)
    version = str(torch.__version__).split("+")[0]  # +cpu and +cu128 share their CPU kernels
    return {
        "torch": version,
        "cuda": torch.version.cuda or "",
        "cpu": f"{cpu_model()} with {cpu_capability()}",
        "memory": available_memory(),
        "problem": problem,
    }
