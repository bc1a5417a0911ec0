"""tuning.resources.machine: capacity, and errors."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from core.errors import ConfigError
from core.io.memory import available_memory
from tuning.resources.gpu import Gpu
from tuning.resources.machine import Machine, TrialResources, available_cpus, local_gpus


@pytest.mark.parametrize(
    ("cpus_per_trial", "gpus_per_trial", "machine", "fits"),
    [
        (1, 0.0, Machine(cpus=2, gpus=0), 2),
        (2, 0.0, Machine(cpus=5, gpus=0), 2),
        (1, 0.5, Machine(cpus=16, gpus=1), 2),
        (1, 0.1, Machine(cpus=16, gpus=1), 10),
        (1, 0.6, Machine(cpus=16, gpus=2), 2),
        (4, 0.25, Machine(cpus=8, gpus=4), 2),
        (1, 1.0, Machine(cpus=16, gpus=4), 4),
    ],
)
def test_as_many_trials_fit_as_cores_and_whole_shares_of_one_gpu_allow(
    cpus_per_trial: int, gpus_per_trial: float, machine: Machine, fits: int
) -> None:
    assert TrialResources(cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial).max_parallel(machine) == fits


def test_more_cores_than_there_are_is_refused_with_what_to_pass() -> None:
    with pytest.raises(ConfigError, match="3 is more than the 2 CPUs of this machine; pass at most 2 for a new study"):
        TrialResources(cpus_per_trial=3).max_parallel(Machine(cpus=2, gpus=0))


def test_all_broken_shares_are_named_together() -> None:
    with pytest.raises(ConfigError, match="--cpus-per-trial must be from 1 to 1,024, got 0; --gpus-per-trial must be"):
        TrialResources(cpus_per_trial=0, gpus_per_trial=2)


@pytest.mark.parametrize(
    ("group", "files", "cpus"),
    [
        ("0::/", {"cpu.max": "max 100000"}, 6),
        ("0::/", {"cpu.max": "250000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "900000 100000"}, 6),
        ("0::/", {"cpu.max": "odd"}, 6),
        ("0::/a.slice/b", {"a.slice/cpu.max": "300000 100000", "a.slice/b/cpu.max": "max 100000"}, 3),
        ("4:cpu,cpuacct:/job", {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6),
        ("4:cpuset:/", {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6),
        (None, {}, 6),
    ],
)
def test_cpus_are_those_of_the_affinity_and_of_the_control_groups(
    group: str | None, files: dict[str, str], cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr("core.io.memory.OWN_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr("core.io.memory.GROUPS", tmp_path / "fs")
    if group is not None:
        (tmp_path / "cgroup").write_text(f"{group}\n")
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    assert available_cpus() == cpus


@pytest.mark.parametrize(
    ("environ", "nvml", "cuda", "found"),
    [
        ({}, 2, 2, (0, 1)),
        ({}, 2, 1, (0,)),  # in MIG mode, CUDA shows one instance, and a newer torch asks CUDA
        ({"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"}, 1, 1, (0, 0)),  # an instance that is not seen here is like the first
    ],
)
def test_gpus_are_those_that_cuda_shows(
    environ: dict[str, str], nvml: int, cuda: int, found: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [nvml]
    monkeypatch.setattr("importlib.metadata.version", {"torch": "2.6.0+cu124"}.__getitem__)
    monkeypatch.setattr("torch.cuda.device_count", lambda: shown[0])
    monkeypatch.setattr("torch.cuda.init", lambda: shown.__setitem__(0, cuda))
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda at: SimpleNamespace(name=f"G{at}", total_memory=at))
    assert local_gpus(environ) == tuple(Gpu(name=f"G{at}", bytes=at) for at in found)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The NVIDIA driver on your system is too old"),
        AssertionError("Torch not compiled with CUDA enabled"),
    ],
    ids=repr,
)
def test_gpus_that_cuda_cannot_use_are_not_counted(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML, which torch asks until CUDA is initialised, counts them."""

    def init() -> None:
        raise error

    monkeypatch.setattr("importlib.metadata.version", {"torch": "2.6.0+cu124"}.__getitem__)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.init", init)
    assert local_gpus({"CUDA_VISIBLE_DEVICES": "0,1"}) == ()
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=0,0 names a GPU twice"):
        local_gpus({"CUDA_VISIBLE_DEVICES": "0,0"})


def test_gpus_are_looked_for_only_if_trials_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,0")
    assert Machine.here(gpus=False).gpus == 0
    assert Machine.here(gpus=False).memory_bytes == available_memory()
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=0,0 names a GPU twice"):
        Machine.here()


def test_a_torch_without_cuda_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What CUDA_VISIBLE_DEVICES says is looked at all the same."""
    monkeypatch.setattr("importlib.metadata.version", {"torch": "2.6.0+cpu"}.__getitem__)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1 / 0)
    assert local_gpus({"CUDA_VISIBLE_DEVICES": "0,1"}) == ()
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=0,0 names a GPU twice"):
        local_gpus({"CUDA_VISIBLE_DEVICES": "0,0"})


def test_a_share_that_leaves_no_memory_is_refused_before_the_search() -> None:
    small = Machine(cpus=8, gpus=1, gpu_list=(Gpu(name="A", bytes=8 * 2**30),))
    with pytest.raises(
        ConfigError, match=r"--gpus-per-trial 0\.05 is 0\.40 GiB of a GPU of 8\.00 GiB.* pass at least 0\.11"
    ):
        TrialResources(gpus_per_trial=0.05).max_parallel(small)


def test_gpus_that_an_older_torch_cannot_count_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks NVML, and fails where CUDA shows fewer, as in MIG mode. This is no RuntimeError."""

    def init() -> None:
        raise torch.cuda.DeferredCudaCallError("CUDA call failed lazily: device < num_gpus\n\nCUDA call was")

    monkeypatch.setattr("importlib.metadata.version", {"torch": "2.6.0+cu124"}.__getitem__)
    monkeypatch.setattr("torch.cuda.init", init)
    with pytest.raises(
        ConfigError, match=r"^torch cannot use the GPUs \(CUDA call .*\); name the GPUs or MIG instances"
    ):
        local_gpus({})
