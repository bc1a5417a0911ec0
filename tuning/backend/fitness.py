"""Whether every node of a cluster can train what this machine would, to the bit: looked at before a search begins."""

import contextlib
from collections.abc import Callable

from core.errors import UserError
from tuning.backend.cluster import Cluster, reason_of
from tuning.backend.storage import check_storage, marked

LOOK_SECONDS = 180
"""A node that has not started a worker and imported torch by then is not fit for trials."""


def check_nodes(cluster: Cluster, storage: str | None, say: Callable[[str], None]) -> None:
    """See that every node can train what this machine would, to the bit, and reach the storage.

    Args:
        cluster: joined.
        storage: as of tuning.backend.storage; None for none.
        say: told when the nodes' processors differ in what torch makes of them.

    Raises:
        UserError: naming each node that cannot, and why.
    """
    ours = look(None, None)
    with contextlib.nullcontext() if storage is None else marked(storage) as mark:
        found = cluster.on_every_node(look, storage, mark, seconds=LOOK_SECONDS)
    problems = []
    for node, theirs in zip(cluster.nodes, found, strict=True):
        if isinstance(theirs, Exception):
            problems.append(f"node {node.address}: {reason_of(theirs)}")
        elif theirs["problem"]:
            problems.append(f"node {node.address}: {theirs['problem']}")
        elif theirs["torch"] != ours["torch"]:
            problems.append(f"node {node.address} has torch {theirs['torch']}, this machine {ours['torch']}")
    if problems:
        raise UserError(f"{'; '.join(problems)}: mend it, or start the cluster without it")
    kinds = sorted({theirs["cpu"] for theirs in found} | {ours["cpu"]})
    if len(kinds) > 1:
        say(f"the nodes' processors differ ({', '.join(kinds)}): where a trial runs may show in its last bits")


def look(storage: str | None, mark: str | None) -> dict[str, str]:
    """What a node is to trials: versions, processor, and why it cannot reach the storage if it cannot.

    Args:
        storage: as of tuning.backend.storage; None for none.
        mark: of the driver, in it.
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
