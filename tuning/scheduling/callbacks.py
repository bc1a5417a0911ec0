"""Who is told what happens in a search, one listener or several as one."""

from collections.abc import Sequence
from typing import Protocol

from core.config import TrialConfig
from core.training.result import EpochResult
from tuning.journal.records import TrialRecord


class Listener(Protocol):
    """Who wants to know what happens, such as the progress display."""

    def started(self, number: int, config: TrialConfig) -> None: ...
    def epoch(self, number: int, result: EpochResult) -> None: ...
    def waits(self, number: int) -> None: ...
    def ended(self, record: TrialRecord) -> None: ...


class Listeners:
    """Tells each of several listeners, in order."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def started(self, number: int, config: TrialConfig) -> None:
        """A trial begins or goes on."""
        for listener in self._listeners:
            listener.started(number, config)

    def epoch(self, number: int, result: EpochResult) -> None:
        """A trial reported an epoch."""
        for listener in self._listeners:
            listener.epoch(number, result)

    def waits(self, number: int) -> None:
        """A trial waits at a rung; no worker has it until it is started again."""
        for listener in self._listeners:
            listener.waits(number)

    def ended(self, record: TrialRecord) -> None:
        """A trial is over."""
        for listener in self._listeners:
            listener.ended(record)
