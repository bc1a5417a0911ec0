"""A Ray cluster of several nodes on this machine, each with processes and a temporary folder of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.ports import held_port
from tests.support.processes import marked
from tuning.backend.local_ray import environment
from tuning.backend.ray_private import reload_authentication

PROGRAM = """
from ray._private.node import Node
Node.start_api_server = lambda node, **options: None  # the dashboard's server, which starts even without a dashboard
Node.start_ray_client_server = lambda node: None  # for programs that are no node
from ray.scripts.scripts import main
main()
"""
RAY = (sys.executable, "-c", PROGRAM)
MARK = "SENTUNE_TEST_NODE"


@contextlib.contextmanager
def authenticated(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Let this process join a Ray with these variables. Ray keeps the token, so it must read it again."""
    try:
        with environment(variables):
            reload_authentication()
            yield
    finally:
        reload_authentication()


class Nodes:
    """Each node has one CPU. They know nothing of this source tree: a `core` and a `tuning` lie in their way."""

    def __init__(self, mark: str, env: dict[str, str] | None = None) -> None:
        """
        Args:
            mark: of the test's processes (tests.support.command).
            env: for the nodes besides their own.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="n", dir="/tmp"))  # short: Ray puts sockets there
        self.env = {
            "SENTUNE_TEST_MARK": mark,
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_prestart_worker_first_driver": "0",
            "RAY_health_check_period_ms": "500",  # the head misses a lost node after 3 s, not 15
            **(env or {}),
        }
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        for package in ("core", "tuning"):
            (self.folder / "trap" / package).mkdir(parents=True)
            (self.folder / "trap" / package / "__init__.py").write_text("raise ImportError('not the shipped code')")
        with held_port() as port:
            self.head = self.start(
                "--head", f"--port={port}", "--include-dashboard=false", "--disable-usage-stats", "--no-monitor"
            )
        self.address = f"{self._ip()}:{port}"

    def fill(self, count: int) -> None:
        """Start the missing nodes, up to a number besides the head."""
        while len(self.others()) < count:
            self.start(f"--address={self.address}")

    def start(self, *words: str) -> str:
        """Start a node with these words of `ray start`; its name."""
        name = uuid.uuid4().hex
        folder = self.folder / name[:6]
        folder.mkdir()
        words += (
            "--include-log-monitor=false",
            "--num-cpus=1",
            "--num-gpus=0",
            "--object-store-memory=80000000",
            f"--temp-dir={folder}",
            "--block",
        )
        env = {**os.environ, **self.env, MARK: name, "TMPDIR": str(folder), "PYTHONPATH": str(self.folder / "trap")}
        with (folder / "log").open("wb") as log:
            self.started[name] = subprocess.Popen(
                [*RAY, "start", *words], env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )

        def started() -> bool:
            assert self.started[name].poll() is None, (folder / "log").read_text()
            return b"Ray runtime started" in (folder / "log").read_bytes()

        wait_until(started, lambda: (folder / "log").read_text(), pause=0.1)
        return name

    def lose(self, name: str) -> None:
        """Kill all processes of a node at once, as when its machine is gone."""
        process = self.started.pop(name)
        family = [process.pid]
        with contextlib.suppress(psutil.NoSuchProcess):  # its start has failed
            family += [each.pid for each in psutil.Process(process.pid).children(recursive=True)]
        for victim in {*family, *self.processes(name)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        process.wait(PATIENCE_SECONDS)

    def processes(self, name: str, title: str = "") -> list[int]:
        """A node's processes whose command line holds `title`."""
        return [pid for pid, line in marked(f"{MARK}={name}") if title in line]

    def checkpoints(self, name: str, study: str) -> list[Path]:
        """A study's on a node."""
        return list((self.folder / name[:6]).glob(f"sentune-*/{study}-*/*/epoch-*"))

    def others(self) -> list[str]:
        """Those that are not the head."""
        return [name for name in self.started if name != self.head]

    def close(self) -> None:
        """End every node, and remove their folders."""
        for name in sorted(self.started, key=lambda name: name == self.head):
            self.lose(name)
        shutil.rmtree(self.folder)

    def _ip(self) -> str:
        log = (self.folder / self.head[:6] / "log").read_text()
        return log.split("Local node IP: ")[1].split()[0]
