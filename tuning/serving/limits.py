"""Limits of one client: words per second, bytes per request, seconds to send them."""

import asyncio
import contextlib
import json
import math
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tuning.serving.metrics import Metrics

MAX_BODY_BYTES = 1 << 20
"""Maximum size of a request's body in bytes."""
MAX_BODIES_BYTES = 64 << 20
"""Maximum size in bytes of all bodies that are being read; those of one client may have half of it."""
LARGE_BODY_BYTES = 4096
"""Size in bytes above which a body is not parsed while the queue is full for large requests."""
BODY_SECONDS = 15.0
"""Time limit in seconds from the end of the headers to the end of the body."""
REQUEST_WORDS = 10
"""Number of words that each request adds to its own."""
FREE_PATHS = ("/health", "/metrics")
"""Paths that a client may read at any rate: behind a proxy, a monitor has the address of busy clients."""
BYTES_PER_WORD = 1000
"""Number of bytes of a body that count as one word. The slowest body to parse is one of `{},`."""
MAX_CLIENTS = 10_000
"""Maximum number of clients with a balance; above it, the least recent ones are dropped."""
GONE = 499
"""Status in the metrics of a request whose client has disconnected."""
_WORD = re.compile(r"[^\W\u0e00-\U0010ffff]{1,16}|\S")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def count_words(text: str) -> int:
    """Estimate the number of words of a text without its tokenizer; at least 1.

    A run of letters and digits counts as one word per 16 characters. In scripts without spaces, each character counts.
    """
    return len(_WORD.findall(text)) or 1


class TokenBucket:
    """A balance of words for each client: `rate` words are added per second, up to twice as many.

    A client with a positive balance may send a request of any length. It must then wait until the balance is positive.
    """

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.clock = clock
        self.balances: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Balance and the time at which it was computed, by client; the most recent one is last."""

    def wait(self, client: str) -> float:
        """Return the seconds until the client may send a request; 0 if it may now."""
        balance = self._balance(client)
        return 0.0 if balance > 0 else (1 - balance) / self.rate

    def take(self, client: str, words: int) -> None:
        """Subtract words from the client's balance."""
        self.balances[client] = (self._balance(client) - words, self.clock())
        self.balances.move_to_end(client)
        if len(self.balances) > MAX_CLIENTS:
            self.balances.popitem(last=False)

    def _balance(self, client: str) -> float:
        words, then = self.balances.get(client, (2.0 * self.rate, self.clock()))
        return min(2.0 * self.rate, words + (self.clock() - then) * self.rate)


class Gate:
    """ASGI middleware in front of the application.

    It reads the whole body before it calls the application, so that a slow sender takes no work. It refuses requests
    above the limits, answers HEAD like GET, and cancels the application if the client disconnects.
    """

    def __init__(self, app: App, rate: TokenBucket, metrics: Metrics, retry_large: Callable[[], int]) -> None:
        """Wrap an application.

        Args:
            app: The application.
            rate: Balances of the clients.
            metrics: Counter of the requests.
            retry_large: Called before a large body is parsed; returns 0, or the seconds until the queue accepts it.
        """
        self.app, self.rate, self.metrics, self.retry_large = app, rate, metrics, retry_large
        self.bodies_bytes = Counter[str]()
        """Number of bytes of the bodies that are being read, by client."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), GONE

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        if scope["method"] == "HEAD":  # uvicorn omits the body of the answer
            scope = {**scope, "method": "GET"}
        try:
            await self._answer(scope, receive, observed)
        except asyncio.CancelledError:  # the server stops, and the waiting time is over
            if status == GONE:
                await refuse(send, 503, "the server stops", retry_after=1, closes=True)
        finally:
            self.metrics.record(status, time.perf_counter() - began)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        client = client_of(scope)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._body(client, receive)
        except TimeoutError:
            await refuse(send, 408, f"the request took longer than {BODY_SECONDS:g} seconds", closes=True)
            return
        except _TooLargeError as error:
            again = 1 if error.status == 503 else None
            await refuse(send, error.status, str(error), retry_after=again, closes=True)
            return
        if body is None:
            return
        counts = scope["method"] != "GET" or scope["path"] not in FREE_PATHS
        if counts and (wait := self.rate.wait(client)):
            await refuse(send, 429, "too many words, try again later", retry_after=math.ceil(wait))
        elif len(body) > LARGE_BODY_BYTES and (seconds := self.retry_large()):
            await refuse(send, 503, "too many words wait, try again later", retry_after=seconds)
        else:
            if counts:
                self.rate.take(client, REQUEST_WORDS + len(body) // BYTES_PER_WORD)
            await self._call(scope, body, receive, send)

    async def _body(self, client: str, receive: Receive) -> bytes | None:
        """Return the whole body; None if the client has disconnected."""
        body = bytearray()
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                part = message.get("body", b"")
                body += part
                self.bodies_bytes[client] += len(part)
                if len(body) > MAX_BODY_BYTES:
                    while message.get("more_body", False):  # some clients read no answer before they have sent all
                        message = await receive()
                    raise _TooLargeError(413, f"the request has more than {MAX_BODY_BYTES:,} bytes")
                if max(2 * self.bodies_bytes[client], self.bodies_bytes.total()) > MAX_BODIES_BYTES:
                    raise _TooLargeError(503, "too many bytes arrive, try again later")
                if not message.get("more_body", False):
                    return bytes(body)
        finally:
            self.bodies_bytes[client] -= len(body)
            self.bodies_bytes += Counter()  # without the clients that have no body

    async def _call(self, scope: Message, body: bytes, receive: Receive, send: Send) -> None:
        """Run the application on a body, and cancel it if the client disconnects."""
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else {"type": "http.disconnect"}

        call = asyncio.ensure_future(self.app(scope, replay, send))
        gone = asyncio.ensure_future(receive())  # after the body, the only message is that the client is gone
        try:
            await asyncio.wait((call, gone), return_when=asyncio.FIRST_COMPLETED)
            if not call.done() and gone.result()["type"] == "http.disconnect":
                call.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await call
            else:
                await call
        finally:
            gone.cancel()
            call.cancel()


class _TooLargeError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def client_of(scope: Message) -> str:
    """Return the address of a request's client, without its port."""
    return scope["client"][0] if scope.get("client") else ""


async def refuse(send: Send, status: int, reason: str, *, retry_after: int | None = None, closes: bool = False) -> None:
    """Send an answer with a reason, the seconds after which to try again, and whether the connection is closed."""
    body = json.dumps({"detail": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    if closes:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
