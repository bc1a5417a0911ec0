"""What the bits of a run depend on beside its settings: threads, precision, the machine."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def threads_set(threads: int) -> Iterator[None]:
    """Compute with this many CPU threads inside the block, as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def autocast(precision: str, device: str) -> torch.autocast:
    """The context that computes matrix products in bf16, or changes nothing for fp32."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16")


def describe(precision: str, threads: int, device: str) -> dict[str, Any]:
    """Everything that can change a result's bits beside settings and corpus, as JSON can hold it."""
    cuda = torch.device(device).type == "cuda"
    return {
        "torch": torch.__version__,
        "threads": threads,
        "precision": precision,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "deterministic": not cuda or torch.are_deterministic_algorithms_enabled(),
    }
