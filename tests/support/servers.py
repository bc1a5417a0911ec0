"""A server of `sentune serve` in a thread of this process."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.support.patience import wait_until
from tuning.serving.server import bind_socket

if TYPE_CHECKING:
    import uvicorn


@contextlib.contextmanager
def running(app: Any, stop_seconds: int = 5) -> Iterator[int]:
    """Serve an application while the block runs; yield its port.

    Args:
        app: The application.
        stop_seconds: Maximum time for pending requests after the block.
    """
    import uvicorn

    from tuning.serving.connections import GuardedProtocol

    with bind_socket("127.0.0.1", 0) as listening:
        config = uvicorn.Config(
            app,
            http=GuardedProtocol,
            log_level="warning",
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=stop_seconds,
        )
        with started(uvicorn.Server(config), listening) as port:
            yield port


@contextlib.contextmanager
def started(server: "uvicorn.Server", listening: socket.socket) -> Iterator[int]:
    """Run a server while the block runs; yield its port."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the server does not start")
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
