"""GPU fractions: the device, memory limit and number of trials of a fraction. Pure: callers pass torch.cuda."""

import gc
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError
from core.io.system_errors import GPU_ERROR, NO_NVML

CONTEXT_BYTES = 600 * 2**20
"""GPU memory in bytes of CUDA's context and kernels in each process. The allocator's limit does not include it."""
MARGIN = 1.25
"""Safety factor on the memory of a probe: over a whole trial, freed memory becomes fragmented."""
MAX_TRIALS_PER_GPU = 16
"""Maximum number of processes per GPU; more of them would only wait for one another."""
MIN_SHARE = 0.01
GIB = 2.0**30
_NO_GPU_MEMORY = re.compile(
    rf"(CUDA|HIP) ((driver )?error: )?out of memory|CU[A-Z]+_STATUS_(\w+_DEVICE_)?ALLOC(ATION)?_FAILED|{NO_NVML}"
)
"""What torch's allocator, CUDA, cuBLAS and cuDNN say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU that this process may use, or one MIG instance."""

    name: str
    bytes: int
    """Total memory in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuShareChoice:
    """A GPU fraction that was chosen from a probe."""

    share: float
    """Fraction of a GPU per trial."""
    peak_bytes: int
    """Peak memory of the allocator in bytes, in a probe of the heaviest configurations."""
    smallest_bytes: int
    """Memory of the smallest GPU in bytes."""

    def __str__(self) -> str:
        need = needed_bytes(self.peak_bytes)
        tight = "" if need <= self.smallest_bytes else "; the heaviest may not fit even alone"
        return (
            f"--gpus-per-trial auto: {self.share:g} of a GPU per trial. The heaviest settings took "
            f"{self.peak_bytes / GIB:.2f} GiB; with a margin and CUDA's own memory {need / GIB:.2f} of the "
            f"{self.smallest_bytes / GIB:.2f} GiB of the smallest GPU{tight}"
        )


def needed_bytes(peak_bytes: int) -> int:
    """Return the GPU memory to reserve for a trial whose allocator used `peak_bytes` in a probe."""
    return math.ceil(peak_bytes * MARGIN) + CONTEXT_BYTES


def choose_share(peak_bytes: int, gpus: Sequence[Gpu], trials_by_cpu: int) -> GpuShareChoice:
    """Return the fraction that runs as many trials as memory and cores allow.

    Args:
        peak_bytes: Peak memory of the allocator for the heaviest configurations of the space.
        gpus: GPUs, at least one; the fraction must suffice on the smallest.
        trials_by_cpu: Number of parallel trials that the machine's cores allow.
    """
    smallest = min(gpu.bytes for gpu in gpus)
    by_memory = smallest // needed_bytes(peak_bytes)
    by_cpu = math.ceil(trials_by_cpu / len(gpus))
    trials = max(1, min(by_memory, by_cpu, MAX_TRIALS_PER_GPU))
    share = math.floor(10_000 / trials) / 10_000  # Ray counts in units of 1/10,000
    return GpuShareChoice(share=share, peak_bytes=peak_bytes, smallest_bytes=smallest)


def allocator_fraction(share: float, total_bytes: int) -> float:
    """Return the allocator's fraction of a GPU that keeps it and CUDA's own memory within the share.

    Args:
        share: Fraction of the worker's GPU. A worker with a whole GPU leaves no memory for the contexts of others.
        total_bytes: Memory of that GPU.

    Raises:
        ConfigError: The share leaves no memory to allocate.
    """
    if share >= 1:
        return 1.0
    left = share * total_bytes - CONTEXT_BYTES
    if left <= 0:
        least = math.ceil(100 * 1.5 * CONTEXT_BYTES / total_bytes) / 100
        raise ConfigError(
            f"--gpus-per-trial {share:g} is {share * total_bytes / GIB:.2f} GiB of a GPU of {total_bytes / GIB:.2f} "
            f"GiB, less than CUDA itself takes; pass at least {min(1.0, least):g}"
        )
    return left / total_bytes


def assigned_device(assigned: Sequence[int | str], visible: str | None) -> str:
    """Return torch's name of the GPU that Ray assigned to a worker.

    Args:
        assigned: Result of ray.get_gpu_ids(): a number, GPU-... or MIG-...
        visible: CUDA_VISIBLE_DEVICES in the worker, set by Ray or by the user.
    """
    names = _names(visible)
    gpu = str(assigned[0]) if assigned else ""
    if names is None:  # the process sees all GPUs, by number
        return f"cuda:{gpu}" if gpu.isdecimal() else "cuda:0"
    return f"cuda:{names.index(gpu)}" if gpu in names else "cuda:0"


def count_visible(seen_by_torch: int, visible: str | None) -> int:
    """Return how many GPUs the workers can use.

    One process sees at most one MIG instance of CUDA_VISIBLE_DEVICES; a separate worker for each can use them all.

    Args:
        seen_by_torch: torch.cuda.device_count().
        visible: CUDA_VISIBLE_DEVICES; None if it is not set.

    Raises:
        ConfigError: `visible` names a GPU twice, both MIG instances and whole GPUs, or a GPU that torch does not find.
    """
    names = _names(visible) or []
    mig = [name for name in names if name.startswith("MIG-")]
    problems = []
    if len(set(names)) < len(names):
        problems.append("names a GPU twice")
    if mig and len(mig) < len(names):
        problems.append("mixes MIG instances with whole GPUs, of which CUDA shows a process only one kind")
    if not problems and not mig and 0 < seen_by_torch < len(names):
        problems.append(f"names {len(names)} GPUs, of which torch finds {seen_by_torch}")
    if problems:
        raise ConfigError(
            f"CUDA_VISIBLE_DEVICES={visible} {' and '.join(problems)}; name existing GPUs, each once, of one kind"
        )
    return len(mig) if mig and seen_by_torch else seen_by_torch


def is_gpu_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that the GPU has too little memory; not each is a torch.OutOfMemoryError."""
    return isinstance(error, RuntimeError) and _NO_GPU_MEMORY.search(str(error)) is not None


