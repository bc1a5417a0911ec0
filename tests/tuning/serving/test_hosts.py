"""tuning.serving.hosts: a request from a page whose name points to this machine is refused."""

import asyncio
import socket
from typing import Any

import pytest

from core.errors import ConfigError
from tuning.serving.hosts import ANY_ADDRESS, LOCAL_NAMES, check_hosts, hosts_of

pytest.importorskip("starlette", reason="needs the extra `serve`")


def test_local_names_and_the_address_that_is_bound_are_answered() -> None:
    assert hosts_of("127.0.0.1", None) == LOCAL_NAMES
    assert hosts_of("192.0.2.7", None) == (*LOCAL_NAMES, "192.0.2.7")
    assert hosts_of("fd00::7", "A.example.com, *.b.example") == (
        *LOCAL_NAMES,
        "[fd00::7]",
        "a.example.com",
        "*.b.example",
    )
    assert {socket.gethostname().lower(), ANY_ADDRESS, "0.0.0.0"} <= set(hosts_of("0.0.0.0", None))


@pytest.mark.parametrize("allowed", ["http://a", "a:8000", "a b", "*a", "a.*", "\x1b[31m", "a,[::1"])
def test_what_is_no_name_is_refused(allowed: str) -> None:
    with pytest.raises(
        ConfigError, match=r"--allowed-hosts must be names without ports, separated by commas, .*, got '"
    ):
        hosts_of("127.0.0.1", allowed)


def status_of(host: str | None, hosts: tuple[str, ...]) -> int:
    """Ask with this header Host."""
    sent: list[Any] = []

    async def hello(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if host is None else [(b"host", host.encode())]
    asyncio.run(check_hosts(hello, hosts)({"type": "http", "headers": headers, "method": "GET"}, None, send))  # type: ignore[arg-type]
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize(
    ("host", "bound", "allowed", "status"),
    [
        ("localhost", "127.0.0.1", None, 200),
        ("LOCALHOST:8000", "127.0.0.1", None, 200),
        ("127.0.0.1:8000", "127.0.0.1", None, 200),
        ("[::1]:8000", "::1", None, 200),
        ("evil.example", "127.0.0.1", None, 400),
        ("localhost.evil.example", "127.0.0.1", None, 400),
        ("192.0.2.7", "127.0.0.1", None, 400),
        ("", "127.0.0.1", None, 400),
        (None, "127.0.0.1", None, 400),
        ("a.example", "127.0.0.1", "a.example", 200),
        ("b.a.example", "127.0.0.1", "*.a.example", 200),
        ("evil.example", "127.0.0.1", "*", 200),
        ("192.0.2.7:8000", "0.0.0.0", None, 200),
        ("[fd00::7]:8000", "::", None, 200),
        ("evil.example", "0.0.0.0", None, 400),
        ("192.0.2.7.evil.example", "0.0.0.0", None, 400),
    ],
)
def test_other_hosts_are_not_answered(host: str | None, bound: str, allowed: str | None, status: int) -> None:
    assert status_of(host, hosts_of(bound, allowed)) == status
