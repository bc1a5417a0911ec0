"""Run a server in a process of its own, and clients that load or attack it; for benchmarks.serving."""

import asyncio
import contextlib
import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

REOPEN_SECONDS = 0.1
"""Pause before an attacker opens a closed connection again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A running `sentune serve`."""

    process: "subprocess.Popen[str]"
    port: int

    def memory_bytes(self) -> int:
        """Return the resident memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


@contextlib.contextmanager
def running_server(model: Path) -> Iterator[Server]:
    """Serve a model without a limit on words a second while the block runs."""
    command = [sys.executable, "-m", "tuning", "serve", str(model), "--port", "0", "--rate", "1000000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(process=process, port=int(re.findall(r":(\d+)/", process.stdout.readline())[0]))
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


@dataclass(slots=True)
class Answers:
    """Answers to some clients."""

    seconds: list[float] = field(default_factory=list)
    """Seconds until each correct answer."""
    lost: int = 0
    """Number of requests with another answer, or none."""
    took: float = 0.0
    """Seconds from the first request to the last answer."""

    @property
    def count(self) -> int:
        """Number of correct answers."""
        return len(self.seconds)

    @property
    def per_second(self) -> float:
        """Correct answers per second."""
        return self.count / self.took

    @property
    def slowest(self) -> float:
        """Seconds of the slowest correct answer."""
        return max(self.seconds, default=float("inf"))

    def percentile(self, percent: float) -> float:
        """Return a percentile of the answering times, in milliseconds."""
        return 1000 * float(np.percentile(self.seconds or [float("inf")], percent))


def send_sentences(
    port: int,
    texts: Sequence[str],
    labels: Sequence[str | None],
    clients: int,
    *,
    seconds: float = float("inf"),
    requests: int = 10**9,
    reconnect: bool = False,
) -> Answers:
    """Send one sentence per request, each client one request at a time, until the time or the number is reached.

    Args:
        port: Port of the server.
        texts: (n,) texts, sent in turn.
        labels: (n,) correct labels; None for any.
        clients: Number of connections.
        seconds: Seconds from the start after which no request is sent.
        requests: Number of requests of all clients together.
        reconnect: Whether each request has a connection of its own.
    """
    answers, places, began = Answers(), iter(range(requests)), time.perf_counter()

    async def client() -> None:
        connection = None
        for place in places:
            if time.perf_counter() - began > seconds:
                break
            sent, label = time.perf_counter(), labels[place % len(labels)]
            try:
                if connection is None or reconnect:
                    connection = await asyncio.open_connection("127.0.0.1", port)
                reply = await asyncio.wait_for(_ask(*connection, texts[place % len(texts)]), 60)
            except (OSError, EOFError, ValueError):
                connection, reply = None, None
            if reply is not None and label in (None, reply):
                answers.seconds.append(time.perf_counter() - sent)
            else:
                answers.lost += 1
            if reconnect and connection is not None:
                connection[1].close()

    async def every() -> None:
        await asyncio.gather(*(client() for _ in range(clients)))

    asyncio.run(every())
    answers.took = time.perf_counter() - began
    return answers


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> Any:
    """Send a sentence; return its label."""
    writer.write(_request([text]))
    content = json.loads(await _reply(reader))
    return content["predictions"][0]["label"]


def _request(texts: Sequence[str]) -> bytes:
    """Return a request for the labels of some texts."""
    body = json.dumps({"texts": texts}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """Return the body of a reply.

    Raises:
        ValueError: The server refuses the request.
        OSError, EOFError: The connection is closed.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(body)
    return body


@contextlib.contextmanager
def _in_thread(work: Callable[[threading.Event], Any]) -> Iterator[None]:
    """Run work in an event loop of its own until the block ends, which sets the event."""
    ended = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(work(ended)))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def send_large(port: int, texts: Sequence[str], clients: int) -> Iterator[Answers]:
    """Send the texts as one request, again and again, while the block runs; refused ones are counted as lost."""
    request, answers = _request(texts), Answers()

    async def client(ended: threading.Event) -> None:
        connection = None
        while not ended.is_set():
            sent = time.perf_counter()
            try:
                connection = connection or await asyncio.open_connection("127.0.0.1", port)
                connection[1].write(request)
                await _reply(connection[0])
                answers.seconds.append(time.perf_counter() - sent)
            except ValueError:
                answers.lost += 1
            except (OSError, EOFError):
                connection = None
                answers.lost += 1

    async def every(ended: threading.Event) -> None:
        await asyncio.gather(*(client(ended) for _ in range(clients)))

    with _in_thread(every):
        yield answers


@contextlib.contextmanager
def half_open(port: int, headers: int, bodies: int) -> Iterator[None]:
    """Hold connections with half of the headers or of a body while the block runs; closed ones are opened again."""
    starts = itertools.chain(
        itertools.repeat(b"GET /health HTTP/1.1\r\nHo", headers),
        itertools.repeat(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{", bodies),
    )

    async def hold(start: bytes, ended: threading.Event) -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(start)
                while not ended.is_set():
                    with contextlib.suppress(TimeoutError):
                        if not await asyncio.wait_for(reader.read(1000), 0.5):
                            break
                writer.close()
            await asyncio.sleep(REOPEN_SECONDS)

    async def every(ended: threading.Event) -> None:
        await asyncio.gather(*(hold(start, ended) for start in starts))

    with _in_thread(every):
        time.sleep(1)  # until all have been opened once
        yield
