"""Several listeners as one."""

from typing import TYPE_CHECKING

from core.config import TrialConfig
from core.epoch import EpochResult
from tuning.records import TrialRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuning.searcher import Listener  # knows Ray


class Listeners:
    """Tells each of several listeners, in order."""

    def __init__(self, listeners: "Sequence[Listener]") -> None:
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
