"""Whether a Ray cluster can be joined from here: looked at in seconds, where Ray itself would wait for a minute."""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator

import ray
from ray.exceptions import AuthenticationError

from core.errors import ConfigError, UserError
from tuning.backend.ray_private import alive_nodes, bootstrap_address, cluster_metadata

TIMEOUT_SECONDS = 5.0


def resolve_address(address: str) -> str:
    """HOST:PORT of the cluster's head.

    Args:
        address: HOST:PORT, or `auto`: what RAY_ADDRESS says, else the cluster that runs on this machine.

    Raises:
        ConfigError: It is none of these.
        UserError: `auto`, and there is none.
    """
    if address == "auto":
        try:
            address = bootstrap_address("auto") or "auto"
        except Exception as error:
            raise UserError(
                "--address auto: no Ray cluster runs on this machine; start one with `ray start --head`, or give "
                "--address HOST:PORT"
            ) from error
    if not re.fullmatch(r"[^/:\s]+:\d{1,5}", address):
        hint = "; ray:// would run the search on the head" if address.startswith("ray://") else ""
        raise ConfigError(f"--address must be HOST:PORT of the cluster's head, or auto, got {address!r}{hint}")
    return str(bootstrap_address(address))


def is_listening(address: str) -> bool:
    """Whether something listens there."""
    host, _, port = address.rpartition(":")
    with (
        contextlib.suppress(OSError, UnicodeError),  # UnicodeError: no name of a host
        socket.create_connection((host, int(port)), TIMEOUT_SECONDS),
    ):
        return True
    return False


def check_head(address: str) -> None:
    """See that a cluster of this Ray and this Python answers.

    Raises:
        UserError: None does.
    """
    if not is_listening(address):
        raise UserError(
            f"no Ray cluster answers at {address}: start one with `ray start --head`, open the port, or give another "
            "--address"
        )
    try:
        with _error_output_dropped():  # Ray's client warns there about a token, and about each failed attempt
            # Where ray.init reads it too; there a difference comes as several lines, and only after other steps.
            theirs = cluster_metadata(address)
    except AuthenticationError as error:
        raise UserError(
            f"the Ray cluster at {address} wants its token: set RAY_AUTH_MODE=token, and put into ~/.ray/auth_token "
            "what that file holds on the head"
        ) from error
    except Exception as error:
        raise UserError(
            f"what answers at {address} is not the head of a Ray cluster: give the address that `ray start --head` "
            "printed"
        ) from error
    ours = {"ray_version": ray.__version__, "python_version": ".".join(map(str, sys.version_info[:3]))}
    differences = [
        f"{name.removesuffix('_version').capitalize()} {theirs.get(name)}, here it is {value}"
        for name, value in ours.items()
        if theirs.get(name) != value
    ]
    if differences:
        raise UserError(f"the cluster at {address} has {'; '.join(differences)}: both must have the same")


@contextlib.contextmanager
def _error_output_dropped() -> Iterator[None]:
    """Standard error, that of native code too, goes nowhere while the block runs."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def local_raylet(address: str) -> str:
    """The socket of this machine's node, through which a driver works: of several the one that Ray takes.

    Raises:
        UserError: This machine is no node of that cluster.
    """
    running = _raylets()
    for info in alive_nodes(address):
        if info.node_id.hex() in running:
            return str(info.raylet_socket_name)
    raise UserError(
        f"this machine is no node of the cluster at {address}: join it first with `ray start --address={address} "
        "--num-cpus=0`, which gives it no trials"
    )


def _raylets() -> set[str]:
    """The ids of the nodes that run on this machine, of whatever cluster."""
    import psutil  # Ray brings it along

    found: set[str] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "raylet":
                found |= {word.partition("=")[2] for word in process.cmdline() if word.startswith("--node_id=")}
    return found
