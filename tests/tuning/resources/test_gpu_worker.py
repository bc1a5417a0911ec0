"""tuning.resources.gpu_worker and a trial's failure: CUDA is a fake that remembers what it was told."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.config import TrialConfig
from core.errors import ConfigError, TrainingError, UserError
from tests.support.corpora import tiny_corpus
from tuning.backend.worker import failure
from tuning.resources.gpu import GIB, Gpu
from tuning.resources.gpu_probe import measured
from tuning.resources.gpu_worker import take_gpu

SIZES = {"cuda:0": 24, "cuda:1": 80}


class FakeCuda:
    """torch.cuda of a machine with a small and a large GPU."""

    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.fails = fails

    def get_device_properties(self, device: str) -> Any:
        return SimpleNamespace(name=f"GPU {device}", total_memory=int(SIZES.get(device, 24) * GIB))

    def init(self) -> None:
        self.told.append(("init",))

    def empty_cache(self) -> None:
        self.told.append(("empty",))

    def set_per_process_memory_fraction(self, fraction: float, device: str) -> None:
        self.told.append((device, round(fraction * SIZES[device], 2)))

    def reset_peak_memory_stats(self, device: str) -> None:
        self.told.append(("reset", device))

    def max_memory_reserved(self, device: str) -> int:
        if self.fails:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return int(3 * GIB)


@pytest.mark.parametrize(("assigned", "device", "gib"), [(0, "cuda:0", 11.41), (1, "cuda:1", 39.41)])
def test_the_cap_is_the_share_of_the_gpu_that_the_worker_got(assigned: int, device: str, gib: float) -> None:
    """Less what CUDA itself takes; and what an earlier trial left is freed first."""
    cuda = FakeCuda()
    assert take_gpu(0.5, [assigned], "0,1", cuda) == (device, Gpu(name=f"GPU {device}", bytes=int(SIZES[device] * GIB)))
    assert cuda.told == [("empty",), (device, gib)]


def test_who_has_a_whole_gpu_is_not_capped_below_it() -> None:
    cuda = FakeCuda()
    take_gpu(1.0, [0], "0", cuda)
    assert cuda.told[-1] == ("cuda:0", 24)


def test_out_of_memory_is_told_from_other_failures() -> None:
    gpu = Gpu(name="Test", bytes=int(24 * GIB))
    oom = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
    assert failure(oom, 0.5, gpu) == {
        "error": "out of GPU memory: asked for 1.00 GiB, with a share of 0.5 of Test (12.00 of 24.00 GiB)",
        "oom": True,
    }
    assert failure(TrainingError("NaN"), 0.5, gpu) == {"error": "TrainingError: NaN"}
    assert failure(ConfigError("bad"), 0.0, None) == {"error": "ConfigError: bad"}
    assert failure(UserError("the disk is full"), 0.0, None) == {"mend": "the disk is full"}


def test_a_probe_finds_peak_and_step_of_the_heaviest_settings() -> None:
    found = measured([TrialConfig(hidden_dim=4), TrialConfig(hidden_dim=8)], tiny_corpus(), "cpu", FakeCuda())
    assert found.peak_bytes == 3 * GIB
    assert 0 < found.step_seconds < 60


def test_settings_that_no_gpu_holds_count_as_all_of_it() -> None:
    assert measured([TrialConfig(hidden_dim=4)], tiny_corpus(), "cpu", FakeCuda(fails=True)).peak_bytes == 24 * GIB
