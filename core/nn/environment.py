"""The runtime environment of a result: torch, threads, precision, processor, device and code."""

import contextlib
import functools
import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.errors import ConfigError

FILES = ("config.py", "data/corpus.py", "log_odds.py", "metrics.py")
"""Other files of core on which the epochs of a training depend."""
INSTRUCTION_VARIABLES = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables by which MKL and oneDNN compute with other instructions than the best ones of the processor."""


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
    """Return the CPU's model as the system names it; if it names none, its architecture and ARM's numbers for it."""
    name = cpuinfo("model name")
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        with contextlib.suppress(OSError):
            name = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return name or f"{platform.machine()} {cpuinfo('CPU implementer')} {cpuinfo('CPU part')}".strip()


@functools.cache
def cpuinfo(what: str) -> str:
    """Return a field of /proc/cpuinfo, such as `flags`, for the first processor; empty if there is none."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == what:
                return value.strip()
    return ""


def gains_from_bf16(device: str) -> bool:
    """Return whether training on a device is faster in bf16 than in fp32: never a GPU, see `check_precision`.

    Of CPUs, those with AMX are, and AMD's with AVX512-BF16. On Intel's with AVX512-BF16 alone, an epoch takes 1.3 to
    1.6 times as long as in fp32 (results/reference/precision.md). Emulation is slower still. The flags are Linux's;
    other systems are assumed to have none.

    Args:
        device: "cpu", also with a number, or a CUDA device.
    """
    flags = cpuinfo("flags").split()
    is_amd = cpuinfo("vendor_id") == "AuthenticAMD"
    return _is_cpu(device) and ("amx_tile" in flags or ("avx512_bf16" in flags and is_amd))


def _is_cpu(device: str) -> bool:
    return device.partition(":")[0] == "cpu"  # is_gpu would load torch in the driver


def check_precision(precision: str, device: str) -> None:
    """Check that a device can train in a precision.

    On a GPU, torch's autocast casts the inputs of LSTMs to fp16 whatever its dtype (`_cudnn_rnn_cast_reflatten` in
    aten/src/ATen/cudnn/AutocastRNN.cpp). Without loss scaling, small gradients become 0 in fp16.

    Args:
        precision: One of core.config.PRECISIONS.
        device: "cpu", also with a number, or a CUDA device.

    Raises:
        ConfigError: It is bf16 on a GPU.
    """
    if precision == "bf16" and not _is_cpu(device):
        raise ConfigError("precision bf16 is for CPUs: on a GPU, torch's autocast computes LSTMs in fp16; choose fp32")


def cpu_capability() -> str:
    """Return the instructions that torch uses, and the variables by which MKL and oneDNN use others."""
    import torch

    chosen = (f"{name}={os.environ[name]}" for name in INSTRUCTION_VARIABLES if os.environ.get(name))
    return ", ".join([torch.backends.cpu.get_cpu_capability(), *chosen])


def runtime_environment(precision: str, threads: int, device: str) -> dict[str, Any]:
    """Return everything besides settings and corpus on which a result depends, for JSON."""
    import torch  # only here: reading a study loads no torch

    from core.nn.runtime import is_gpu

    return {
        "torch": str(torch.__version__),  # a TorchVersion would import torch wherever it is read
        "threads": threads,
        "precision": precision,
        "cpu_capability": cpu_capability(),
        "cpu": cpu_model(),
        "device": torch.cuda.get_device_name(device) if is_gpu(device) else "cpu",
        "tf32": is_gpu(device) and _allows_tf32(),
        "code": code_digest(),
    }


def _allows_tf32() -> bool:
    """Return whether LSTMs on a GPU that has TF32 compute in it, cuDNN's default."""
    import torch

    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":  # NVIDIA's libraries then use fp32, whatever torch allows
        return False
    rnn = getattr(torch.backends.cudnn, "rnn", None)
    own = getattr(rnn, "fp32_precision", None)  # since torch 2.9, where allow_tf32 raises an error if RNNs differ
    return bool(torch.backends.cudnn.allow_tf32) if own is None else own == "tf32"
