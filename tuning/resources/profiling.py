"""Training steps without a trial around them: how long they take. Nothing is reported, judged or kept."""

import itertools
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from statistics import median
from typing import Any

from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.errors import UserError
from core.nn.model_size import max_checkpoint_bytes
from tuning.resources.gpu import GpuProbe

WARM_UP = 2
"""Steps that are not counted, where there are more."""
EVALUATION_COST = 0.35
"""Time of a token in evaluation, against one in training: the forward pass alone."""
DISK_BYTES_A_SECOND = 150e6
"""Checkpoints: written, read again for their checksum, and synced."""
STEPS = 8
GPU_WARM_UP = 3
PROBE_DIED = "a process of the probe died (killed, or out of memory): search smaller settings or free some memory"


def measure_epoch_seconds(
    config: TrialConfig,
    corpus: Corpus,
    device: str,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of a whole epoch, from as many training steps as fit into `seconds`: at least one, at most an epoch.

    Args:
        config: what to train.
        corpus: the data.
        device: where.
        seconds: to spend.
        clock: tells the time; a test has one of its own.
    """
    whole = math.ceil(len(corpus.indices(TRAIN)) / config.batch_size) + WARM_UP
    begun = last = clock()
    taken: list[tuple[int, float]] = []  # tokens and seconds of each step
    for tokens in training_steps(config, corpus, device):
        now = clock()
        taken.append((tokens, now - last))
        last = now
        if now - begun >= seconds or len(taken) == whole:
            break
    counted = taken[WARM_UP:] or taken[-1:]
    a_token = sum(took for _, took in counted) / sum(tokens for tokens, _ in counted)
    lengths = corpus.lengths()
    work = float(lengths[corpus.indices(TRAIN)].sum()) + EVALUATION_COST * float(lengths[corpus.indices(VAL)].sum())
    disk = (
        max_checkpoint_bytes(config, len(corpus.words), corpus.embedding_dim, len(corpus.classes)) / DISK_BYTES_A_SECOND
    )
    return a_token * work + disk


def training_steps(config: TrialConfig, corpus: Corpus, device: str, *, longest_first: bool = False) -> Iterator[int]:
    """Train step after step for ever; yields the tokens of each when it is done.

    Args:
        config: what to train.
        corpus: the data.
        device: where.
        longest_first: take the batches with the longest sentences first, which need the most memory.
    """
    from core.nn.seeding import Dropout, seeded_generator  # torch: the process that directs a search does without it
    from core.training.batching import batch_source, shuffled_batches
    from core.training.learner import make_learner

    lengths, sentences = corpus.lengths(), corpus.indices(TRAIN)
    batches = shuffled_batches(lengths[sentences], config.batch_size, seeded_generator(config.seed, "order", 1))
    if longest_first:
        batches.sort(key=lambda places: -int(lengths[sentences[places]].max()))
    source, learner = batch_source(corpus, device), make_learner(config, corpus, device)
    dropout = Dropout(seeded_generator(config.seed, "dropout", 1, device))
    for places in itertools.cycle(batches):
        float(learner.step(source.batch(sentences[places]), config.learning_rate, dropout))  # waits for a GPU
        yield int(lengths[sentences[places]].sum())


def probe_gpu(configs: Sequence[TrialConfig], corpus: Corpus) -> GpuProbe:
    """The most memory and the longest step of any of these settings, on the first GPU."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as elsewhere:
        try:
            return elsewhere.submit(measure_gpu, list(configs), corpus).result()
        except BrokenProcessPool as error:
            raise UserError(PROBE_DIED) from error


def measure_gpu(configs: Sequence[TrialConfig], corpus: Corpus, device: str = "cuda:0", cuda: Any = None) -> GpuProbe:
    """`probe_gpu` in this process.

    Args:
        configs: at least one.
        corpus: the data.
        device: to train on.
        cuda: torch.cuda where None; an argument, so that tests need no GPU.
    """
    import torch

    from core.nn.runtime import deterministic_kernels

    cuda = cuda or torch.cuda
    cuda.init()  # before it no statistics are kept
    peaks, seconds = [], []
    for config in configs:
        cuda.empty_cache()
        cuda.reset_peak_memory_stats(device)
        try:
            with deterministic_kernels(device):
                seconds.append(_step_seconds(config, corpus, device))
            peaks.append(int(cuda.max_memory_reserved(device)))
        except torch.OutOfMemoryError:  # more than a whole GPU: the choice says so
            peaks.append(int(cuda.get_device_properties(device).total_memory))
    return GpuProbe(peak_bytes=max(peaks), step_seconds=max(seconds, default=0.0))


def _step_seconds(config: TrialConfig, corpus: Corpus, device: str) -> float:
    """Median time of a training step with the longest sentences."""

    running, taken = training_steps(config, corpus, device, longest_first=True), []
    for _ in range(STEPS):
        start = time.perf_counter()
        next(running)
        taken.append(time.perf_counter() - start)
    return median(taken[GPU_WARM_UP:])
