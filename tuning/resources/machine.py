"""The machine, the resources of one trial, and how many trials run in parallel."""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.config import MAX_THREADS
from core.errors import ConfigError, check_rules, in_range
from core.io.memory import available_memory, control_groups
from tuning.resources.gpu import MIN_SHARE, Gpu, allocator_fraction, count_visible

MAX_WORKERS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """CPUs, GPUs and memory of a machine."""

    cpus: int
    gpus: int
    gpu_list: tuple[Gpu, ...] = ()
    """Description of each GPU; empty if unknown."""
    memory_bytes: int = 0
    """Memory in bytes that this process may use; 0 if unknown."""

    @classmethod
    def here(cls, *, gpus: bool = True) -> "Machine":
        """Return the CPUs and memory that this process may use, and the GPUs that torch sees.

        Args:
            gpus: Whether trials use GPUs; otherwise there are none.

        Raises:
            ConfigError: CUDA_VISIBLE_DEVICES names a GPU twice or one that torch does not find, or mixes kinds; or
                torch counts GPUs that CUDA does not show.
        """
        found = local_gpus(os.environ) if gpus else ()
        return cls(cpus=available_cpus(), gpus=len(found), gpu_list=found, memory_bytes=available_memory())


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResources:
    """CPU cores and GPU fraction of one trial."""

    cpus_per_trial: int = 1
    """Number of cores, and of torch's threads in the worker."""
    gpus_per_trial: float = 0.0
    """Fraction of one GPU, or 0 for none."""
    auto: bool = False
    """Whether a probe chooses the fraction; until then it counts as a whole GPU."""
    retry_oom: bool = False
    """Whether a trial that runs out of GPU memory runs again, alone on a whole GPU."""

    def __post_init__(self) -> None:
        check_rules(
            {
                "--cpus-per-trial": in_range(self.cpus_per_trial, 1, MAX_THREADS),
                "--gpus-per-trial": (
                    self.gpus_per_trial,
                    f"0, or a share of one GPU from {MIN_SHARE:g} to 1 such as 0.5",
                    self.gpus_per_trial == 0 or MIN_SHARE <= self.gpus_per_trial <= 1,
                ),
            }
        )
        if self.retry_oom and not self.gpus_per_trial:
            raise ConfigError("--retry-oom is for trials on a GPU; pass --gpus-per-trial as well, or leave it out")

    @property
    def device(self) -> str:
        """The device in torch's notation."""
        return "cuda" if self.gpus_per_trial else "cpu"

    def max_parallel(self, machine: Machine) -> int:
        """Return how many trials run in parallel.

        Raises:
            ConfigError: Not even one trial fits, or the fraction of a GPU leaves no memory to allocate.
        """
        if self.gpus_per_trial and not machine.gpus:
            wish = "auto" if self.auto else f"{self.gpus_per_trial:g}"
            raise ConfigError(
                f"--gpus-per-trial {wish} needs a GPU, and this machine has none that torch can use; "
                "pass --gpus-per-trial 0 to train a new study on the CPU"
            )
        if self.cpus_per_trial > machine.cpus:
            raise ConfigError(
                f"--cpus-per-trial {self.cpus_per_trial} is more than the {machine.cpus} CPUs of this machine; "
                f"pass at most {machine.cpus} for a new study"
            )
        by_cpu = machine.cpus // self.cpus_per_trial
        if not self.gpus_per_trial:
            return by_cpu
        for gpu in machine.gpu_list:
            allocator_fraction(self.gpus_per_trial, gpu.bytes)
        return min(by_cpu, machine.gpus * self.trials_per_gpu)

    @property
    def trials_per_gpu(self) -> int:
        """Number of trials that share a GPU. Each uses one GPU: of a fraction of 0.6, one fits."""
        return math.floor(1 / self.gpus_per_trial + 1e-9)


def parse_gpu_share(text: str) -> tuple[float, bool]:
    """Parse `--gpus-per-trial` into the fraction and whether a probe chooses it.

    Raises:
        ConfigError: The text is neither a number nor auto.
    """
    if text == "auto":
        return 1.0, True
    try:
        return float(text), False
    except ValueError:
        raise ConfigError(f"--gpus-per-trial must be a number such as 0.5, or auto, got {text!r}") from None


def local_gpus(environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the GPUs that workers can use. Each MIG instance counts, and is assumed to be like the first.

    Raises:
        ConfigError: CUDA_VISIBLE_DEVICES names a GPU twice or one that torch does not find, or mixes kinds; or torch
            counts GPUs that CUDA does not show.
    """
    from importlib.metadata import version  # its import would take a tenth of the start of each command

    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if version("torch").endswith("+cpu"):  # such a torch uses no GPU, and its import takes more than a second
        count_visible(0, visible)
        return ()
    import torch

    from core.nn.runtime import count_gpus

    seen = count_gpus()
    count = count_visible(seen, visible)
    known = [torch.cuda.get_device_properties(min(at, seen - 1)) for at in range(count)]
    return tuple(Gpu(name=each.name, bytes=each.total_memory) for each in known)


def available_cpus() -> int:
    """Return the number of CPUs that this process may use, by its affinity and the control group of its container."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cpus, *_group_cpus()]))


def _group_cpus() -> Iterator[int]:
    """Yield the limits of the control groups."""
    for folder in control_groups("cpu"):
        with contextlib.suppress(OSError, ValueError):  # no limit is "max" in version 2, -1 in version 1
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:
                yield int(quota) // int(period)
