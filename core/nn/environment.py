"""What a result depends on besides settings and data: torch, threads, precision, processor, device and code."""

import contextlib
import functools
import hashlib
import platform
from pathlib import Path
from typing import Any

BF16_FLAGS = {"avx512_bf16", "amx_tile"}
"""What Linux calls the instructions that oneDNN uses; processors of other kinds, and other systems, are taken to have
none."""


@functools.cache
def code_digest() -> str:
    """Return 16 hex digits of the SHA-256 of the training code: core/nn, core/training and core/data/corpus.py.

    Any edit of these files changes it, also one of a comment.
    """
    core = Path(__file__).parent.parent
    total = hashlib.sha256()
    for file in sorted([*core.glob("nn/**/*.py"), *core.glob("training/**/*.py"), core / "data" / "corpus.py"]):
        content = file.read_bytes()
        total.update(f"{file.relative_to(core).as_posix()} {len(content)}\n".encode() + content)
    return total.hexdigest()[:16]


def cpu_model() -> str:
    """The CPU's model as the system names it; its architecture where it names none."""
    return cpuinfo("model name") or platform.processor() or platform.machine()


@functools.cache
def cpuinfo(what: str) -> str:
    """What Linux says of the first processor under a name such as `flags`; empty where it says nothing."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == what:
                return value.strip()
    return ""


def supports_bf16(device: str) -> bool:
    """Whether a device has instructions for bf16: where it lacks them, bf16 is imitated and brings no time.

    Args:
        device: "cpu", which is asked without importing torch, or a CUDA device.
    """
    if device == "cpu":
        return not BF16_FLAGS.isdisjoint(cpuinfo("flags").split())
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def runtime_environment(precision: str, threads: int, device: str) -> dict[str, Any]:
    """Everything that can change a result's bits beside settings and corpus, as JSON can hold it."""
    import torch  # only here: reading a study loads no torch

    from core.nn.runtime import is_gpu

    return {
        "torch": str(torch.__version__),  # a plain one: a TorchVersion would have who reads a report import torch
        "threads": threads,
        "precision": precision,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu": cpu_model(),
        "device": torch.cuda.get_device_name(device) if is_gpu(device) else "cpu",
        "deterministic": not is_gpu(device) or torch.are_deterministic_algorithms_enabled(),
        "code": code_digest(),
    }
