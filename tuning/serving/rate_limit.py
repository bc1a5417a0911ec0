"""What one client may ask of the server: bytes in a request, requests a second."""

import json
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

MAX_BODY_BYTES = 1 << 20
"""In a request's body."""
MAX_CLIENTS = 10_000
"""Whose last seconds are remembered; beyond, those heard least recently are forgotten."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class TokenBucket:
    """A bucket of tokens for each client: `rate` flow in a second, twice as many fit in, a request takes one."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.clock = clock
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens and the time they were counted at, by client; heard most recently last."""

    def wait(self, client: str) -> float:
        """Take a token: 0, or, where there is none, the seconds until there is one."""
        now = self.clock()
        tokens, then = self.buckets.pop(client, (2.0 * self.rate, now))
        tokens = min(2.0 * self.rate, tokens + (now - then) * self.rate)
        short = 1 - tokens
        self.buckets[client] = (tokens if short > 0 else tokens - 1, now)
        if len(self.buckets) > MAX_CLIENTS:
            self.buckets.popitem(last=False)
        return max(0.0, short / self.rate)


class RateLimitMiddleware:
    """ASGI middleware: 429 to a client above its rate, 413 to a body above MOST_BYTES; the rest passes through.

    A body is read whole before the application hears of the request, so a slow sender costs no worker.
    """

    def __init__(self, app: App, rate: TokenBucket) -> None:
        self.app = app
        self.rate = rate

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        client = scope["client"][0] if scope.get("client") else ""
        if wait := self.rate.wait(client):
            seconds = str(math.ceil(wait)).encode()
            await _refuse(send, 429, "too many requests, try again later", (b"retry-after", seconds))
            return
        body = await _body(receive)
        if body is None:
            await _refuse(send, 413, f"the request has more than {MAX_BODY_BYTES:,} bytes", (b"connection", b"close"))
            return
        told = False

        async def replay() -> Message:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):  # a client that is gone says so in a message without a body
            return bytes(body)


async def _refuse(send: Send, status: int, reason: str, *headers: tuple[bytes, bytes]) -> None:
    body = json.dumps({"detail": reason}).encode()
    fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
