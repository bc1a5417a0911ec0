"""What a device computes fast in."""

from core.nn.environment import about_processor

BF16_FLAGS = {"avx512_bf16", "amx_tile"}
"""What Linux calls the instructions that oneDNN uses; processors of other kinds, and other systems, are taken to have
none."""


def computes_in_bf16(device: str) -> bool:
    """Whether a device has instructions for bf16: where it lacks them, bf16 is imitated and brings no time.

    Args:
        device: "cpu", which is asked without importing torch, or a CUDA device.
    """
    if device == "cpu":
        return not BF16_FLAGS.isdisjoint(about_processor("flags").split())
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
