"""BackgroundRay: Ray on this machine, which another thread starts while this one reads the data. Imports no Ray."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Self

from tuning.resources.machine import Machine


class BackgroundRay:
    """A context manager that shuts Ray down after the block, if it was started."""

    def __init__(self, machine: Machine, lost: Callable[[str], None]) -> None:
        """Start nothing yet; the arguments are those of `local_ray`."""
        self.machine, self._lost = machine, lost
        self._ready = Future[Any]()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hold, name="ray", daemon=True)

    def start(self) -> None:
        """Let Ray start, and return at once."""
        if self._thread.ident is None:
            self._thread.start()

    @contextlib.contextmanager
    def session(self) -> Iterator[Any]:
        """Wait until Ray has started, give it, and shut it down after the block.

        Raises:
            UserError: Ray does not start.
        """
        self.start()
        with self:
            yield self._ready.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Shut Ray down; an interruption of this wait does not cut that short."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _hold(self) -> None:
        """Start Ray and keep this thread alive: Linux kills Ray's processes when the thread that started them ends."""
        try:
            from tuning.backend.local_ray import local_ray  # imports Ray

            if not self._over.is_set():
                with local_ray(self.machine, self._lost) as ray:
                    self._ready.set_result(ray)
                    self._over.wait()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
