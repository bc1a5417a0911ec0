"""What a share of a GPU comes to: which device, how much memory, how many trials. Pure; CUDA is asked elsewhere."""

import gc
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError

CONTEXT_BYTES = 600 * 2**20
"""GPU memory that a process takes before it allocates any: CUDA's context and loaded kernels. No cap reaches it."""
MARGIN = 1.25
"""A probe takes some steps; fragments of freed memory grow over a whole trial."""
MAX_TRIALS_PER_GPU = 16
"""More processes than these only wait for one another."""
MIN_SHARE = 0.01
GIB = 2.0**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU that this process may use, or one MIG instance."""

    name: str
    bytes: int
    """Memory in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuProbe:
    """What the heaviest trials of a space took on a GPU."""

    peak_bytes: int
    """Most memory that the allocator held."""
    step_seconds: float
    """Of one training step with the largest batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuShareChoice:
    """A share that a probe chose."""

    share: float
    """Of each GPU."""
    probed: GpuProbe
    smallest_bytes: int
    """Memory of the smallest GPU."""

    def to_dict(self) -> dict[str, Any]:
        """As the study keeps it."""
        return {
            "share": self.share,
            "peak_bytes": self.probed.peak_bytes,
            "step_seconds": self.probed.step_seconds,
            "smallest_bytes": self.smallest_bytes,
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "GpuShareChoice":
        """The inverse of `to_dict`."""
        probed = GpuProbe(peak_bytes=kept["peak_bytes"], step_seconds=kept["step_seconds"])
        return cls(share=kept["share"], probed=probed, smallest_bytes=kept["smallest_bytes"])

    def __str__(self) -> str:
        need = needed_bytes(self.probed.peak_bytes)
        tight = "" if need <= self.smallest_bytes else "; the heaviest may not fit even alone"
        return (
            f"--gpus-per-trial auto: {self.share:g} of a GPU a trial. The heaviest settings took "
            f"{self.probed.peak_bytes / GIB:.2f} GiB and {1000 * self.probed.step_seconds:.1f} ms a step; with a "
            f"margin and CUDA's own memory {need / GIB:.2f} of the {self.smallest_bytes / GIB:.2f} GiB of the smallest "
            f"GPU{tight}"
        )


def needed_bytes(peak_bytes: int) -> int:
    """GPU memory to set aside for a trial whose allocator held so much in a probe."""
    return math.ceil(peak_bytes * MARGIN) + CONTEXT_BYTES


def choose_share(probed: GpuProbe, gpus: Sequence[Gpu], trials_by_cpu: int) -> GpuShareChoice:
    """The share with which as many trials run as memory and cores allow.

    Args:
        probed: on the heaviest settings of the space.
        gpus: at least one; the share must do on the smallest.
        trials_by_cpu: trials that the machine's cores allow at once.
    """
    smallest = min(gpu.bytes for gpu in gpus)
    by_memory = smallest // needed_bytes(probed.peak_bytes)
    by_cpu = math.ceil(trials_by_cpu / len(gpus))
    trials = max(1, min(by_memory, by_cpu, MAX_TRIALS_PER_GPU))
    share = math.floor(10_000 / trials) / 10_000  # Ray books ten-thousandths
    return GpuShareChoice(share=share, probed=probed, smallest_bytes=smallest)


def allocator_fraction(share: float, total_bytes: int) -> float:
    """What torch's allocator may take of a GPU, so that it and CUDA's own memory stay within the share.

    Args:
        share: of the GPU that the worker got; one that has all of it is alone and needs no room for others' contexts.
        total_bytes: of that GPU.

    Raises:
        ConfigError: the share leaves nothing to allocate.
    """
    if share >= 1:
        return 1.0
    left = share * total_bytes - CONTEXT_BYTES
    if left <= 0:
        least = math.ceil(100 * 1.5 * CONTEXT_BYTES / total_bytes) / 100
        raise ConfigError(
            f"--gpus-per-trial {share:g} is {share * total_bytes / GIB:.2f} GiB of a GPU of {total_bytes / GIB:.2f} "
            f"GiB, less than CUDA itself takes: pass at least {min(1.0, least):g}"
        )
    return left / total_bytes


def assigned_device(assigned: Sequence[int | str], visible: str | None) -> str:
    """As torch names the GPU that Ray gave to a worker.

    Args:
        assigned: its name, as ray.get_gpu_ids() says it: a number, GPU-... or MIG-...
        visible: CUDA_VISIBLE_DEVICES in the worker: as Ray set it, or from outside where Ray was told to leave it.
    """
    names = _names(visible)
    wanted = str(assigned[0]) if assigned else ""
    if names is None:  # the process sees all of them, by number
        return f"cuda:{wanted}" if wanted.isdecimal() else "cuda:0"
    return f"cuda:{names.index(wanted)}" if wanted in names else "cuda:0"


def count_visible(seen_by_torch: int, visible: str | None) -> int:
    """How many GPUs workers can have.

    A process sees one MIG instance at most, whatever CUDA_VISIBLE_DEVICES names; a worker of its own for each sees all.

    Args:
        seen_by_torch: torch.cuda.device_count().
        visible: CUDA_VISIBLE_DEVICES; None where it is not set.

    Raises:
        ConfigError: it names a GPU twice, or MIG instances beside whole GPUs.
    """
    names = _names(visible) or []
    mig = [name for name in names if name.startswith("MIG-")]
    problems = []
    if len(set(names)) < len(names):
        problems.append("names a GPU twice")
    if mig and len(mig) < len(names):
        problems.append("mixes MIG instances with whole GPUs, of which CUDA shows a process only one kind")
    if problems:
        raise ConfigError(f"CUDA_VISIBLE_DEVICES={visible} {' and '.join(problems)}: name each once, of one kind")
    return len(mig) if mig and seen_by_torch else seen_by_torch


def out_of_memory(message: str, share: float, gpu: Gpu) -> str:
    """What a trial's error says of torch.OutOfMemoryError: what it asked for, and its share."""
    asked = re.search(r"Tried to allocate ([\d.]+ \w+)", message)
    held = re.search(r"([\d.]+ \w+) is allocated by PyTorch", message)
    return (
        f"out of GPU memory: asked for {asked.group(1) if asked else 'more'}"
        f"{f' beside the {held.group(1)} it held' if held else ''}, with a share of {share:g} of {gpu.name} "
        f"({share * gpu.bytes / GIB:.2f} of {gpu.bytes / GIB:.2f} GiB)"
    )


def _names(visible: str | None) -> list[str] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES names; None where it is not set, which shows all."""
    if visible is None:
        return None
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [] if names[:1] in (["-1"], ["NoDevFiles"]) else names


def claim_gpu(share: float, assigned: Sequence[int | str], visible: str | None, cuda: Any) -> tuple[str, Gpu]:
    """Hold this process to its share of the GPU that Ray gave it: Ray books a fraction but enforces nothing.

    Args:
        share: of that GPU, in (0, 1].
        assigned: ray.get_gpu_ids().
        visible: CUDA_VISIBLE_DEVICES of this process.
        cuda: torch.cuda; an argument, so that tests need no GPU.

    Returns:
        The device as torch names it, and what it is.

    Raises:
        ConfigError: the share leaves nothing to allocate on this GPU.
    """
    device = assigned_device(assigned, visible)
    about = cuda.get_device_properties(device)
    gc.collect()
    cuda.empty_cache()  # what an earlier trial of this worker left counts against the cap
    cuda.set_per_process_memory_fraction(allocator_fraction(share, about.total_memory), device)
    return device, Gpu(name=about.name, bytes=about.total_memory)
