"""Progress display of a search: a live block in a terminal or a notebook, plain lines in a file or a pipe.

A separate thread writes, so that a paused terminal or an unread pipe delays no trial.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from core.config import TrialConfig
from core.training.result import EpochResult
from tuning.console import is_terminal
from tuning.formatting import format_settings
from tuning.journal.records import TrialRecord
from tuning.scheduling.schedule import Callback
from tuning.tracking.progress_state import BestSoFar, SearchProgress
from tuning.tracking.progress_text import best_text, failures, live_block, rate_line, status_line

REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 5.0
"""Minimum time in seconds between two plain lines."""
NOTEBOOK_SIZE = 100, 24
"""Number of columns and lines of the block in a notebook."""
PATIENCE_SECONDS = 2.0
"""Maximum time in seconds that the end of a search waits for a blocked terminal."""


def moves_cursor(console: Console, environ: Mapping[str, str]) -> bool:
    """Return whether lines can be overwritten: in a terminal, but not in a notebook's shell cell."""
    return is_terminal(console.file) and not console.is_dumb_terminal and "JPY_PARENT_PID" not in environ


def pause_seconds(elapsed: float) -> float:
    """Return the time between two plain lines: a sixtieth of `elapsed`, between PLAIN_SECONDS and a minute."""
    return min(60.0, max(PLAIN_SECONDS, elapsed / 60))


class ProgressDisplay(Callback):
    """A callback that shows a search on `console`. Use as a context manager."""

    def __init__(self, console: Console, progress: SearchProgress) -> None:
        self.console = console
        self.progress = progress
        self.failed: dict[int, str] = {}
        """Failures that have not been shown yet."""
        self.events = 0
        self.best: BestSoFar | None = None
        """The best in the latest plain line."""
        self.began = time.monotonic()
        self.lock = threading.Lock()
        self.over = threading.Event()
        show = self._show_live if moves_cursor(console, os.environ) else self._show_plain
        if console.is_jupyter:
            show = self._show_in_notebook
        self.thread = threading.Thread(target=show, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join(PATIENCE_SECONDS)

    def on_trial_start(self, number: int, config: TrialConfig) -> None:
        """Record that a trial starts or resumes."""
        self._note(self.progress.start, number, config)

    def on_epoch_end(self, number: int, result: EpochResult) -> None:
        """Record an epoch of a trial."""
        self._note(self.progress.epoch, number, result)

    def on_trial_pause(self, number: int) -> None:
        """Record that a trial is paused at a rung or has lost its worker."""
        self._note(self.progress.pause, number)

    def on_trial_end(self, record: TrialRecord) -> None:
        """Record that a trial has ended."""
        if record.state == "FAIL":
            self._note(self.failed.__setitem__, record.number, record.error or "unknown reason")
        self._note(self.progress.end, record)

    def _note(self, change: Callable[..., None], *arguments: Any) -> None:
        with self.lock:
            change(*arguments)
            self.events += 1

    def _show_live(self) -> None:
        live = Live(
            console=self.console,
            get_renderable=self._block,
            auto_refresh=False,
            transient=True,
            redirect_stderr=is_terminal(sys.stderr),  # a file as standard error gets no part of the display
        )
        with live:
            live.refresh()
            while not self.over.wait(REFRESH_SECONDS):
                for line in self._new_failures():
                    self.console.print(Text(line), soft_wrap=True)  # remains above the block
                live.refresh()
        self._write([*self._new_failures(), self._summary()])

    def _show_in_notebook(self) -> None:
        """Replace one output of the cell; its first lines are all failures so far."""
        from IPython.display import display

        failed: list[str] = []

        def bundle(lines: Sequence[str]) -> dict[str, str]:
            failed.extend(self._new_failures())
            return {"text/plain": "\n".join([*failed, *lines])}

        output = display(bundle(self._lines(*NOTEBOOK_SIZE)), raw=True, display_id=True)
        while not self.over.wait(REFRESH_SECONDS):
            output.update(bundle(self._lines(*NOTEBOOK_SIZE)), raw=True)
        output.update(bundle([self._summary()]), raw=True)

    def _estimate(self) -> None:
        """Simulate the rest of the search without the lock, for which the driver would wait."""
        with self.lock:
            work = self.progress.new_estimate()
        if work is not None:
            work()

    def _lines(self, width: int, height: int) -> list[str]:
        self._estimate()
        with self.lock:
            return live_block(self.progress, self._elapsed(), width, height)

    def _block(self) -> Text:
        size = self.console.size
        # Two columns are left free: `^C` is echoed behind the last line, and must not begin a new line.
        return Text("\n".join(self._lines(size.width - 2, size.height)), no_wrap=True, overflow="crop")

    def _show_plain(self) -> None:
        said, seen = float("-inf"), 0
        while not self.over.wait(REFRESH_SECONDS):
            pause = pause_seconds(self._elapsed())
            if self.events != seen and time.monotonic() - said >= pause:
                said, seen = time.monotonic(), self.events
                self._write(self._news())
        if self.events != seen:
            self._write(self._news())

    def _news(self) -> list[str]:
        """Return a summary, new failures and a new best trial."""
        lines = [*self._new_failures(), self._summary()]
        with self.lock:
            best = self.progress.best
        if best is not None and best != self.best:
            self.best = best
            lines.append(f"{best_text(best, self.progress.remaining.config.metric)} ({format_settings(best.settings)})")
        return lines

    def _summary(self) -> str:
        self._estimate()
        with self.lock:
            return f"{status_line(self.progress)} | {rate_line(self.progress, self._elapsed())}"

    def _new_failures(self) -> list[str]:
        with self.lock:
            failed = self.failed.copy()
            self.failed.clear()
        return failures(failed)

    def _elapsed(self) -> float:
        return time.monotonic() - self.began

    def _write(self, lines: Sequence[str]) -> None:
        """Write the lines in one call, so that no other line separates them, and without wrapping."""
        if lines:
            self.console.file.write("".join(f"{line}\n" for line in lines))
            self.console.file.flush()
