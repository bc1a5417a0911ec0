"""Fixtures of all tests of `core`."""

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import core.io.download
from tests.support.file_server import Server


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads, and several test runs at once would fight for cores."""
    from core.nn.runtime import torch_threads

    with torch_threads(1):
        yield


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setattr(core.io.download, "_PAUSES", (0.0, 0.0))
    running = []

    def start(data: bytes, *faults: Any) -> Server:
        server = Server(data, list(faults))

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.port = http_server.server_address[1]
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((http_server, thread))
        return server

    yield start
    for http_server, thread in running:
        http_server.shutdown()
        http_server.server_close()
        thread.join()
