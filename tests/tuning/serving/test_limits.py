"""tuning.serving.limits: limits of one client, with a simulated clock."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

import tuning.serving.limits
from tuning.serving.limits import MAX_BODY_BYTES, REQUEST_WORDS, Gate, TokenBucket, count_words
from tuning.serving.metrics import Metrics
from tuning.serving.request_queue import RequestQueue


class Clock:
    """Seconds that pass when the test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("text", "words"),
    [("", 1), ("good", 1), ("isn't it?  Yes!", 7), ("x" * 160, 10), ("!" * 30, 30), ("再见", 2), ("naïve Straße", 2)],
)
def test_words_are_estimated_without_a_tokenizer(text: str, words: int) -> None:
    assert count_words(text) == words


def test_a_request_of_any_length_is_paid_afterwards() -> None:
    clock = Clock()
    rate = TokenBucket(100, clock)
    assert rate.wait("a") == 0
    rate.take("a", 1000)  # of 200
    assert rate.wait("a") == pytest.approx(8.01)
    clock.now += 8
    assert rate.wait("a") == pytest.approx(0.01)
    clock.now += 0.5
    assert rate.wait("a") == 0
    rate.take("a", 49)
    assert rate.wait("a") == 0
    rate.take("a", 1)
    assert rate.wait("a") == pytest.approx(0.01)
    clock.now += 1000
    rate.take("a", 200)
    assert rate.wait("a") > 0


def test_a_refused_request_makes_no_wait_longer() -> None:
    clock = Clock()
    rate = TokenBucket(1, clock)
    rate.take("a", 3)
    assert [rate.wait("a") for _ in range(20)] == [pytest.approx(2)] * 20


def test_clients_do_not_share_a_balance() -> None:
    rate = TokenBucket(1, Clock())
    rate.take("a", 2)
    assert rate.wait("a") > 0
    assert rate.wait("b") == 0


def test_those_heard_least_recently_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning.serving.limits, "MAX_CLIENTS", 2)
    rate = TokenBucket(1, Clock())
    for client in ("a", "b", "a", "c"):
        rate.take(client, 1)
    assert list(rate.balances) == ["a", "c"]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["method"].encode() + b" " + message["body"]})


def gate(
    app: Any = echo, rate: TokenBucket | None = None, retry_large: Callable[[], int] = lambda: 0
) -> tuple[Gate, Metrics]:
    metrics = Metrics(RequestQueue(list))
    return Gate(app, rate or TokenBucket(1000, Clock()), metrics, retry_large), metrics


def ask(
    app: Gate, *parts: bytes, method: str = "POST", path: str = "/predict", ended: bool = True, then: Any = None
) -> tuple[int, dict[bytes, bytes], bytes]:
    """One request whose body comes in parts, and a message after it: status, headers, body; 0 if there is no answer."""
    messages: list[Any] = [
        {"type": "http.request", "body": part, "more_body": not ended or i < len(parts)}
        for i, part in enumerate(parts, 1)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        return then or await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "client": ("10.0.0.1", 1), "method": method, "path": path}
    asyncio.run(app(scope, receive, send))
    if not sent:
        return 0, {}, b""
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


def test_a_body_in_parts_reaches_the_application_whole() -> None:
    app, _ = gate()
    assert ask(app, b"one ", b"two ", b"three") == (200, {}, b"POST one two three")
    assert ask(app, b"", method="HEAD") == (200, {}, b"GET ")
    assert not app.bodies_bytes


def test_a_body_above_the_limit_is_refused_after_its_end() -> None:
    """Some clients read no answer before they have sent all."""
    left = [b"x" * 1024] * 1030

    async def receive() -> Any:
        part = left.pop()
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    async def send(message: Any) -> None:
        assert not left

    scope = {"type": "http", "client": ("10.0.0.1", 1), "method": "POST", "path": "/predict"}
    asyncio.run(gate()[0](scope, receive, send))


