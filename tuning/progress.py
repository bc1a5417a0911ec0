"""What a person sees while a search runs: a live block in a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from core.config import TrialConfig
from core.epoch import EpochResult
from tuning.records import TrialRecord
from tuning.results import settings_text


@dataclass
class Tally:
    """Where a search stands. Only numbers: how they look is `lines`' business."""

    n_trials: int
    workers: int
    done: int = 0
    stopped: int = 0
    failed: int = 0
    running: dict[int, list[EpochResult]] = field(default_factory=dict)
    epochs: int = 0
    epoch_seconds: float = 0.0
    """Of the epochs trained since the start, added up over workers."""
    ended_epochs: int = 0
    ended: int = 0
    """Trials that ended since the start, and their epochs: what is left is estimated from them."""
    best: tuple[float, int, str] | None = None
    """Accuracy, trial number, its settings."""

    def note_best(self, accuracy: float, number: int, settings: Mapping[str, Any]) -> None:
        """Take an accuracy as the best so far if it is."""
        if self.best is None or accuracy > self.best[0]:
            self.best = (accuracy, number, settings_text(settings))

    def seconds_left(self) -> float | None:
        """Mean epochs of a trial that ended, times mean seconds of an epoch, over the workers; None at first."""
        if not self.ended or not self.epochs:
            return None
        ahead = self.n_trials - self.done - self.stopped - self.failed
        left = ahead * self.ended_epochs / self.ended - sum(len(epochs) for epochs in self.running.values())
        return max(0.0, left) * self.epoch_seconds / self.epochs / self.workers

    def lines(self, elapsed: float) -> list[str]:
        """The block that is shown, without markup."""
        finished = self.done + self.stopped + self.failed
        left = self.seconds_left()
        rate = self.epochs / elapsed if elapsed > 0 else 0.0
        head = (
            f"{finished}/{self.n_trials} trials: {self.done} done, {self.stopped} stopped, {self.failed} failed, "
            f"{len(self.running)} running | {rate:.2f} epochs/s | {clock(elapsed)} gone, "
            f"{'about ' + clock(left) if left is not None else '?'} left"
        )
        if self.best is None:
            return [head]
        accuracy, number, settings = self.best
        return [head, f"best so far: {accuracy:.4f} by trial {number} ({settings})"]


class Progress:
    """Listens to a search and shows it on `console`. Use as a context manager."""

    def __init__(self, console: Console, tally: Tally, searched: frozenset[str], every_seconds: float = 5.0) -> None:
        self.console = console
        self.tally = tally
        self.searched = searched
        self.every_seconds = every_seconds
        self.settings: dict[int, dict[str, Any]] = {}
        self.began = time.monotonic()
        self.said = 0.0
        self.best: list[str] = []
        self.live = (
            Live(console=console, get_renderable=self._block, refresh_per_second=2, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def started(self, number: int, config: TrialConfig) -> None:
        """A trial begins or goes on."""
        self.settings[number] = {name: value for name, value in config.to_dict().items() if name in self.searched}
        self.tally.running[number] = []

    def epoch(self, number: int, result: EpochResult) -> None:
        """A trial reported an epoch."""
        self.tally.running[number].append(result)
        self.tally.epochs += 1
        self.tally.epoch_seconds += result.seconds
        self.tally.note_best(result.val_accuracy, number, self.settings[number])
        self._say()

    def ended(self, record: TrialRecord) -> None:
        """A trial is over."""
        tally = self.tally
        tally.running.pop(record.number, None)
        tally.ended += 1
        tally.ended_epochs += len(record.epochs)
        if record.state == "FAIL":
            tally.failed += 1
            self._print(f"trial {record.number} failed: {record.error}")
        elif record.state == "PRUNED":
            tally.stopped += 1
        else:
            tally.done += 1
        self._say()

    def _say(self) -> None:
        now = time.monotonic()
        if self.live is None and now - self.said >= self.every_seconds:
            self.said = now
            head, *best = self.tally.lines(now - self.began)
            self._print(head)
            if best != self.best:
                self.best = best
                self._print(*best)

    def _print(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)

    def _block(self) -> Group:
        lines = [Text(line) for line in self.tally.lines(time.monotonic() - self.began)]
        for number, epochs in sorted(self.tally.running.items()):
            shown = f"epoch {len(epochs)}, {epochs[-1].val_accuracy:.4f}" if epochs else "starting"
            lines.append(Text(f"  trial {number}: {shown} ({settings_text(self.settings[number])})", style="dim"))
        return Group(*lines)


def clock(seconds: float) -> str:
    """3725 -> '1:02:05'; 65 -> '1:05'."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
