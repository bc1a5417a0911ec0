"""Context managers for torch's process-wide state: threads, freed memory, deterministic kernels, precision."""

import contextlib
import ctypes
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from core.config import MAX_THREADS
from core.errors import ConfigError, check_rules, whole
from core.io.text import error_summary

TRAINING_KERNELS, TORCH_KERNELS = 512, 64
"""Number of compiled kernels that oneDNN keeps in a training, and that torch keeps for each kind of product in bf16.
With 128 of oneDNN's, a series on TREC took 38 s, with 512 35 s, with its own 1,024 32 to 34 s."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_TRIM_BYTES, _MMAP_BYTES = 2**28, 2**25
_THREAD_VALUES = 2**15
"""Number of values for which torch uses another thread."""
_MKLDNN_SWITCH = threading.RLock()
_PROCESS = os.getpid()
"""Process that imported this module."""


def limit_threads_after_fork() -> None:
    """Use one thread in a process that was forked after this module was imported.

    It inherits the memory of torch's threads, but not the threads: GNU OpenMP would wait for them without end.
    """
    if os.getpid() != _PROCESS:
        torch.set_num_threads(1)


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Compute with this many CPU threads inside the block, and restore the previous number after it.

    Threads that torch starts for it count subnormal numbers as 0, as in `subnormals_as_zero`, and keep this setting.
    Those that a process has started before do not.

    Raises:
        ConfigError: The number is not a whole number from 1 to MAX_THREADS.
    """
    check_rules({"threads": whole(threads, 1, MAX_THREADS)})
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    if threads > 1:
        with subnormals_as_zero():
            torch.zeros(threads * _THREAD_VALUES, device="cpu").add_(1)  # starts the threads, with this setting
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def training_memory() -> Iterator[None]:
    """Let glibc keep freed memory for the next step inside the block, and release it after; limit the cached kernels.

    By default, glibc returns the large blocks of each step to the kernel, which clears them again page by page. With
    two bidirectional layers, these page faults (thousands per step) take 7 to 14% of the time. The old setting cannot
    be read, so after the first training the process keeps up to `_TRIM_BYTES` until the next block ends. Blocks of
    `_MMAP_BYTES` and more still come from the kernel each time, because they would leave holes among the others:
    40 MB at the peak of two bidirectional layers of width 192.
    """
    limit_cached_kernels(TRAINING_KERNELS)
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt"):  # musl has none
        yield
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
    libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
    try:
        yield
    finally:
        libc.malloc_trim(0)


