"""uvicorn's HTTP protocol with a time limit for headers, and with a bound on each address's connections."""

import asyncio
import resource
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 2000
"""Maximum number of connections."""
MAX_PER_ADDRESS = 1000
"""Maximum number of connections from one address; behind a proxy these are all."""
HEADER_SECONDS = 4.0
"""Time limit in seconds from the connection, or the first byte of a further request, to the end of the headers."""
IDLE_SECONDS = 10
"""Time limit in seconds from an answer to the first byte of the next request."""
READ_SECONDS = 60.0
"""Time limit in seconds for reading an answer."""
_OTHER_FILES = 64
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class GuardedProtocol(H11Protocol):
    """One connection. If there are too many, the one that the server has waited for longest is closed."""

    _headers_due: asyncio.TimerHandle | None = None
    _reading_due: asyncio.TimerHandle | None = None
    _since = 0.0
    """Time of the connection, or of the answer to its last request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Close another connection if there are too many, or this one if all others are being answered."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # what a client leaves unread has a time limit, however small it is
        self._since = self.loop.time()
        self._watch_headers()
        if len(self.connections) <= MAX_PER_ADDRESS and len(self.connections) <= max_connections():
            return
        others = [cast("GuardedProtocol", each) for each in self.connections if each is not self]
        crowd = [each for each in others if each.address == self.address]
        if len(crowd) < MAX_PER_ADDRESS:
            crowd = others
            if len(others) < max_connections():
                return
        waiting = [each for each in crowd if each.is_waiting]
        if waiting:
            min(waiting, key=lambda each: each._since)._drop()
            return
        transport.write(_BUSY)
        self.connections.discard(self)
        transport.close()

    @property
    def address(self) -> str:
        """Address of the client, without its port."""
        return self.client[0] if self.client else ""

    @property
    def is_waiting(self) -> bool:
        """Whether the server waits for the client, which has sent no request, or only a part of one."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def data_received(self, data: bytes) -> None:
        """Handle data, and start or end the time limit for headers."""
        super().data_received(data)
        self._watch_headers()

    def pause_writing(self) -> None:
        """Start the time limit for reading, because the buffers are full."""
        super().pause_writing()
        self._reading_due = self.loop.call_later(READ_SECONDS, self._drop)

    def resume_writing(self) -> None:
        """End the time limit for reading."""
        super().resume_writing()
        _cancel(self._reading_due)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the list."""
        _cancel(self._headers_due)
        _cancel(self._reading_due)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Record that the connection waits for its client again."""
        self._since = self.loop.time()
        super().on_response_complete()

    def _watch_headers(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            _cancel(self._headers_due)
            self._headers_due = None
        elif self._headers_due is None:
            self._headers_due = self.loop.call_later(HEADER_SECONDS, self._drop)

    def _drop(self) -> None:
        """Close the connection at once, and ignore what it still sends."""
        self.connections.discard(self)  # before the event loop does, so that it is not chosen twice
        self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def max_connections() -> int:
    """Return MAX_CONNECTIONS, or fewer if this process may open fewer files."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(MAX_CONNECTIONS, files - _OTHER_FILES))


def raise_file_limit() -> None:
    """Raise this process's limit of open files for MAX_CONNECTIONS, as far as allowed: the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
