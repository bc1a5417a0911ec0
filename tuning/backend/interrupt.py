"""InterruptHandler: signals, the time budget and the loss of Ray end a command that runs trials."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from core.io.text import one_line
from tuning.console import (
    ENDING,
    LATER_SECONDS,
    call_later,
    command_line,
    is_importing,
    print_note,
    say_interrupted,
    send_later,
    signals_handled_by,
)
from tuning.scheduling.budget import EarlyEnd, StopSignal


@dataclass(kw_only=True)
class InterruptHandler(StopSignal):
    """Stop after the epochs in progress at a first signal; at once at a second one, or if no trial is being trained."""

    notice: str = "stopping: running trials end their epoch and keep their checkpoints"
    """Line for the first signal."""
    kept: str = "nothing is lost"
    """Clause for the message about the loss of Ray."""
    say: Callable[[str], None] = print_note
    before_exit: Callable[[], None] = lambda: None
    """Called before `on_ray_lost` ends the process, such as to show the cursor again."""
    training: bool = False
    """Whether a trial is being trained. Otherwise the first signal stops at once."""
    again: bool = False
    """Whether the command stops at once: Ray is being shut down, and further signals are ignored."""
    arrived: Callable[[], bool] = lambda: False
    """Whether a signal has arrived, even if Python has not handled it yet; `installed` sets it."""

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals while the block runs; Python allows this only in the main thread."""
        with signals_handled_by(self._handle), _arrivals() as self.arrived:
            try:
                yield
            except Exception:
                if self.again:  # a library raised an error of its own in place of the KeyboardInterrupt
                    raise KeyboardInterrupt from None
                raise

    @contextlib.contextmanager
    def while_training(self) -> Iterator[None]:
        """Let the first signal only request a stop while the block runs.

        Raises:
            KeyboardInterrupt: A signal came before. Some callbacks of Ray's start discard the exception that it raised.
        """
        if self.again:
            raise KeyboardInterrupt
        self.training = True
        try:
            yield
        finally:
            self.training = False

    @contextlib.contextmanager
    def time_limit(self, seconds: float | None, ending: EarlyEnd) -> Iterator[None]:
        """End the search after this many seconds if the block still runs; None for no limit."""
        if seconds is None:
            yield
            return

        def timed_out() -> None:
            if not self.requested:
                self.end_study(ending)
                self.say(f"{ending.reason}: running trials end their epoch and keep their checkpoints")

        timer = call_later(max(0.0, seconds), timed_out)
        try:
            yield
        finally:
            timer.cancel()

    def on_ray_lost(self, process: str) -> NoReturn:
        """End this process after one of Ray's processes has ended: the main thread may wait for Ray forever.

        Called from another thread. The journal survives a kill at any moment.
        """
        self.before_exit()
        if self.reason is not None:
            self.say(f"sentune: {one_line(str(self.reason))}")
            os._exit(2)
        if self.arrived() or (self.requested and not self.ended):  # Ray's processes received the signal, too
            say_interrupted()
            os._exit(130)
        self.say(
            f"sentune: Ray's process {process} has ended (killed, or out of memory); {self.kept}; "
            f"run the same command again to resume: {command_line()}"
        )
        os._exit(2)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.again:
            return
        if self.requested or not self.training:
            if is_importing(frame):  # the thread that imports Ray would wait for the lock of all imports forever
                send_later(number)
                return
            self.again = True
            if not self.requested:
                say_interrupted()  # the shutdown of Ray may take seconds
            raise KeyboardInterrupt
        self.requested = True
        line = f"{self.notice}; interrupt again (Ctrl-C) to stop at once"
        try:
            self.say(line)
        except OSError:  # the terminal is gone
            pass
        except RuntimeError:  # the signal met another print
            call_later(LATER_SECONDS, self.say, line)


@contextlib.contextmanager
def _arrivals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal has arrived since its last call; any thread may call it.

    Python handles a signal only when the main thread returns from C, as from ray.wait after half a second. Ray's
    processes, which also get the SIGTERM of a batch system, end in less than a tenth of a second.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def arrived() -> bool:
        with contextlib.suppress(OSError):  # nothing to read
            return not set(ENDING).isdisjoint(os.read(reading, 4096))
        return False

    try:
        yield arrived
    finally:
        signal.set_wakeup_fd(before)
        ends, reading = (reading, writing), -1  # another file may get the number
        for end in ends:
            os.close(end)
