"""A server of `sentune serve` in a thread of this process."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from tuning.serving.server import bind_socket


@contextlib.contextmanager
def running(app: Any) -> Iterator[int]:
    """Serve an application while the block runs; yield its port."""
    import uvicorn

    from tuning.serving.connections import GuardedProtocol

    with bind_socket("127.0.0.1", 0) as listening:
        config = uvicorn.Config(
            app, http=GuardedProtocol, log_level="warning", ws="none", lifespan="off", timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()
