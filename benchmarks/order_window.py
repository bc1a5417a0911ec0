"""The order window at scale, simulated: how long workers wait for the oldest trial, and what cannot be stopped.

Lengths of trials are those of a search replayed on recorded curves, drawn anew. In `wall` each worker takes the next
trial of the study's order when it is free, as Ray hands them out.
"""

import heapq
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation import Policy, Simulation, Table
from tuning.stopping import MIN_PEERS, Halving

Seconds = NDArray[np.float64]
"""(trials,) of each trial, in the study's order."""


def lengths(table: Table, trials: int) -> tuple[Seconds, Seconds]:
    """(trials,) seconds of recorded trials as halving stops them, and of the same ones trained whole."""
    policy = Policy(stopping=Halving(), trials=len(table.curves))
    found = Simulation(table, policy, seed=0).run()
    each = np.array([table.curves[curve].epochs[0].seconds for curve in found.curves])
    late = np.arange(len(each)) >= policy.window + MIN_PEERS  # earlier ones could not be stopped
    drawn = np.random.default_rng(0).choice(np.flatnonzero(late), trials)
    return (each * found.epochs_by_trial)[drawn], each[drawn] * table.epochs


def wall(seconds: Sequence[float] | Seconds, workers: int, window: int | None) -> float:
    """Simulated seconds until all trials are over.

    Args:
        seconds: of each trial, in the study's order.
        workers: each takes the next trial when it is free.
        window: trial n begins when trials 0..n-window are over; None: nothing waits.
    """
    free = [0.0] * workers
    ends: list[float] = []
    over = start = 0.0
    for number, length in enumerate(seconds):
        if window is not None and number >= window:
            over = max(over, ends[number - window])
        start = max(start, heapq.heappop(free), over)
        ends.append(start + length)
        heapq.heappush(free, ends[-1])
    return max(ends)


def window_table(stopped: Seconds, whole: Seconds, workers: int) -> Iterator[str]:
    """Markdown: what windows of one, two, four and eight times the workers cost against no order at all."""
    least = wall(stopped, workers, None)
    yield "| window | trials that nothing may stop | training, to no order's | utilisation | wall time, to no order's |"
    yield "| --- " * 5 + "|"
    for window in (*(factor * workers for factor in (1, 2, 4, 8)), None):
        unstopped = 0 if window is None else min(len(whole), window + MIN_PEERS - 1)
        seconds = np.concatenate([whole[:unstopped], stopped[unstopped:]])
        took = wall(seconds, workers, window)
        name = "no order" if window is None else f"{window:,}"
        yield (
            f"| {name} | {unstopped / len(whole):.0%} | {seconds.sum() / stopped.sum():.2f} | "
            f"{seconds.sum() / (workers * took):.0%} | {took / least:.2f} |"
        )
