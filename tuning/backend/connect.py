"""Check within seconds whether a Ray cluster can be joined; Ray itself would wait for a minute."""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator

import ray
from ray.exceptions import AuthenticationError

from core.errors import ConfigError, UserError
from core.io.text import quoted
from tuning.backend.ray_private import alive_nodes, bootstrap_address, cluster_metadata

TIMEOUT_SECONDS = 5.0
HOST_PORT = r"[^/:\s]+:\d{1,5}"


def resolve_address(address: str) -> str:
    """Return HOST:PORT of the cluster's head.

    Args:
        address: HOST:PORT, or `auto`: the value of RAY_ADDRESS, else the cluster that runs on this machine.

    Raises:
        ConfigError: The address has another form.
        UserError: `auto` is given, and there is no cluster, or RAY_ADDRESS is no address of one.
    """
    if address == "auto":
        chosen = os.environ.get("RAY_ADDRESS") or "auto"
        if chosen != "auto" and not re.fullmatch(HOST_PORT, chosen):
            raise UserError(
                f"--address auto: RAY_ADDRESS is {quoted(chosen)}, not HOST:PORT of a cluster's head; unset it, or "
                "pass --address HOST:PORT"
            )
        try:
            address = str(bootstrap_address("auto"))
        except Exception as error:
            raise UserError(
                "--address auto: no Ray cluster runs on this machine; start one with `ray start --head`, or pass "
                "--address HOST:PORT"
            ) from error
    if not re.fullmatch(HOST_PORT, address):
        client = "; ray:// would run the search on the head, pass the address that `ray start --head` printed"
        hint = client if address.startswith("ray://") else ""
        raise ConfigError(f"--address must be HOST:PORT of the cluster's head, or auto, got {address!r}{hint}")
    return str(bootstrap_address(address))


def is_listening(address: str) -> bool:
    """Return whether a process listens at the address."""
    host, _, port = address.rpartition(":")
    with (
        contextlib.suppress(OSError, UnicodeError),  # UnicodeError: no valid host name
        socket.create_connection((host, int(port)), TIMEOUT_SECONDS),
    ):
        return True
    return False


def check_head(address: str) -> None:
    """Check that a cluster with this version of Ray and Python answers.

    Raises:
        UserError: No such cluster answers.
    """
    if not is_listening(address):
        raise UserError(
            f"no Ray cluster answers at {address}; start one with `ray start --head`, open the port, or pass another "
            "--address"
        )
    try:
        with _error_output_dropped():  # without the warnings of Ray's client about tokens and failed attempts
            # ray.init reads the same data, but reports a difference in several lines, and only after other steps.
            theirs = cluster_metadata(address)
    except AuthenticationError as error:
        raise UserError(
            f"the Ray cluster at {address} requires its token; set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token "
            "from the head"
        ) from error
    except Exception as error:
        raise UserError(
            f"the process at {address} is not the head of a Ray cluster; pass the address that `ray start --head` "
            "printed"
        ) from error
    ours = {"ray_version": ray.__version__, "python_version": ".".join(map(str, sys.version_info[:3]))}
    differences = [
        f"{name.removesuffix('_version').capitalize()} {theirs.get(name)}, here it is {value}"
        for name, value in ours.items()
        if theirs.get(name) != value
    ]
    if differences:
        raise UserError(f"the cluster at {address} has {'; '.join(differences)}; install the same version on both")


@contextlib.contextmanager
def _error_output_dropped() -> Iterator[None]:
    """Drop standard error, including that of native code, while the block runs."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def local_raylet(address: str) -> str:
    """Return the socket of this machine's node, which a driver uses; of several, the one that Ray uses.

    Raises:
        UserError: This machine is no node of the cluster.
    """
    running = _raylets()
    for info in alive_nodes(address):
        if info.node_id.hex() in running:
            return str(info.raylet_socket_name)
    raise UserError(
        f"this machine is no node of the cluster at {address}; run `ray start --address={address} "
        "--num-cpus=0`, which joins without running trials here"
    )


def _raylets() -> set[str]:
    """Return the ids of the nodes of all clusters that run on this machine."""
    import psutil  # Ray brings it along

    found: set[str] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "raylet":
                found |= {word.partition("=")[2] for word in process.cmdline() if word.startswith("--node_id=")}
    return found
