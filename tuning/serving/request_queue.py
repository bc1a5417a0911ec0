"""Requests that wait for the model: bounded, labelled in batches, and fair to small ones."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

MAX_REQUESTS = 512
"""Maximum number of waiting requests."""
MAX_LARGE_WORDS = 200_000
"""Number of waiting words from which no large request is accepted: a few seconds of work."""
SMALL_WORDS = 1000
"""Maximum number of words of a small request. Small and large ones alternate, so a small one waits for one batch."""
BATCH_WORDS, BATCH_TEXTS = 2048, 256
"""Maximum number of words and texts in a batch."""


@dataclass(eq=False, slots=True)
class _Request:
    texts: Sequence[str]
    words: Sequence[int]
    done: "asyncio.Future[list[str]]"
    answers: list[str] = field(default_factory=list)
    next: int = 0
    """Index of the first text that is in no batch yet."""


class RequestQueue:
    """Labels texts in a separate thread, for all requests of one event loop."""

    def __init__(self, label: Callable[[list[str]], list[str]]) -> None:
        """Start the thread.

        Args:
            label: Called in the thread with the texts of a batch, which may belong to several requests.
        """
        self._label = label
        self._thread = ThreadPoolExecutor(1, "predict")  # more threads would only compete
        self._small: deque[_Request] = deque()
        self._large: deque[_Request] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._large_is_next = False
        self.requests = 0
        """Number of waiting requests."""
        self.words = 0
        """Number of their words that are not labelled yet."""
        self.labelled_words = 0
        self.busy_seconds = 0.0
        """Time in seconds in which words were labelled."""

    def retry_after(self, *, large: bool) -> int:
        """Return 0 if a request may be submitted, else the estimated seconds until the waiting words are labelled."""
        if self.requests < MAX_REQUESTS and not (large and self.words >= MAX_LARGE_WORDS):
            return 0
        return max(1, math.ceil(self.words * self.busy_seconds / max(1, self.labelled_words)))

    async def submit(self, texts: Sequence[str], words: Sequence[int]) -> list[str]:
        """Return the answers to the texts. If this call is cancelled, texts that are in no batch yet are dropped.

        Args:
            texts: (n,) texts, at least one.
            words: (n,) estimated number of words of each, at least 1.

        Raises:
            Exception: The exception of `label`.
        """
        request = _Request(texts, words, asyncio.get_running_loop().create_future())
        lane = self._small if sum(words) <= SMALL_WORDS else self._large
        lane.append(request)
        self.requests += 1
        self.words += sum(words)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        try:
            return await request.done
        finally:
            self.requests -= 1
            self.words -= sum(words[len(request.answers) :])
            if request in lane:
                lane.remove(request)

    async def _run(self) -> None:
        """Label batches until no request waits."""
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            texts = [text for request, start, stop in batch for text in request.texts[start:stop]]
            began = time.perf_counter()
            try:
                answers = iter(await loop.run_in_executor(self._thread, self._label, texts))
            except Exception as error:  # the requests raise it
                for request, _, _ in batch:
                    if not request.done.done():
                        request.done.set_exception(error)
                continue
            self.busy_seconds += time.perf_counter() - began
            for request, start, stop in batch:
                words = sum(request.words[start:stop])
                self.labelled_words += words
                found = [next(answers) for _ in range(start, stop)]
                if request.done.done():  # its client has disconnected
                    continue
                self.words -= words
                request.answers += found
                if stop == len(request.texts):
                    request.done.set_result(request.answers)
        self._runner = None

    def _next_batch(self) -> list[tuple[_Request, int, int]]:
        """Return requests, each with the range of its texts that are labelled now; [] if none waits."""
        lanes = (self._large, self._small) if self._large_is_next else (self._small, self._large)
        lane = next((each for each in lanes if any(not request.done.done() for request in each)), None)
        if lane is None:
            return []
        self._large_is_next = lane is self._small
        batch: list[tuple[_Request, int, int]] = []
        started: list[_Request] = []
        n_words = n_texts = 0
        while lane and n_words < BATCH_WORDS and n_texts < BATCH_TEXTS:
            request = lane.popleft()
            if request.done.done():  # a part of it has failed
                continue
            start = request.next
            while request.next < len(request.texts) and n_texts < BATCH_TEXTS:
                n_words += request.words[request.next]
                if n_words > BATCH_WORDS and n_texts:
                    break
                request.next += 1
                n_texts += 1
            if request.next == start:  # its first text does not fit; it stays the next one
                lane.appendleft(request)
                break
            batch.append((request, start, request.next))
            if request.next < len(request.texts):
                started.append(request)
        lane.extend(started)
        return batch
