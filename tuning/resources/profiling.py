"""Time and memory of training steps outside of a trial. They report and save nothing."""

import contextlib
import gc
import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

from core.config import TrialConfig
from core.data.corpus import TRAIN, Corpus
from core.errors import UserError
from core.nn.model_size import max_checkpoint_bytes
from tuning.console import end_with_parent, worker_niceness
from tuning.resources.gpu import is_gpu_out_of_memory

T = TypeVar("T")
BATCHES = 4
"""Number of batches that a measurement repeats, of different lengths. The first step of each is ignored, unless there
are no others: in bf16 it takes twice the time, because torch and oneDNN compile kernels for each length."""
EVALUATION_COST = 0.35
"""Time of a token in evaluation (forward pass only), relative to training."""
DISK_BYTES_A_SECOND = 150e6
"""Speed of checkpoints in bytes per second; they are written, read again for their checksum, and synced."""
STEPS = 8
PROBE_DIED = "a process of the probe died (killed, or out of memory); choose smaller settings, or free some memory"


def measure_epoch_seconds(
    config: TrialConfig,
    corpus: Corpus,
    device: str,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the seconds of an epoch, estimated from the steps that fit in `seconds`: at least one, at most an epoch.

    Args:
        config: Configuration to train.
        corpus: The data.
        device: "cpu" or a CUDA device.
        seconds: Duration of the measurement.
        clock: Called for the time in seconds; an argument for tests.
    """
    whole = config.steps_per_epoch(len(corpus.indices(TRAIN))) + BATCHES
    start = last = clock()
    taken: list[tuple[int, float]] = []  # tokens and seconds of each step
    for tokens in training_steps(config, corpus, device, different=BATCHES):
        now = clock()
        taken.append((tokens, now - last))
        last = now
        if now - start >= seconds or len(taken) == whole:
            break
    counted = taken[BATCHES:] or taken[-1:]
    a_token = sum(took for _, took in counted) / sum(tokens for tokens, _ in counted)
    _, train, val = corpus.epoch_size(config.epoch_sentences)
    work = train + EVALUATION_COST * val
    checkpoint = max_checkpoint_bytes(config, corpus.trained_words, corpus.embedding_dim, len(corpus.classes))
    return a_token * work + len(corpus.fold_corpora()) * checkpoint / DISK_BYTES_A_SECOND


def training_steps(
    config: TrialConfig, corpus: Corpus, device: str, *, most_memory: bool = False, different: int | None = None
) -> Generator[int]:
    """Train without end; yield the number of tokens after each step.

    Args:
        config: Configuration to train.
        corpus: The data.
        device: "cpu" or a CUDA device.
        most_memory: Do what needs the most memory: take the batches with the longest sentences first, and compute the
            weights to evaluate after each step.
        different: Number of batches that are repeated, at equal distances by their longest sentence; None for all.
    """
    from core.nn.seeding import Dropout, seeded_generator  # torch, which the driver does not load
    from core.training.batching import batch_source, shuffled_batches
    from core.training.learner import make_learner

    lengths, sentences = corpus.lengths(), corpus.indices(TRAIN)
    batches = shuffled_batches(lengths[sentences], config.batch_size, seeded_generator(config.seed, "order", 1))
    if most_memory or different:
        batches.sort(key=lambda places: -int(lengths[sentences[places]].max()))
    if different and different < len(batches):
        batches = [batches[(2 * at + 1) * len(batches) // (2 * different)] for at in range(different)]
    source, learner = batch_source(corpus, device), make_learner(config, corpus, device)
    dropout = Dropout(seeded_generator(config.seed, "dropout", 1, device))
    for places in itertools.cycle(batches):
        float(learner.step(source.batch(sentences[places]), config.learning_rate, dropout))  # waits for a GPU
        # An evaluation needs the weights of all folds together.
        weights = learner.evaluation_weights() if most_memory else None
        yield int(lengths[sentences[places]].sum())
        del weights


def run_processes(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make each call in a new process of its own, all at the same time; return the results in order.

    Ctrl-C is for this process only. The others are killed if a call raises, or this process is interrupted.

    Raises:
        UserError: A process has died.
    """
    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(calls), spawn, initializer=_begin_process, initargs=(os.getpid(),)) as pool:
        try:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the new processes inherit this
            try:
                with _without_main():
                    futures = [pool.submit(call) for call in calls]
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return [future.result() for future in futures]
        except BaseException as error:
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            if isinstance(error, BrokenProcessPool):
                raise UserError(PROBE_DIED) from error
            raise


def _begin_process(parent: int) -> None:
    end_with_parent(parent)
    os.nice(worker_niceness())  # other programs then delay it as much as a trial


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the user's script while the block runs: a new process would import it, and so call `search` again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def probe_gpu(configs: Sequence[TrialConfig], corpus: Corpus) -> int:
    """Return the peak memory in bytes with the longest sentences, on the first GPU."""
    return run_processes([partial(measure_gpu, list(configs), corpus)])[0]


def measure_gpu(configs: Sequence[TrialConfig], corpus: Corpus, device: str = "cuda:0", cuda: Any = None) -> int:
    """Do the same as `probe_gpu` in this process; `cuda` is None for torch.cuda, so that tests need no GPU."""
    import torch

    from core.nn.runtime import deterministic_kernels

    cuda = cuda or torch.cuda
    cuda.init()  # CUDA collects no statistics before it
    peaks = []
    for config in configs:
        gc.collect()
        cuda.empty_cache()
        cuda.reset_peak_memory_stats(device)
        try:
            with deterministic_kernels(device), contextlib.ExitStack() as stack:
                learners = [  # with validation in folds, a trial has all of them in memory at once
                    stack.enter_context(contextlib.closing(training_steps(config, member, device, most_memory=True)))
                    for member in corpus.fold_corpora()
                ]
                for _ in range(STEPS):
                    for steps in learners:
                        next(steps)
            peaks.append(int(cuda.max_memory_reserved(device)))
        except RuntimeError as error:
            if not is_gpu_out_of_memory(error):
                raise
            # GpuShareChoice reports that it needs more than a GPU
            peaks.append(int(cuda.get_device_properties(device).total_memory))
    return max(peaks)
