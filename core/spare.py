"""More threads for an LSTM layer while cores are idle, where they change no bit.

oneDNN gives each thread other rows and columns of a product and sums each element up as it would alone; but it says so
nowhere, and may split the sums of a product that is long and narrow. So a layer is tried both ways before it is helped.
"""

from typing import Any

import torch
from torch import Tensor, nn

from core.runtime import threads_set

WORTHWHILE = 2e7
"""Multiplications in a layer's products; below, another thread's start costs as much as it saves."""
_tried: dict[tuple[Any, ...], tuple[int, int]] = {}
"""By shape and threads: the fewest and the most steps at which a layer gave the same bits."""
NEVER = (1, 0)
"""No number of steps: at one of them the bits differed."""
_tries = 0
"""How often a layer was tried both ways; a step in which one was says nothing about its pace."""
STEPS = 8
"""So many are compared with alone."""
SLOW = 3.0
"""Times as long as alone: two such steps are enough. One may have been held up by something else."""
MOST = 4
"""Threads for a layer: a batch of some 50 sentences has no work for many more. A guess: measured were two."""
FIRST_REST, LONGEST_REST = 16, 1024
"""Steps until more threads are tried again, doubled each time that they did not pay."""


class Pace:
    """Decides step by step whether more threads pay: where others are at work on the other cores, they do not.

    Each thread has its part of a product, and where one waits for its core, so do all: a step may take ten times as
    long. Nobody tells whether a core is free, so it is measured, in seconds a word.
    """

    def __init__(self, own: int) -> None:
        """
        Args:
            own: threads that a step has in any case.
        """
        self.own = own
        self._alone: list[tuple[float, int]] = []  # the last steps: seconds, words
        self._helped: list[tuple[float, int]] = []
        self._rest, self._next_rest = 0, FIRST_REST
        self._tries = _tries

    def threads(self, offered: int) -> int:
        """How many the next step has: `own`, or of those that are offered at most MOST."""
        self._tries = _tries
        if offered <= self.own or len(self._alone) < STEPS:
            return self.own
        if self._rest:
            self._rest -= 1
            return self.own
        return max(self.own, min(offered, MOST))

    def took(self, threads: int, words: int, seconds: float) -> None:
        """A step with so many threads, whose batch has so many words, padding included, took so long."""
        if threads <= self.own:
            self._alone = [*self._alone, (seconds, words)][-STEPS:]
        elif self._tries == _tries:
            self._helped = [*self._helped, (seconds, words)][-STEPS:]
            alone, two = _pace(self._alone), self._helped[-2:]
            if len(self._helped) == STEPS and _pace(self._helped) <= alone:
                self._next_rest = FIRST_REST
            elif len(self._helped) == STEPS or (len(two) == 2 and _pace(two) > SLOW * alone):
                self._helped = []
                self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, LONGEST_REST)


def _pace(steps: list[tuple[float, int]]) -> float:
    """Seconds a word."""
    return sum(seconds for seconds, _ in steps) / sum(words for _, words in steps)


def helped(lstm: nn.LSTM, x: Tensor, threads: int) -> Tensor:
    """The states `lstm(x)[0]`; they and their gradients are computed by `threads` threads where the bits are the same.

    Args:
        lstm: one layer, one direction, time first.
        x: float (T, B, E).
        threads: at most so many; the process's own number if that is higher.

    Returns:
        float (T, B, H).
    """
    own = torch.get_num_threads()
    products = x.shape[0] * x.shape[1] * 4 * lstm.hidden_size * (x.shape[2] + lstm.hidden_size)
    if threads <= own or not x.is_cpu or products < WORTHWHILE or not same(lstm, x, own, threads):
        states: Tensor = lstm(x)[0]
        return states
    with threads_set(threads):
        states = lstm(x)[0]
    if states.grad_fn is not None:
        states.grad_fn.register_prehook(lambda slopes: torch.set_num_threads(threads))
        states.grad_fn.register_hook(lambda slopes, before: torch.set_num_threads(own))
    return states


def same(lstm: nn.LSTM, x: Tensor, own: int, threads: int) -> bool:
    """Whether a layer gives the same states and gradients with either number of threads.

    It is tried with more steps and with fewer than before. Lengths in between are taken to be alike: what splits a sum
    neither of 10 steps nor of 30 splits none of 20.
    """
    global _tries
    steps, *shape = x.shape
    key = (*shape, lstm.hidden_size, x.requires_grad, torch.is_autocast_enabled("cpu"), own, threads)
    fewest, most = _tried.get(key, (steps + 1, steps - 1))
    if not fewest <= steps <= most and (fewest, most) != NEVER:
        _tries += 1
        alone, together = (_computed(lstm, x, count) for count in (own, threads))
        alike = all(map(torch.equal, alone, together))
        fewest, most = _tried[key] = (min(fewest, steps), max(most, steps)) if alike else NEVER
    return fewest <= steps <= most


def _computed(lstm: nn.LSTM, x: Tensor, threads: int) -> list[Tensor]:
    """The states, and the gradients of some loss."""
    x = x.detach().requires_grad_(x.requires_grad)
    wanted = [*lstm.parameters(), x] if x.requires_grad else [*lstm.parameters()]
    with threads_set(threads):
        states: Tensor = lstm(x)[0]
        return [states, *torch.autograd.grad(states, wanted, states.detach())]
