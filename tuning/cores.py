"""How many of a machine's cores a search leaves idle: a trial that is at work holds a lock, and others look."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from filelock import FileLock

LOOK_SECONDS = 0.1
"""Between two looks: a few steps of a training."""
WAIT_SECONDS = 1.0
"""For its own lock, which others hold for a moment when they look."""


class Cores:
    """A trial's place among those of its machine; it is at work inside the `with` block.

    A process that dies leaves its lock to the system. Where there are no locks to be had, nobody is helped.
    """

    def __init__(self, folder: Path, count: int) -> None:
        """
        Args:
            folder: of the locks, one a process; there already, and for the processes of this machine alone.
            count: cores that the search uses when all its workers have a trial.
        """
        self.folder = folder
        self.count = count
        self._mine = FileLock(folder / str(os.getpid()))
        self._share = 0
        self._next_look = 0.0

    def __enter__(self) -> "Cores":
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mine.release(force=True)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Leave the core to others while the block runs, and for good when it fails."""
        self._mine.release(force=True)
        yield
        self._begin()

    def share(self) -> int:
        """Cores for each trial that is at work; 0 where that cannot be told."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_SECONDS
            self._share = self._counted()
        return self._share

    def _begin(self) -> None:
        with contextlib.suppress(OSError):  # Timeout is one
            self._mine.acquire(timeout=WAIT_SECONDS)

    def _counted(self) -> int:
        if not self._mine.is_locked:  # who cannot be seen takes nothing
            return 0
        try:
            others = [path for path in self.folder.iterdir() if path.name != str(os.getpid())]
        except OSError:  # the search is over, and its folder gone
            return 0
        return self.count // (1 + sum(map(_at_work, others)))


def _at_work(path: Path) -> bool:
    """Whether the process of this lock has a trial."""
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except OSError:  # Timeout is one
        return True