@pytest.mark.parametrize("parts", [[b"x" * (MAX_BODY_BYTES + 1)], [b"x" * 1024] * 1025])
def test_a_body_above_the_limit_is_refused(parts: list[bytes]) -> None:
    app, _ = gate()
    status, headers, body = ask(app, *parts)
    assert (status, headers[b"content-type"], headers[b"connection"]) == (413, b"application/json", b"close")
    assert json.loads(body) == {"detail": "the request has more than 1,048,576 bytes"}
    assert ask(app, b"x" * MAX_BODY_BYTES)[0] == 200
    assert not app.bodies_bytes


def test_the_bodies_of_all_clients_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning.serving.limits, "MAX_BODIES_BYTES", 10)
    app, _ = gate()
    app.bodies_bytes["another"] = 6
    status, headers, body = ask(app, b"xxx", b"xx")
    assert (status, headers[b"connection"], headers[b"retry-after"]) == (503, b"close", b"1")
    assert json.loads(body) == {"detail": "too many bytes arrive, try again later"}
    assert app.bodies_bytes == {"another": 6}
    assert ask(app, b"xxx")[0] == 200


def test_one_client_may_have_half_of_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning.serving.limits, "MAX_BODIES_BYTES", 10)
    app, _ = gate()
    assert [ask(app, b"x" * size)[0] for size in (5, 6)] == [200, 503]


def test_a_body_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning.serving.limits, "BODY_SECONDS", 0.01)
    app, metrics = gate()
    status, headers, body = ask(app, b"x", ended=False)
    assert (status, headers[b"connection"]) == (408, b"close")
    assert json.loads(body) == {"detail": "the request took longer than 0.01 seconds"}
    assert b'requests_total{status="408"} 1.0' in metrics.render()


def test_a_client_above_its_rate_hears_when_to_come_again() -> None:
    app, metrics = gate(rate=TokenBucket(REQUEST_WORDS, Clock()))
    assert [ask(app, b"")[0] for _ in range(3)] == [200, 200, 429]
    _, headers, body = ask(app, b"")
    assert headers[b"retry-after"] == b"1"
    assert json.loads(body) == {"detail": "too many words, try again later"}
    assert b'requests_total{status="429"} 2.0' in metrics.render()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_health_and_metrics_are_answered_also_to_a_client_above_its_rate(method: str, path: str) -> None:
    app, _ = gate(rate=TokenBucket(REQUEST_WORDS, Clock()))
    assert [ask(app, b"", method=method, path=path)[0] for _ in range(3)] == [200, 200, 200]
    assert [ask(app, b"")[0] for _ in range(3)] == [200, 200, 429]
    assert ask(app, b"", method=method, path=path)[0] == 200
    assert ask(app, b"", path=path)[0] == 429
    assert ask(app, b"", method=method, path="/")[0] == 429
    assert ask(app, b"x" * (MAX_BODY_BYTES + 1), method=method, path=path)[0] == 413


def test_a_large_body_costs_words_for_its_parsing() -> None:
    app, _ = gate(rate=TokenBucket(500, Clock()))
    assert [ask(app, b"{}," * 333_000)[0] for _ in range(2)] == [200, 429]


def test_a_large_body_is_not_parsed_while_there_is_no_room() -> None:
    app, _ = gate(retry_large=lambda: 7)
    status, headers, body = ask(app, b"x" * 5000)
    assert (status, headers[b"retry-after"]) == (503, b"7")
    assert json.loads(body) == {"detail": "too many words wait, try again later"}
    assert ask(app, b"x" * 4000)[0] == 200


def test_a_client_that_goes_before_its_body_ends_starts_no_work() -> None:
    app, _ = gate(pytest.fail)
    assert ask(app, then={"type": "http.disconnect"})[0] == 0


def test_a_request_that_is_cut_off_by_the_end_of_the_server_is_answered() -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def stopped() -> list[Any]:
        app, _ = gate(never)
        sent: list[Any] = []
        messages = [{"type": "http.request", "body": b"x", "more_body": False}]

        async def receive() -> Any:
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "client": None, "method": "POST", "path": "/"}
        task = asyncio.ensure_future(app(scope, receive, send))
        await asyncio.sleep(0.01)
        task.cancel()
        await task
        return sent

    start, body = asyncio.run(stopped())
    assert (start["status"], json.loads(body["body"])) == (503, {"detail": "the server stops"})
    assert (b"retry-after", b"1") in start["headers"]
