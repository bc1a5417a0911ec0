"""tuning.backend.worker: the results of failed trials, and the end of a worker whose GPU has failed."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.config import TrialConfig
from core.errors import ConfigError, TrainingError, UserError
from core.training.checkpoint import Checkpoint, load_latest, save
from tests.support.corpora import tiny_corpus
from tuning.backend import worker
from tuning.backend.worker import failure_result
from tuning.resources.gpu import GIB, Gpu
from tuning.resources.machine import TrialResources

GPU = Gpu(name="Test", bytes=24 * GIB)


def test_out_of_memory_differs_from_other_failures() -> None:
    oom = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
    assert failure_result(oom, 0.5, GPU) == {
        "error": "out of GPU memory: requested 1.00 GiB, with a share of 0.5 of Test (12.00 of 24.00 GiB)",
        "oom": True,
    }
    assert failure_result(TrainingError("NaN"), 0.5, GPU) == {"error": "TrainingError: NaN"}
    assert failure_result(ConfigError("bad"), 0.0, None) == {"error": "ConfigError: bad"}
    assert failure_result(UserError("the disk is full"), 0.0, None) == {"user_error": "the disk is full"}


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA driver error: out of memory",
        'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/CUDACachingAllocator.cpp":1154, please report',
    ],
)
def test_libraries_that_run_out_of_gpu_memory_count_as_the_allocator_does(said: str) -> None:
    assert failure_result(RuntimeError(said), 0.5, GPU)["oom"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "too many open files; raise the limit with `ulimit -n`"),
        (OSError(errno.EIO, "Input/output error", "a"), "'a': the disk cannot read or write it; check the disk"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "the memory does not suffice; end other programs"),
        (RuntimeError("can't start new thread"), "this user may start no more processes or threads; end some"),
        (
            RuntimeError("cuDNN version incompatibility: PyTorch was compiled  against (9, 19, 0) but found (9, 1, 0)"),
            "the GPU cannot be used (cuDNN version incompatibility: ",
        ),
        (ImportError("torch/lib.so: failed to map segment"), "the memory does not suffice; end other programs"),
        (
            ModuleNotFoundError("No module named 'torch'"),
            "a worker cannot train (ModuleNotFoundError: No module named 'torch'); repair the machine or the",
        ),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "a worker cannot train (ConnectionResetError: "),
    ],
    ids=repr,
)
def test_a_fault_of_the_machine_ends_the_search_and_not_the_trial(error: Exception, line: str) -> None:
    """A failed trial changes the decisions, and is never tried again."""
    found = failure_result(error)
    assert found.keys() == {"user_error"}
    assert found["user_error"].startswith(line)


@pytest.mark.parametrize(
    "error", [MemoryError("16 GB"), RuntimeError("can't allocate memory: you tried"), ValueError("wrong")], ids=repr
)
def test_settings_that_need_too_much_memory_and_bugs_fail_their_trial_alone(error: Exception) -> None:
    assert failure_result(error) == {"error": f"{type(error).__name__}: {error}"}


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, error: Exception) -> list[Any]:
    """What a worker reports of a trial whose training raises an error, and the code with which it ends itself."""
    seen: list[Any] = []

    def leave(code: int) -> None:
        seen.append(code)
        raise SystemExit

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(worker, "tune", SimpleNamespace(report=seen.append))
    monkeypatch.setattr(worker, "train", fail)
    monkeypatch.setattr(os, "_exit", leave)
    job = {"number": 0, "config": TrialConfig().to_dict(), "checkpoint_dir": str(folder), "first": 1}
    try:
        worker.run_trial(job, tiny_corpus(), TrialResources())
    except SystemExit:
        seen.append("ended")
    return seen


@pytest.mark.parametrize(
    "said", ["CUDA error: an illegal memory access was encountered", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"]
)
def test_a_worker_whose_gpu_has_failed_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str
) -> None:
    """Each later trial of this process would fail, too."""
    error = getattr(torch, "AcceleratorError", RuntimeError)(said)
    assert run(monkeypatch, tmp_path, error) == [{"gpu_failure": said}, 1, "ended"]


def test_a_worker_whose_trial_fails_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for error in (TrainingError("NaN"), RuntimeError("CUDA error: out of memory")):
        (report,) = run(monkeypatch, tmp_path, error)
        assert report["result"].keys() == {"error"}


def test_a_device_that_cannot_be_used_is_no_result_of_the_trial(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(share: float) -> None:
        raise RuntimeError("No CUDA GPUs are available")

    monkeypatch.setattr(worker, "select_device", fail)
    with pytest.raises(RuntimeError, match="No CUDA GPUs"):
        run(monkeypatch, tmp_path, TrainingError("NaN"))


def test_a_trial_trains_with_the_threads_of_its_resources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr(worker, "tune", SimpleNamespace(report=reports.append))
    job = {
        "number": 0,
        "config": TrialConfig(hidden_dim=4, epochs=1).to_dict(),
        "checkpoint_dir": str(tmp_path),
        "first": 1,
    }
    worker.run_trial(job, tiny_corpus(), TrialResources(cpus_per_trial=2))
    assert reports[-1]["result"]["environment"]["threads"] == 2


def test_a_trial_trains_on_the_gpu_of_its_worker_and_a_failure_names_its_share(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without `oom` in its result, the trial would not run again on a whole GPU."""
    reports, devices = list[Any](), list[str]()
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    def train(*_: object, device: str, **__: object) -> None:
        devices.append(device)
        raise error

    monkeypatch.setattr(worker, "select_device", {0.5: ("cuda:1", GPU)}.__getitem__)
    monkeypatch.setattr(worker, "tune", SimpleNamespace(report=reports.append))
    monkeypatch.setattr(worker, "train", train)
    job = {"number": 0, "config": TrialConfig().to_dict(), "checkpoint_dir": str(tmp_path), "first": 1}
    worker.run_trial(job, tiny_corpus(), TrialResources(gpus_per_trial=0.5))
    assert devices == ["cuda:1"]
    assert reports == [{"result": failure_result(error, 0.5, GPU)}]
    assert reports[0]["result"]["oom"]


@pytest.mark.parametrize(("hip", "variable"), [(None, "CUDA_VISIBLE_DEVICES"), ("7.0", "HIP_VISIBLE_DEVICES")])
def test_a_worker_reads_the_variable_that_ray_sets(
    monkeypatch: pytest.MonkeyPatch, hip: str | None, variable: str
) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr("ray.get_gpu_ids", lambda: [1])
    monkeypatch.setattr(worker, "claim_gpu", lambda share, assigned, visible, cuda: (visible, GPU))
    assert worker.select_device(0.5) == ("1", GPU)


def test_a_checkpoint_of_another_training_ends_the_search_and_not_the_trial(tmp_path: Path) -> None:
    """As after the study's journal was replaced by an older copy: a failed trial is never tried again."""
    save(tmp_path, Checkpoint(epoch=1, fingerprint={"seed": 1}, state={}, tensors={"a": torch.zeros(1)}))
    with pytest.raises(UserError, match="remove this folder and run") as found:
        load_latest(tmp_path, {"seed": 2})
    assert failure_result(found.value).keys() == {"user_error"}
