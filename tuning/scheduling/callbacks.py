"""Callbacks of a search: what the schedule calls at each start, epoch, pause and end of a trial."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from core.config import TrialConfig
from core.training.result import EpochResult
from tuning.journal.records import TrialRecord


class Callback:
    """Base class, such as of the progress display. Each method does nothing."""

    def on_trial_start(self, number: int, config: TrialConfig) -> None:
        """A trial starts or continues."""

    def on_epoch_end(self, number: int, result: EpochResult) -> None:
        """An epoch of a trial is in the journal."""

    def on_trial_pause(self, number: int) -> None:
        """A trial is paused at a rung or lost its worker; no worker has it until it starts again."""

    def on_trial_end(self, record: TrialRecord) -> None:
        """A trial has ended."""


EVENTS = ("on_trial_start", "on_epoch_end", "on_trial_pause", "on_trial_end")
"""The methods of Callback."""


class CallbackList(Callback):
    """Calls several callbacks, in order."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        for event in EVENTS:
            setattr(self, event, partial(_call_each, callbacks, event))


def _call_each(callbacks: Sequence[Callback], event: str, *arguments: Any) -> None:
    for callback in callbacks:
        getattr(callback, event)(*arguments)
