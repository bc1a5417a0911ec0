"""What settings take on a GPU: a few training steps on the longest sentences, in a process of its own.

In a process of its own because CUDA's memory goes with the process: the driver must not sit on the GPU beside trials.
"""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from statistics import median
from typing import Any

from core.config import TrialConfig
from core.data.corpus import Corpus
from core.errors import UserError
from tuning.forecast.probe import PROBE_DIED
from tuning.resources.gpu import Probed

STEPS = 8
GPU_WARM_UP = 3


def probe_gpu(configs: Sequence[TrialConfig], corpus: Corpus) -> Probed:
    """The most memory and the longest step of any of these settings, on the first GPU."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as elsewhere:
        try:
            return elsewhere.submit(measured, list(configs), corpus).result()
        except BrokenProcessPool as error:
            raise UserError(PROBE_DIED) from error


def measured(configs: Sequence[TrialConfig], corpus: Corpus, device: str = "cuda:0", cuda: Any = None) -> Probed:
    """`probe_gpu` in this process.

    Args:
        configs: at least one.
        corpus: the data.
        device: to train on.
        cuda: torch.cuda where None; an argument, so that tests need no GPU.
    """
    import torch

    from core.nn.runtime import deterministic

    cuda = cuda or torch.cuda
    cuda.init()  # before it no statistics are kept
    peaks, seconds = [], []
    for config in configs:
        cuda.empty_cache()
        cuda.reset_peak_memory_stats(device)
        try:
            with deterministic(device):
                seconds.append(_step_seconds(config, corpus, device))
            peaks.append(int(cuda.max_memory_reserved(device)))
        except torch.OutOfMemoryError:  # more than a whole GPU: the choice says so
            peaks.append(int(cuda.get_device_properties(device).total_memory))
    return Probed(peak_bytes=max(peaks), step_seconds=max(seconds, default=0.0))


def _step_seconds(config: TrialConfig, corpus: Corpus, device: str) -> float:
    """Median time of a training step with the longest sentences."""
    from tuning.resources.profiling import steps

    running, taken = steps(config, corpus, device, longest_first=True), []
    for _ in range(STEPS):
        start = time.perf_counter()
        next(running)
        taken.append(time.perf_counter() - start)
    return median(taken[GPU_WARM_UP:])
