"""tuning.serving.request_queue: batches of several requests, small ones between large ones, and dropped texts."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.patience import PATIENCE_SECONDS
from tuning.serving.request_queue import (
    BATCH_TEXTS,
    BATCH_WORDS,
    MAX_LARGE_WORDS,
    MAX_REQUESTS,
    SMALL_WORDS,
    RequestQueue,
)


class Labeller:
    """Labels a batch when the test allows it, and keeps what the batches held."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.began, self.may_end = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, texts: list[str]) -> list[str]:
        self.batches.append(texts)
        self.began.release()
        self.may_end.acquire()
        if "bad" in texts:
            raise ValueError("a bad text")
        return [text.upper() for text in texts]

    async def wait_for_a_batch(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.began.acquire)

    def allow(self, batches: int = 1000) -> None:
        self.may_end.release(batches)


def run(test: Callable[[RequestQueue, Labeller], Awaitable[None]]) -> None:
    labeller = Labeller()

    async def main() -> None:
        try:
            await asyncio.wait_for(test(RequestQueue(labeller), labeller), PATIENCE_SECONDS)
        finally:
            labeller.allow()

    asyncio.run(main())


def submit(queue: RequestQueue, *texts: str, words: int = 1) -> Any:
    return asyncio.ensure_future(queue.submit(texts, [words] * len(texts)))


def test_requests_that_wait_are_labelled_together_and_get_their_own_answers() -> None:
    async def test(queue: RequestQueue, labeller: Labeller) -> None:
        first = submit(queue, "a")
        await labeller.wait_for_a_batch()
        others = [submit(queue, "b", "c"), submit(queue, "d")]
        await asyncio.sleep(0)
        assert (queue.requests, queue.words) == (3, 4)
        labeller.allow()
        assert [await each for each in (first, *others)] == [["A"], ["B", "C"], ["D"]]
        assert labeller.batches == [["a"], ["b", "c", "d"]]
        assert (queue.requests, queue.words, queue.labelled_words) == (0, 0, 4)
        assert await submit(queue, "e") == ["E"]

    run(test)


