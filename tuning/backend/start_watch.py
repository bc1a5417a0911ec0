"""call_watched: call what starts or joins Ray, and give up if one of Ray's processes dies or none answers in time."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.io.text import printable
from tuning.backend.ray_private import kill_processes, noted_nodes, ray_processes
from tuning.console import STARTS_RAY

START_SECONDS = 20.0
"""Maximum time of a start, unless the machine is overloaded. The whole command then ends within 30 s."""
OVERLOAD = 2.0
"""Load per processor from which on the maximum time grows with the load."""
LOOK_SECONDS = 0.1
END_SECONDS = 1.0
"""Time in which the call of Ray may end after its processes are killed."""
LOG_BYTES = 50_000
"""Bytes at the end of a log that are searched for the reason."""
LINE_LENGTH = 200
"""Maximum length of a log's line in the message."""


@contextmanager
def call_watched(start: Callable[[], object], problem: str, undo: Callable[[], object]) -> Iterator[None]:
    """Call `start` in a thread that lives until the block ends; run the block after `start` has returned.

    Linux kills Ray's processes when the thread that started them ends. What `start` raises is raised.

    Args:
        start: Starts or joins Ray. It may hang.
        problem: Message of the UserError; `{}` is replaced by the reason.
        undo: Called if `start` returns after it was given up or interrupted.

    Raises:
        UserError: A process of Ray has died, or Ray does not answer. The processes that `start` has started are
            killed.
    """
    started, over, given_up = Future[None](), threading.Event(), True

    def hold() -> None:
        try:
            start()
        except BaseException as error:
            started.set_exception(error)
            return
        threading.current_thread().name = "ray"
        started.set_result(None)
        over.wait()
        if given_up:
            undo()

    thread = threading.Thread(target=hold, name=STARTS_RAY, daemon=True)
    try:
        with noted_nodes() as nodes:
            thread.start()
            reason = _wait(started, nodes)
        if reason:
            for node in nodes:
                kill_processes(node)
            thread.join(END_SECONDS)
            raise UserError(problem.format(reason))
        given_up = False
        yield
    finally:
        over.set()
        if started.done():
            thread.join()


def _wait(started: "Future[None]", nodes: list[Any]) -> str:
    """Return why the start has failed, or nothing if it has succeeded; raise what it has raised."""
    began, overload = time.monotonic(), (os.cpu_count() or 1) * OVERLOAD
    # The load is a mean over a minute: at first it lacks the searches that start together with this one.
    while time.monotonic() - began < (seconds := START_SECONDS * max(1.0, os.getloadavg()[0] / overload)):
        with suppress(TimeoutError):
            started.result(LOOK_SECONDS)
            return ""
        for node in nodes:
            for name, process in ray_processes(node).items():
                if process.poll() is not None:
                    return f"its process {name} has ended{_last_line(node, name)}"
    found = [f"raylet{_last_line(node, 'raylet')}" for node in nodes if "raylet" in ray_processes(node)]
    return f"no answer in {seconds:.0f} s{f' from {found[0]}' if found else ''}"


def _last_line(node: Any, name: str) -> str:
    """Return `: LINE` with the last error in a process's log, else its last line; nothing if the log is empty."""
    lines: list[str] = []
    for kind in ("out", "err"):
        with suppress(OSError, AttributeError):
            with Path(node.get_logs_dir_path(), f"{name}.{kind}").open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - LOG_BYTES))
                text = file.read().decode(errors="replace")
            lines += [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    errors = [line for line in lines if re.match(r"\[[^]]* [EC] ", line)]
    line = re.sub(r"^\[[^]]*\] (\(\w+\) )?(\S+\.cc:\d+: *)?", "", (errors or lines)[-1])
    line = re.sub(r"An unexpected system state has occurred.*work with you to fix it\. *", "", line)
    return f": {printable(line, LINE_LENGTH)}"