def is_cuda_failure(error: Exception) -> bool:
    """Return whether this process can no longer use its GPU, as after an illegal memory access."""
    of_gpu = isinstance(error, RuntimeError) and GPU_ERROR.search(str(error)) is not None
    return of_gpu and not is_gpu_out_of_memory(error)


def out_of_memory(message: str, share: float, gpu: Gpu) -> str:
    """Return the message of a trial that ran out of GPU memory: the memory that it requested, and its share."""
    asked = re.search(r"Tried to allocate ([\d.]+ \w+)", message)
    held = re.search(r"([\d.]+ \w+) is allocated by PyTorch", message)
    free = re.search(r"of which ([\d.]+ \w+) is free", message)  # little if another program uses the GPU
    return (
        f"out of GPU memory: requested {asked.group(1) if asked else 'more'}"
        f"{f' besides {held.group(1)} in use' if held else ''}, with a share of {share:g} of {gpu.name} "
        f"({share * gpu.bytes / GIB:.2f} of {gpu.bytes / GIB:.2f} GiB{f'; {free.group(1)} free' if free else ''})"
    )


def _names(visible: str | None) -> list[str] | None:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names; None if it is not set, which shows all."""
    if visible is None:
        return None
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [] if names[:1] in (["-1"], ["NoDevFiles"]) else names


def claim_gpu(share: float, assigned: Sequence[int | str], visible: str | None, cuda: Any) -> tuple[str, Gpu]:
    """Limit this process to its share of the GPU that Ray assigned; Ray itself enforces no fraction.

    Args:
        share: Fraction of that GPU, in (0, 1].
        assigned: ray.get_gpu_ids().
        visible: CUDA_VISIBLE_DEVICES of this process.
        cuda: torch.cuda; an argument, so that tests need no GPU.

    Returns:
        Torch's name of the device, and its description.

    Raises:
        ConfigError: The share leaves no memory to allocate on this GPU.
    """
    device = assigned_device(assigned, visible)
    about = cuda.get_device_properties(device)
    gc.collect()
    cuda.empty_cache()  # memory of an earlier trial of this worker counts against the limit
    cuda.set_per_process_memory_fraction(allocator_fraction(share, about.total_memory), device)
    return device, Gpu(name=about.name, bytes=about.total_memory)
