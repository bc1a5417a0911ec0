"""The runtime environment of a result: torch, threads, precision, processor, device and code."""

import contextlib
import functools
import hashlib
import platform
from pathlib import Path
from typing import Any

BF16_FLAGS = {"avx512_bf16", "amx_tile"}
"""Linux's names for the instructions that oneDNN uses; other processors and systems are assumed to have none."""

FILES = ("config.py", "data/corpus.py", "log_odds.py", "metrics.py")
"""Other files of core on which the epochs of a training depend."""


@functools.cache
def code_digest() -> str:
    """Return 16 hex digits of the SHA-256 of the training code: core/nn, core/training and the FILES.

    Any edit of these files changes it, including the edit of a comment.
    """
    core = Path(__file__).parent.parent
    total = hashlib.sha256()
    for file in sorted([*core.glob("nn/**/*.py"), *core.glob("training/**/*.py"), *(core / name for name in FILES)]):
        content = file.read_bytes()
        total.update(f"{file.relative_to(core).as_posix()} {len(content)}\n".encode() + content)
    return total.hexdigest()[:16]


def cpu_model() -> str:
    """Return the CPU's model as the system names it; its architecture if it names none."""
    return cpuinfo("model name") or platform.processor() or platform.machine()


@functools.cache
def cpuinfo(what: str) -> str:
    """Return a field of /proc/cpuinfo, such as `flags`, for the first processor; empty if there is none."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == what:
                return value.strip()
    return ""


def supports_bf16(device: str) -> bool:
    """Return whether a device has instructions for bf16; emulation saves no time.

    Args:
        device: "cpu", for which torch is not imported, or a CUDA device.
    """
    if device == "cpu":
        return not BF16_FLAGS.isdisjoint(cpuinfo("flags").split())
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def runtime_environment(precision: str, threads: int, device: str) -> dict[str, Any]:
    """Return everything besides settings and corpus on which a result depends, for JSON."""
    import torch  # only here: reading a study loads no torch

    from core.nn.runtime import is_gpu

    return {
        "torch": str(torch.__version__),  # a TorchVersion would import torch wherever it is read
        "threads": threads,
        "precision": precision,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu": cpu_model(),
        "device": torch.cuda.get_device_name(device) if is_gpu(device) else "cpu",
        "deterministic": not is_gpu(device) or torch.are_deterministic_algorithms_enabled(),
        "code": code_digest(),
    }