@contextlib.contextmanager
def subnormals_as_zero() -> Iterator[None]:
    """Compute with 0 instead of subnormal numbers inside the block, in this thread; restore its setting after it.

    `torch_threads` does so for the other ones.

    Adam's mean gradient of a word shrinks below 1e-38 if the word does not occur in some 830 steps, as in large data.
    On an Intel processor a step with such numbers took 13.1 ms instead of 5.6 (results/LOG.md). Numbers this small
    change no weight, because Adam divides by at least 1e-8.
    """
    before = torch.full((), 1e-39, dtype=torch.float32, device="cpu").item() == 0  # no function of torch returns it
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def limit_cached_kernels(count: int) -> None:
    """Let oneDNN keep at most this many compiled kernels, one per layer and shape of a batch, instead of 1,024.

    The others would take up to 400 MB of a process that trains many configurations or labels many batches. For products
    in bf16, torch would keep another 1,024 in each thread. Both read their limits when the process first uses them, so
    the first call decides. Values in the environment have precedence.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(count))
    os.environ.setdefault("LRU_CACHE_CAPACITY", str(TORCH_KERNELS))


@contextlib.contextmanager
def default_modes(device: str) -> Iterator[None]:
    """Compute in torch's default modes inside the block: with gradients, in fp32, and with new tensors on the CPU.

    A program may have chosen other ones, as by `torch.autocast`, `torch.no_grad` or `torch.set_default_dtype`. Those of
    the process, such as `torch.set_float32_matmul_precision`, are changed only if they differ: other threads may train.
    """
    before = torch.get_default_dtype()
    elsewhere = torch.empty(0).device.type != "cpu"  # torch.get_default_device misses `with torch.device` before 2.8
    torch.set_default_dtype(torch.float32)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(torch.device(device).type, enabled=False),
            torch.device("cpu") if elsewhere else contextlib.nullcontext(),
            _default_kernels(),
        ):
            yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def _default_kernels() -> Iterator[None]:
    """Multiply fp32 matrices in fp32, except in LSTMs on a GPU, and use oneDNN inside the block."""
    backends: Any = torch.backends  # typed as its descriptors
    with contextlib.ExitStack() as restored:
        if not hasattr(backends.mkldnn, "matmul"):  # before torch 2.9; later, this getter can raise an error
            restored.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("highest")
        else:
            for own in (backends.cuda.matmul, backends.mkldnn.matmul, backends.mkldnn.rnn):
                if (before := own.fp32_precision) not in ("ieee", "none"):
                    own.fp32_precision = "none"  # now it is that of all backends
                    inherited = own.fp32_precision == before
                    restored.callback(setattr, own, "fp32_precision", "none" if inherited else before)
                    own.fp32_precision = "ieee"
        with _MKLDNN_SWITCH:
            if not backends.mkldnn.enabled:
                restored.callback(setattr, backends.mkldnn, "enabled", False)
                backends.mkldnn.enabled = True
        yield


@contextlib.contextmanager
def deterministic_kernels(device: str) -> Iterator[None]:
    """Allow only kernels on a GPU with bit-identical results in each call; on a CPU all kernels have them.

    Torch reads `CUBLAS_WORKSPACE_CONFIG` once, when the process first uses cuBLAS. A process that multiplied matrices
    on the GPU before must have set it to `:4096:8` itself; otherwise, torch raises a RuntimeError that names it.
    """
    if not is_gpu(device):
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        with warnings.catch_warnings():
            # The learner has all weights in one flat vector. flatten_parameters(), torch's advice, would copy them.
            warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk of memory")
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


@contextlib.contextmanager
def autocast(precision: str, device: str) -> Iterator[None]:
    """Compute matrix products and LSTM layers of a CPU in bf16 inside the block; change nothing for fp32.

    oneDNN has no bf16 LSTM for processors without AVX-512 and raises an error there. On these, torch's own kernels
    emulate bf16, at about a fifth of the speed of fp32.
    """
    # torch for macOS has no oneDNN, and not that function.
    has_kernels = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    emulated = precision == "bf16" and not (has_kernels and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    cast = torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16")
    with _without_mkldnn() if emulated else contextlib.nullcontext(), cast:
        yield
    torch.clear_autocast_cache()  # torch itself does so only after the outermost block; it has the weights of this step


@contextlib.contextmanager
def _without_mkldnn() -> Iterator[None]:
    """Switch oneDNN off inside the block, for one thread at a time: the switch is the process's."""
    with _MKLDNN_SWITCH:
        before = torch.backends.mkldnn.enabled
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]  # typed as its descriptor
        try:
            yield
        finally:
            torch.backends.mkldnn.enabled = before


def count_gpus() -> int:
    """Return the number of GPUs that CUDA shows; 0 without a GPU, a driver that is new enough or a torch with CUDA.

    Raises:
        ConfigError: torch counts GPUs that CUDA does not show.
    """
    try:
        # Before it, device_count also counts GPUs that CUDA cannot use.
        torch.cuda.init()  # type: ignore[no-untyped-call]
        return torch.cuda.device_count()
    except (RuntimeError, AssertionError):
        return 0
    except torch.cuda.DeferredCudaCallError as error:  # in MIG mode, of a torch that asks NVML for the number
        raise ConfigError(
            f"torch cannot use the GPUs ({error_summary(error, 100)}); name the GPUs or MIG instances in "
            "CUDA_VISIBLE_DEVICES"
        ) from error


def check_device(device: str) -> None:
    """Check that this machine has a device.

    Raises:
        ConfigError: It does not, it is neither the CPU nor a CUDA device, or torch counts GPUs that CUDA does not show.
        RuntimeError: CUDA does not start, for example because of an old driver; the message is torch's.
    """
    if is_gpu(device):
        count = count_gpus()
        if not count and torch.cuda.device_count():  # CUDA did not start: its error names the cause
            torch.cuda.init()  # type: ignore[no-untyped-call]
        rule = f"cpu, or one of this machine's CUDA devices ({count})"
        check_rules({"device": (device, rule, (torch.device(device).index or 0) < count)})


def is_gpu(device: str) -> bool:
    """Return whether it is a CUDA device.

    Raises:
        ConfigError: It is neither the CPU nor a CUDA device.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = None
    check_rules({"device": (device, "cpu, cuda or cuda:NUMBER", kind in ("cpu", "cuda"))})
    return kind == "cuda"
