"""A worker's GPU: which one it got, and its memory capped to the worker's share."""

import gc
from collections.abc import Sequence
from typing import Any

from tuning.resources.gpu import Gpu, allocator_fraction, assigned_device


def take_gpu(share: float, assigned: Sequence[int | str], visible: str | None, cuda: Any) -> tuple[str, Gpu]:
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
