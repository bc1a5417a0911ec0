"""Who is told what happens in a search, one listener or several as one."""

from collections.abc import Sequence
from typing import Protocol

from core.config import TrialConfig
from core.training.result import EpochResult
from tuning.journal.records import TrialRecord


class Callback(Protocol):
    """Who wants to know what happens, such as the progress display."""

    def on_trial_start(self, number: int, config: TrialConfig) -> None: ...
    def on_epoch_end(self, number: int, result: EpochResult) -> None: ...
    def on_trial_pause(self, number: int) -> None: ...
    def on_trial_end(self, record: TrialRecord) -> None: ...


class CallbackList:
    """Tells each of several listeners, in order."""

    def __init__(self, listeners: Sequence[Callback]) -> None:
        self._listeners = listeners

    def on_trial_start(self, number: int, config: TrialConfig) -> None:
        """A trial begins or goes on."""
        for callbacks in self._listeners:
            callbacks.on_trial_start(number, config)

    def on_epoch_end(self, number: int, result: EpochResult) -> None:
        """A trial reported an epoch."""
        for callbacks in self._listeners:
            callbacks.on_epoch_end(number, result)

    def on_trial_pause(self, number: int) -> None:
        """A trial waits at a rung; no worker has it until it is started again."""
        for callbacks in self._listeners:
            callbacks.on_trial_pause(number)

    def on_trial_end(self, record: TrialRecord) -> None:
        """A trial is over."""
        for callbacks in self._listeners:
            callbacks.on_trial_end(record)