def test_a_small_request_waits_for_one_batch_of_large_ones() -> None:
    async def test(queue: RequestQueue, labeller: Labeller) -> None:
        large = [submit(queue, *(f"{name}{i}" for i in range(40)), words=BATCH_WORDS // 8) for name in "xyz"]
        await labeller.wait_for_a_batch()
        small = submit(queue, "hi")
        await asyncio.sleep(0)
        labeller.allow(2)
        assert await small == ["HI"]
        assert labeller.batches[:2] == [[f"x{i}" for i in range(8)], ["hi"]]
        labeller.allow()
        assert [await each for each in large] == [[f"{name}{i}" for i in range(40)] for name in "XYZ"]
        assert [batch[0] for batch in labeller.batches[2:6]] == ["y0", "z0", "x8", "y8"]

    run(test)


def test_large_requests_are_labelled_although_small_ones_never_end() -> None:
    async def test(queue: RequestQueue, labeller: Labeller) -> None:
        large = submit(queue, *"xyz", words=BATCH_WORDS)
        await labeller.wait_for_a_batch()
        waiting = [submit(queue, "s") for _ in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)
            waiting.append(submit(queue, "s"))
            labeller.allow(1)
            await labeller.wait_for_a_batch()
        assert [batch[0] for batch in labeller.batches] == ["x", "s", "y", "s", "z", "s"]
        labeller.allow()
        assert await large == ["X", "Y", "Z"]
        assert all([await each == ["S"] for each in waiting])

    run(test)


def test_a_batch_has_a_bounded_number_of_words_and_texts() -> None:
    async def test(queue: RequestQueue, labeller: Labeller) -> None:
        labeller.allow()
        await asyncio.gather(
            submit(queue, *["a"] * 600), submit(queue, *["b"] * 30, words=100), submit(queue, "c", words=10**6)
        )
        assert max(map(len, labeller.batches)) == BATCH_TEXTS
        assert max(100 * batch.count("b") for batch in labeller.batches) <= BATCH_WORDS
        assert [batch for batch in labeller.batches if "c" in batch] == [["c"]]

    run(test)


def test_a_request_that_does_not_fit_into_a_batch_is_the_first_of_the_next_one() -> None:
    async def test(queue: RequestQueue, labeller: Labeller) -> None:
        labeller.allow()
        names = "abcdefghi"
        await asyncio.gather(*(submit(queue, name, words=700) for name in names))
        assert ["".join(batch) for batch in labeller.batches] == ["ab", "cd", "ef", "gh", "i"]

    run(test)


def test_texts_of_a_client_that_has_gone_are_dropped() -> None:
    async def test(queue: RequestQueue, labeller: Labeller) -> None:
        large = submit(queue, *"xyz", words=BATCH_WORDS)
        await labeller.wait_for_a_batch()
        gone, kept = submit(queue, "gone"), submit(queue, "kept")
        await asyncio.sleep(0)
        large.cancel()
        gone.cancel()
        await asyncio.sleep(0)
        assert (queue.requests, queue.words) == (1, 1)
        labeller.allow()
        assert await kept == ["KEPT"]
        assert labeller.batches == [["x"], ["kept"]]
        assert (queue.requests, queue.words) == (0, 0)

    run(test)


async def leaves_while_its_batch_is_labelled(client: Any, labeller: Labeller) -> None:
    """Let the batch before it end, then its client go, then all batches end."""
    await asyncio.sleep(0)
    labeller.allow(1)
    await labeller.wait_for_a_batch()
    client.cancel()
    await asyncio.sleep(0)
    labeller.allow()


def test_a_client_that_goes_while_its_batch_is_labelled_shifts_no_answers() -> None:
    async def test(queue: RequestQueue, labeller: Labeller) -> None:
        first = submit(queue, "first")
        await labeller.wait_for_a_batch()
        gone, kept = submit(queue, "gone", "too"), submit(queue, "kept")
        await leaves_while_its_batch_is_labelled(gone, labeller)
        assert [await each for each in (first, kept)] == [["FIRST"], ["KEPT"]]
        assert labeller.batches == [["first"], ["gone", "too", "kept"]]
        assert (queue.requests, queue.words) == (0, 0)

    run(test)


def test_a_request_is_labelled_although_the_only_one_of_the_other_size_has_just_gone() -> None:
    async def test(queue: RequestQueue, labeller: Labeller) -> None:
        first = submit(queue, "first")
        await labeller.wait_for_a_batch()
        gone, kept = submit(queue, "gone", words=SMALL_WORDS + 1), submit(queue, "kept")
        await asyncio.sleep(0)
        labeller.allow()
        queue._thread.submit(int).result()  # the batch has ended
        await asyncio.sleep(0)
        gone.cancel()  # the next batch is made before the request is removed
        assert [await each for each in (first, kept)] == [["FIRST"], ["KEPT"]]

    run(test)


def test_an_error_is_that_of_the_requests_in_its_batch() -> None:
    async def test(queue: RequestQueue, labeller: Labeller) -> None:
        labeller.allow()
        with pytest.raises(ValueError, match="a bad text"):
            await submit(queue, "bad")
        assert await submit(queue, "good") == ["GOOD"]
        assert (queue.requests, queue.words) == (0, 0)

    run(test)


def test_an_error_is_that_of_all_requests_in_its_batch_although_the_client_of_one_has_gone() -> None:
    async def test(queue: RequestQueue, labeller: Labeller) -> None:
        first = submit(queue, "first")
        await labeller.wait_for_a_batch()
        gone, bad, other = submit(queue, "gone"), submit(queue, "bad"), submit(queue, "other")
        await leaves_while_its_batch_is_labelled(gone, labeller)
        for each in (bad, other):
            with pytest.raises(ValueError, match="a bad text"):
                await each
        assert [await first, await submit(queue, "good")] == [["FIRST"], ["GOOD"]]
        assert (queue.requests, queue.words) == (0, 0)

    run(test)


def test_a_full_queue_says_when_to_come_again() -> None:
    async def test(queue: RequestQueue, labeller: Labeller) -> None:
        waiting = [submit(queue, "x", words=MAX_LARGE_WORDS)]
        await labeller.wait_for_a_batch()
        queue.busy_seconds, queue.labelled_words = 1.0, 40_000
        assert queue.retry_after(large=True) == MAX_LARGE_WORDS // 40_000
        assert queue.retry_after(large=False) == 0
        waiting += [submit(queue, "s") for _ in range(MAX_REQUESTS - 1)]
        await asyncio.sleep(0)
        assert queue.retry_after(large=False) == 6
        labeller.allow()
        await asyncio.gather(*waiting)
        assert queue.retry_after(large=True) == queue.retry_after(large=False) == 0

    run(test)
