"""tuning.backend.tasks: results of tasks; tests/system runs it on a real Ray."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.errors import UserError
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.tasks import run_tasks


class FakeRay:
    """A task is a function; it runs when its result is fetched, and the one that started last ends first."""

    class exceptions:  # noqa: N801 - the name of Ray's module
        class RayError(Exception):
            """A worker died."""

        class RayTaskError(RayError):
            """A task raised an error."""

    def __init__(self) -> None:
        self.most_running = 0
        self.is_open = False

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        self.most_running = max(self.most_running, len(references))
        return references[-1:], references[:-1]

    def get(self, reference: Callable[[], Any]) -> Any:
        return reference()

    def died(self) -> Any:
        raise self.exceptions.RayError

    def failed(self) -> Any:
        raise self.exceptions.RayTaskError("division by zero")

    @contextlib.contextmanager
    def session(self) -> Iterator["FakeRay"]:
        self.is_open = True
        yield self
        self.is_open = False


@pytest.fixture
def ray() -> FakeRay:
    return FakeRay()


def run(ray: FakeRay, names: str, interrupt: InterruptHandler | None = None) -> Iterator[tuple[str, Any]]:
    outcomes = {"d": ray.died, "e": ray.failed, "f": lambda: {"user_error": "the disk is full"}}

    def starter(_: Any) -> Callable[[str], Any]:
        return lambda name: outcomes.get(name) or (lambda: {"value": name.upper()})

    return run_tasks(list(names), starter, ray.session, 2, interrupt or InterruptHandler(say=print))


def test_each_task_is_yielded_with_its_result_as_it_ends(ray: FakeRay) -> None:
    found = list(run(ray, "abc"))

    assert found == [("b", {"value": "B"}), ("c", {"value": "C"}), ("a", {"value": "A"})]
    assert ray.most_running == 2
    assert not ray.is_open


def test_a_task_whose_worker_died_has_a_result_that_says_so(ray: FakeRay) -> None:
    assert dict(run(ray, "ad"))["d"].keys() == {"died"}


def test_an_error_in_a_task_is_raised(ray: FakeRay) -> None:
    """It is not the death of a worker."""
    with pytest.raises(FakeRay.exceptions.RayTaskError, match="division by zero"):
        list(run(ray, "ae"))


def test_an_error_that_the_user_must_fix_ends_all(ray: FakeRay) -> None:
    with pytest.raises(UserError, match="the disk is full"):
        list(run(ray, "af"))


def test_an_interrupt_ends_it_between_two_tasks(ray: FakeRay) -> None:
    interrupt = InterruptHandler(say=print)
    results = run(ray, "abc", interrupt)

    assert next(results)[0] == "b"
    interrupt.requested = True

    assert list(results) == []
    assert not ray.is_open
