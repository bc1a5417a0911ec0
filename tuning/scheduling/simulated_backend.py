"""simulate(): a backend in simulated time. It trains nothing: scores and seconds come from records or a model. Pure.

It drives the same clock as a real search. The forecast of `sentune plan`, the remaining time of the progress display
and the benchmarks on recorded curves use it.
"""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from tuning.scheduling.virtual_clock import NoJob, VirtualJob

JOB_SECONDS = 0.2
"""Time of a job in seconds besides its epochs: building the model, reporting to the driver, the next decision."""

ScoreFunction = Callable[[int, int], float | None]
"""Type of the argument `score` of VirtualClock."""


class Decider(Protocol):
    """A VirtualClock, or another rule that decides what a free worker trains."""

    def next_job(self) -> VirtualJob | NoJob: ...


@dataclass(frozen=True, slots=True)
class SimulatedEpoch:
    """The end of an epoch."""

    seconds: float
    """Seconds since the start of the simulated search."""
    trial: int
    epoch: int


def simulate(
    new_clock: Callable[[ScoreFunction], Decider],
    score: Callable[[int, int], float],
    seconds: Callable[[int, int], float],
    workers: int,
    trained: Mapping[int, int] = MappingProxyType({}),
) -> list[SimulatedEpoch]:
    """Return the epochs of a search in the order of their ends.

    Args:
        new_clock: Called once with a function that returns the scores that exist so far; returns the clock.
        score: Called with a trial and a number of epochs; returns the best score of these epochs.
        seconds: Called with a trial and an epoch; returns the time of the epoch. The first epoch of a job takes
            JOB_SECONDS more.
        workers: Number of real workers.
        trained: Number of epochs that exist from the start, by trial.
    """
    done = defaultdict(int, trained)
    clock = new_clock(lambda trial, epoch: score(trial, epoch) if done[trial] >= epoch else None)
    now = 0.0
    ends: list[SimulatedEpoch] = []
    running: list[tuple[float, int, VirtualJob, int]] = []  # (end of the epoch, order, job, epoch)
    order = itertools.count()
    while True:
        while len(running) < workers and isinstance(job := clock.next_job(), VirtualJob):
            first = max(job.first, done[job.trial] + 1)
            if first <= job.last:
                heapq.heappush(running, (now + JOB_SECONDS + seconds(job.trial, first), next(order), job, first))
        if not running:
            return ends
        now, place, job, epoch = heapq.heappop(running)
        done[job.trial] = epoch
        ends.append(SimulatedEpoch(now, job.trial, epoch))
        if epoch < job.last:
            heapq.heappush(running, (now + seconds(job.trial, epoch + 1), place, job, epoch + 1))
