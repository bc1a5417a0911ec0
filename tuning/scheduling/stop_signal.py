"""Whether a search is to end before it is complete: what all its parts ask, and any of them may say."""

from dataclasses import dataclass

from core.errors import UserError
from tuning.scheduling.budget import EarlyEnd


@dataclass
class StopSignal:
    """Whether the search is to end before it is complete, and why."""

    requested: bool = False
    reason: UserError | None = None
    """What the person has to mend first; None where the person asked for it."""
    ended: EarlyEnd | None = None
    """The budget that was met; None where none was."""

    def abort(self, reason: UserError) -> None:
        """End for something that the person can mend; the first reason counts."""
        self.requested = True
        self.reason = self.reason or reason

    def end_study(self, ending: EarlyEnd) -> None:
        """End because a budget is met; what came first counts."""
        if not self.requested:
            self.requested, self.ended = True, ending
