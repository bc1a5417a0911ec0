"""Simulate how long workers wait for the order window and at the rungs.

Trials are recorded ones, drawn repeatedly; no two have exactly the same accuracies.
"""

import dataclasses
import heapq
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.simulation.replay import Curve, Policy, Replayed, Simulation, Table
from tuning.scheduling.successive_halving import SuccessiveHalving

JITTER = 1e-6
"""Maximum that is added to an accuracy, because two equal ones would both continue at a rung."""


def many(table: Table, count: int) -> Table:
    """Return `count` curves, drawn from the table."""
    draw = np.random.default_rng(0)
    curves = []
    for at in draw.integers(len(table.curves), size=count):
        curve = table.curves[at]
        epochs = [dataclasses.replace(e, val_accuracy=e.val_accuracy + draw.uniform(0, JITTER)) for e in curve.epochs]
        curves.append(Curve(config=curve.config, params=curve.params, epochs=tuple(epochs)))
    return dataclasses.replace(table, curves=tuple(curves))


def searched(table: Table, workers: int, window: int) -> Replayed:
    """Replay a random search with halving over the whole table."""
    policy = Policy(stopping=SuccessiveHalving(), workers=workers, window=window, trials=len(table.curves))
    return Simulation(table, policy, seed=0).run()


def seconds_of(table: Table, found: Replayed) -> list[float]:
    """Return the training seconds of each trial, by number."""
    return [
        epochs * table.curves[curve].epochs[0].seconds
        for curve, epochs in zip(found.curves, found.epochs_by_trial, strict=True)
    ]


def wall(seconds: Sequence[float], workers: int) -> float:
    """Return the simulated seconds of trials of these lengths if each free worker takes the next one."""
    free = [0.0] * workers
    for length in seconds:
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def window_table(table: Table, workers: int) -> Iterator[str]:
    """Yield Markdown: the price of windows of one, two, four and eight times the workers."""
    yield "| window | epochs per trial | workers' time spent training | wall time, relative to no waiting |"
    yield "| --- " * 4 + "|"
    for window in (factor * workers for factor in (1, 2, 4, 8)):
        found = searched(table, workers, window)
        seconds, took = seconds_of(table, found), found.seconds[-1]
        epochs = sum(found.epochs_by_trial) / len(found.epochs_by_trial)
        share = sum(seconds) / (workers * took)
        yield f"| {window:,} | {epochs:.1f} | {share:.0%} | {took / wall(seconds, workers):.2f} |"
