"""tuning.serving.rate_limit: what one client may ask, counted by a clock of ours."""

import asyncio
import json
from typing import Any

import pytest

import tuning.serving.rate_limit
from tuning.serving.rate_limit import MAX_BODY_BYTES, RateLimitMiddleware, TokenBucket


class Clock:
    """Seconds that pass when the test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_twice_the_rate_may_come_at_once_and_then_the_rate() -> None:
    clock = Clock()
    rate = TokenBucket(2, clock)
    assert [rate.wait("a") for _ in range(4)] == [0] * 4
    assert rate.wait("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert rate.wait("a") == 0
    assert rate.wait("a") == pytest.approx(0.5)
    clock.now += 1000
    assert [rate.wait("a") for _ in range(5)] == [0, 0, 0, 0, pytest.approx(0.5)]


def test_asking_in_vain_makes_nobody_wait_longer() -> None:
    clock = Clock()
    rate = TokenBucket(1, clock)
    waits = [rate.wait("a") for _ in range(20)]
    assert waits == [0, 0, *[pytest.approx(1)] * 18]
    clock.now += 1
    assert rate.wait("a") == 0


def test_clients_do_not_share_a_bucket() -> None:
    rate = TokenBucket(1, Clock())
    assert [rate.wait("a") for _ in range(3)][-1] > 0
    assert rate.wait("b") == 0


def test_those_heard_least_recently_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning.serving.rate_limit, "MAX_CLIENTS", 2)
    rate = TokenBucket(1, Clock())
    for client in ("a", "b", "a", "c"):
        rate.wait(client)
    assert list(rate.buckets) == ["a", "c"]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def ask(app: RateLimitMiddleware, *parts: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """One request whose body comes in parts: status, headers, body."""
    messages = [{"type": "http.request", "body": part, "more_body": i < len(parts)} for i, part in enumerate(parts, 1)]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({"type": "http", "client": ("10.0.0.1", 1)}, receive, send))
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


def test_a_body_in_parts_reaches_the_application_whole() -> None:
    assert ask(RateLimitMiddleware(echo, TokenBucket(9)), b"one ", b"two ", b"three") == (200, {}, b"one two three")


@pytest.mark.parametrize("parts", [[b"x" * (MAX_BODY_BYTES + 1)], [b"x" * 1024] * 1025])
def test_a_body_above_the_limit_is_refused(parts: list[bytes]) -> None:
    status, headers, body = ask(RateLimitMiddleware(echo, TokenBucket(9)), *parts)
    assert (status, headers[b"content-type"]) == (413, b"application/json")
    assert json.loads(body) == {"detail": "the request has more than 1,048,576 bytes"}
    assert ask(RateLimitMiddleware(echo, TokenBucket(9)), b"x" * MAX_BODY_BYTES)[0] == 200


def test_a_client_above_its_rate_hears_when_to_come_again() -> None:
    app = RateLimitMiddleware(echo, TokenBucket(1, Clock()))
    assert [ask(app, b"")[0] for _ in range(3)] == [200, 200, 429]
    _, headers, body = ask(app, b"")
    assert headers[b"retry-after"] == b"1"
    assert json.loads(body) == {"detail": "too many requests, try again later"}
