"""What one trial gets of the machine, and how many trials fit."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from core.errors import ConfigError, check_rules
from tuning.resources.gpu import MIN_SHARE, Gpu, allocator_fraction, count_visible


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What there is."""

    cpus: int
    gpus: int
    gpu_list: tuple[Gpu, ...] = ()
    """What the GPUs are; empty where that is not known."""
    memory_bytes: int = 0
    """Memory that this process may use; 0 where that is not known."""

    @classmethod
    def here(cls) -> "Machine":
        """This machine: the CPUs and the memory that this process may use, the GPUs that torch sees.

        Raises:
            ConfigError: CUDA_VISIBLE_DEVICES cannot be meant so.
        """
        gpus = local_gpus(os.environ)
        return cls(cpus=available_cpus(), gpus=len(gpus), gpu_list=gpus, memory_bytes=available_memory())


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResources:
    """What one trial gets."""

    cpus_per_trial: int = 1
    """Whole cores, and torch's threads in the worker."""
    gpus_per_trial: float = 0.0
    """A share of one GPU, or 0 for none."""
    auto: bool = False
    """A probe is to choose the share; until then it counts as a whole GPU."""
    retry_oom: bool = False
    """A trial that its share is too small for runs once more, alone on a whole GPU."""

    def __post_init__(self) -> None:
        check_rules(
            {
                "--cpus-per-trial": (self.cpus_per_trial, "at least 1", self.cpus_per_trial >= 1),
                "--gpus-per-trial": (
                    self.gpus_per_trial,
                    f"0, or a share of one GPU from {MIN_SHARE:g} to 1 such as 0.5",
                    self.gpus_per_trial == 0 or MIN_SHARE <= self.gpus_per_trial <= 1,
                ),
            }
        )
        if self.retry_oom and not self.gpus_per_trial:
            raise ConfigError("--retry-oom is for trials on a GPU: pass --gpus-per-trial as well, or leave it out")

    @property
    def device(self) -> str:
        """As torch names it."""
        return "cuda" if self.gpus_per_trial else "cpu"

    def max_parallel(self, machine: Machine) -> int:
        """How many trials run at once.

        Raises:
            ConfigError: not even one does, or the share of a GPU leaves nothing to compute with.
        """
        if self.gpus_per_trial and not machine.gpus:
            wish = "auto" if self.auto else f"{self.gpus_per_trial:g}"
            raise ConfigError(
                f"--gpus-per-trial {wish} asks for a GPU and this machine has none that torch can use: "
                "pass --gpus-per-trial 0 to train on the CPU"
            )
        if self.cpus_per_trial > machine.cpus:
            raise ConfigError(
                f"--cpus-per-trial {self.cpus_per_trial} is more than the {machine.cpus} CPUs of this machine: "
                f"pass at most {machine.cpus}"
            )
        by_cpu = machine.cpus // self.cpus_per_trial
        if not self.gpus_per_trial:
            return by_cpu
        for gpu in machine.gpu_list:
            allocator_fraction(self.gpus_per_trial, gpu.bytes)
        # Shares of different GPUs do not add up: 0.6 fits once on each.
        return min(by_cpu, machine.gpus * math.floor(1 / self.gpus_per_trial + 1e-9))


def parse_gpu_share(text: str) -> tuple[float, bool]:
    """What `--gpus-per-trial` says: the share, and whether a probe is to choose it.

    Raises:
        ConfigError: it is neither a number nor auto.
    """
    if text == "auto":
        return 1.0, True
    try:
        return float(text), False
    except ValueError:
        raise ConfigError(f"--gpus-per-trial must be a number such as 0.5, or auto, got {text!r}") from None


def local_gpus(environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs that workers can have. MIG instances count each, and are taken to be like the first.

    Raises:
        ConfigError: CUDA_VISIBLE_DEVICES cannot be meant so.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if version("torch").endswith("+cpu"):  # it can use none, and importing it takes more than a second
        count_visible(0, visible)
        return ()
    import torch

    seen = torch.cuda.device_count()
    count = count_visible(seen, visible)
    known = [torch.cuda.get_device_properties(min(at, seen - 1)) for at in range(count)]
    return tuple(Gpu(name=each.name, bytes=each.total_memory) for each in known)


def default_window(fits: int) -> int:
    """How many suggestions may be open at once: four times the trials that fit, at least 8."""
    return max(8, 4 * fits)


def available_cpus() -> int:
    """CPUs that this process may use: its affinity, and the limit of its control group where there is one."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:  # noqa: PTH123 - a pseudo file of the kernel
            quota, period = file.read().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, int(quota) // int(period)))


def available_memory() -> int:
    """Bytes that this process may use: the machine's, and the limit of its control group where there is one."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/sys/fs/cgroup/memory.max") as file:  # noqa: PTH123 - a pseudo file of the kernel
            limit = file.read().strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdecimal() else machine
