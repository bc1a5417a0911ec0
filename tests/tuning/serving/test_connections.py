"""tuning.serving.connections: a client without a request keeps no other client out."""

import asyncio
import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="needs the extra `serve`")

from tests.support.patience import PATIENCE_SECONDS
from tests.support.servers import running
from tuning.serving import connections
from tuning.serving.connections import MAX_CONNECTIONS, GuardedProtocol, max_connections, raise_file_limit


async def hello(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "MAX_PER_ADDRESS", 3)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 5)
    monkeypatch.setattr(connections, "HEADER_SECONDS", PATIENCE_SECONDS)
    with running(hello) as port:
        yield port


def opened(port: int, data: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS, source_address=(source, 0))
    connection.sendall(data)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Wait for the end of a connection to which nothing was written."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = REQUEST[:20]
SLOW_BODY = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"


def answered(connection: socket.socket) -> bool:
    data = b""
    while not data.endswith(b"hello"):
        part = connection.recv(1000)
        if not part:
            return False
        data += part
    return data.startswith(b"HTTP/1.1 200")


@pytest.mark.slow
@pytest.mark.parametrize("start", [b"", HALF, SLOW_BODY])
def test_the_oldest_unfinished_request_of_an_address_makes_room(port: int, start: bytes) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(opened(port, start)) for _ in range(8)]
        client = stack.enter_context(opened(port, REQUEST))
        assert answered(client)
        assert all(is_closed(each) for each in held[:6])
        held[7].sendall(REQUEST[len(start) :] if start == HALF else REQUEST if not start else b"x" * 8)
        assert answered(held[7])


def test_all_addresses_together_are_bounded_too(port: int) -> None:
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(opened(port, HALF, source="127.0.0.2")) for _ in range(3)]
        second = [stack.enter_context(opened(port, HALF, source="127.0.0.3")) for _ in range(2)]
        client = stack.enter_context(opened(port, REQUEST))
        assert answered(client)
        assert is_closed(first[0])
        for each in (*first[1:], *second):
            each.sendall(REQUEST[len(HALF) :])
            assert answered(each)


def test_headers_must_come_in_time(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.05)
    for start in (b"", HALF):
        with opened(port, start) as connection:
            assert is_closed(connection)
    monkeypatch.setattr(connections, "HEADER_SECONDS", 60)
    with opened(port, REQUEST) as connection:
        assert answered(connection)
        monkeypatch.setattr(connections, "HEADER_SECONDS", 0.05)
        connection.sendall(HALF)
        assert is_closed(connection)


def test_a_request_that_is_complete_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the time limit for headers nor for other connections, which are refused."""
    monkeypatch.setattr(connections, "MAX_PER_ADDRESS", 1)
    receive_data, protocols = GuardedProtocol.data_received, list[GuardedProtocol]()

    def observed(self: GuardedProtocol, data: bytes) -> None:
        receive_data(self, data)
        protocols.append(self)

    monkeypatch.setattr(GuardedProtocol, "data_received", observed)
    began, may_answer = threading.Event(), threading.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        began.set()
        await asyncio.get_running_loop().run_in_executor(None, may_answer.wait)
        await hello(scope, receive, send)

    with running(slow) as port, opened(port, REQUEST) as connection:
        assert began.wait(PATIENCE_SECONDS)
        assert protocols[0]._headers_due is None
        with opened(port, REQUEST) as other:
            refusal = other.recv(1000)
        assert refusal.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n")
        may_answer.set()
        assert answered(connection)


@pytest.mark.slow
def test_a_client_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "READ_SECONDS", 0.05)
    large = b"x" * (64 << 20)

    async def much(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": large})

    dropped = threading.Event()
    drop = GuardedProtocol._drop

    def observed(self: GuardedProtocol) -> None:
        drop(self)
        dropped.set()

    monkeypatch.setattr(GuardedProtocol, "_drop", observed)
    with running(much) as port, opened(port, REQUEST) as connection:
        assert connection.recv(10) == b"HTTP/1.1 2"
        assert dropped.wait(PATIENCE_SECONDS)
        total, part = 0, b"x"
        with contextlib.suppress(ConnectionResetError):
            while part:
                part = connection.recv(1 << 20)
                total += len(part)
        assert total < len(large)


def test_a_process_that_may_open_few_files_has_fewer_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, expected in ((256, 192), (10, 1), (10**6, MAX_CONNECTIONS), (resource.RLIM_INFINITY, MAX_CONNECTIONS)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert max_connections() == expected


@pytest.mark.parametrize(
    ("limits", "expected"),
    [((256, 4096), 2064), ((1024, 1500), 1500), ((1024, resource.RLIM_INFINITY), 2064), ((5000, 5000), None)],
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], expected: int | None
) -> None:
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: found.append(both))
    raise_file_limit()
    assert found == ([] if expected is None else [(expected, limits[1])])


def test_the_time_limit_of_a_client_that_reads_again_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    large, paused, ended = b"x" * (64 << 20), threading.Event(), list[bool]()
    pause, resume = GuardedProtocol.pause_writing, GuardedProtocol.resume_writing

    async def much(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": large})

    def pausing(self: GuardedProtocol) -> None:
        pause(self)
        paused.set()

    def resumed(self: GuardedProtocol) -> None:
        resume(self)
        assert self._reading_due is not None
        ended.append(self._reading_due.cancelled())

    monkeypatch.setattr(GuardedProtocol, "pause_writing", pausing)
    monkeypatch.setattr(GuardedProtocol, "resume_writing", resumed)
    closing = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with running(much) as port, opened(port, closing) as connection:
        assert paused.wait(PATIENCE_SECONDS)
        while connection.recv(1 << 20):
            pass
    assert ended
    assert all(ended)


def test_a_client_that_leaves_a_small_rest_unread_is_dropped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default asyncio lets 64 kB wait, without an end."""
    monkeypatch.setattr(connections, "READ_SECONDS", 0.05)
    dropped, protocols = threading.Event(), list[GuardedProtocol]()
    made, drop = GuardedProtocol.connection_made, GuardedProtocol._drop

    def noted(self: GuardedProtocol, transport: asyncio.Transport) -> None:
        made(self, transport)
        protocols.append(self)

    def observed(self: GuardedProtocol) -> None:
        drop(self)
        dropped.set()

    async def much(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not protocols[0].transport.get_write_buffer_size():
            await send({"type": "http.response.body", "body": b"x" * 4096, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(GuardedProtocol, "connection_made", noted)
    monkeypatch.setattr(GuardedProtocol, "_drop", observed)
    with running(much) as port, opened(port, REQUEST):
        assert dropped.wait(PATIENCE_SECONDS)


def test_a_connection_that_was_just_answered_does_not_make_room(port: int) -> None:
    with opened(port) as used, opened(port, HALF) as half, opened(port, HALF):
        for _ in range(2):  # the others may be accepted only after the first answer
            used.sendall(REQUEST)
            assert answered(used)
        with opened(port, REQUEST) as client:
            assert answered(client)
        assert is_closed(half)
        used.sendall(REQUEST)
        assert answered(used)
