"""What the bits of a run depend on beside its settings and its data: threads, precision, machine, kernels."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def threads_set(threads: int) -> Iterator[None]:
    """Compute with this many CPU threads inside the block, and as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def deterministic(device: str) -> Iterator[None]:
    """On a GPU let torch use only kernels that give the same bits each time; on a CPU they all do.

    cuBLAS reads `CUBLAS_WORKSPACE_CONFIG` once, when the process first uses it: a process that multiplied matrices
    on the GPU before must have set it (to `:4096:8`) itself.
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
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


def autocast(precision: str, device: str) -> torch.autocast:
    """The context that computes matrix products and LSTM layers in bf16, or changes nothing for fp32."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16")


def is_gpu(device: str) -> bool:
    """Is it a CUDA device?"""
    return torch.device(device).type == "cuda"


def describe(precision: str, threads: int, device: str) -> dict[str, Any]:
    """Everything that can change a result's bits beside settings and corpus, as JSON can hold it."""
    return {
        "torch": torch.__version__,
        "threads": threads,
        "precision": precision,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if is_gpu(device) else "cpu",
        "deterministic": not is_gpu(device) or torch.are_deterministic_algorithms_enabled(),
    }
