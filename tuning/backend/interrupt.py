"""TODO."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tuning.scheduling.budget import EarlyEnd
from tuning.scheduling.stop_signal import StopSignal


@dataclass(kw_only=True)
class InterruptHandler(StopSignal):
    """Ctrl-C or SIGTERM: the first asks to stop after the running epochs, the second stops at once."""

    say: Callable[[str], None]
    on_ray_lost: Callable[[str], None]
    """Told from another thread that Ray is gone; it must end the process."""
    notice: str = "stopping: running trials end their epoch and keep their checkpoints"
    """What the first one brings about."""
    again: bool = False
    """The second one came: Ray is being shut down, which further ones cannot hasten."""

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the two signals while the block runs."""
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def time_limit(self, seconds: float | None, ending: EarlyEnd) -> Iterator[None]:
        """End the search so many seconds from now unless the block is over by then; None: never."""
        if seconds is None:
            yield
            return

        def time_up() -> None:
            if not self.requested:
                self.say(f"{ending.reason}: running trials end their epoch and keep their checkpoints")
                self.end_study(ending)

        timer = threading.Timer(max(0.0, seconds), time_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _handle(self, number: int, frame: object) -> None:
        if self.again:
            return
        if self.requested:
            self.again = True
            raise KeyboardInterrupt
        self.requested = True
        self.say(f"{self.notice}; once more to stop at once")
