"""BackgroundRay: Ray on this machine, started in a thread while the main thread reads the data. Imports no Ray."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Self

from tuning.console import say_if_slow, worker_niceness
from tuning.resources.machine import Machine

IMPORTING = threading.Lock()
"""Held while a thread imports modules of Ray: two threads that import them at once take Python's locks of the modules
in different orders, and in rare cases one then fails."""
END_SECONDS = 60
"""Maximum time in seconds for the shutdown of Ray. Its processes end with this process at the latest."""


class BackgroundRay:
    """A context manager that shuts Ray down after the block, if it was started."""

    def __init__(self, machine: Machine, lost: Callable[[str], None]) -> None:
        """Start nothing yet; the arguments are those of `local_ray`."""
        self.machine, self._lost = machine, lost
        self._ready = Future[Any]()
        self._over, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, name="ray", daemon=True)

    def start(self) -> None:
        """Start Ray in a thread, and return at once.

        Raises:
            ConfigError: Ray's variable RAY_worker_niceness is no whole number.
        """
        worker_niceness()
        if self._thread.ident is None:
            self._thread.start()

    @contextlib.contextmanager
    def session(self, say: Callable[[str], None] = lambda line: None) -> Iterator[Any]:
        """Wait until Ray has started, yield it, and shut it down after the block.

        Args:
            say: Called with a line if the start takes long.

        Raises:
            UserError: Ray does not start.
        """
        self.start()
        with self:
            with say_if_slow("starting Ray ...", say):
                ray = self._ready.result()
            yield ray

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Shut Ray down; an interruption of this wait does not stop the shutdown."""
        self._over.set()
        if self._thread.ident is not None:
            # Not Thread.join: if it was interrupted once, Python before 3.13 takes the thread for ended.
            self._ended.wait(END_SECONDS)

    def _hold(self) -> None:
        """Start Ray, and shut it down when `__exit__` is called."""
        try:
            with IMPORTING:
                from tuning.backend.local_ray import local_ray  # imports Ray

            if not self._over.is_set():
                with local_ray(self.machine, self._lost) as ray:
                    self._ready.set_result(ray)
                    self._over.wait()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
        finally:
            self._ended.set()
