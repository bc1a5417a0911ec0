"""What one trial gets of the machine, and how many trials fit."""

import math
import os
from dataclasses import dataclass

from core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What there is."""

    cpus: int
    gpus: int

    @classmethod
    def here(cls) -> "Machine":
        """This machine: the CPUs that this process may use, the GPUs that torch sees."""
        import torch

        return cls(cpus=usable_cpus(), gpus=torch.cuda.device_count())


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """What one trial gets."""

    cpus_per_trial: int = 1
    """Whole cores, and torch's threads in the worker."""
    gpus_per_trial: float = 0.0
    """A share of one GPU in (0, 1], or 0 for none."""

    def __post_init__(self) -> None:
        rules = {
            "--cpus-per-trial": ("at least 1", self.cpus_per_trial >= 1, self.cpus_per_trial),
            "--gpus-per-trial": (
                "0, or a share of one GPU up to 1 such as 0.5",
                0 <= self.gpus_per_trial <= 1,
                self.gpus_per_trial,
            ),
        }
        problems = [f"{name} must be {rule}, got {value}" for name, (rule, ok, value) in rules.items() if not ok]
        if problems:
            raise ConfigError("; ".join(problems))

    @property
    def device(self) -> str:
        """As torch names it."""
        return "cuda" if self.gpus_per_trial else "cpu"

    def fit(self, machine: Machine) -> int:
        """How many trials run at once.

        Raises:
            ConfigError: not even one does.
        """
        if self.gpus_per_trial and not machine.gpus:
            raise ConfigError(
                f"--gpus-per-trial {self.gpus_per_trial:g} asks for a GPU and this machine has none that torch can "
                "use: pass --gpus-per-trial 0 to train on the CPU"
            )
        if self.cpus_per_trial > machine.cpus:
            raise ConfigError(
                f"--cpus-per-trial {self.cpus_per_trial} is more than the {machine.cpus} CPUs of this machine: "
                f"pass at most {machine.cpus}"
            )
        by_cpu = machine.cpus // self.cpus_per_trial
        if not self.gpus_per_trial:
            return by_cpu
        # Shares of different GPUs do not add up: 0.6 fits once on each.
        return min(by_cpu, machine.gpus * math.floor(1 / self.gpus_per_trial + 1e-9))


def default_window(fits: int) -> int:
    """How many suggestions may be open at once: four times the trials that fit, at least 8."""
    return max(8, 4 * fits)


def usable_cpus() -> int:
    """CPUs that this process may use: its affinity, and the limit of its control group where there is one."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:  # noqa: PTH123 - a pseudo file of the kernel
            quota, period = file.read().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, int(quota) // int(period)))
