"""tuning.backend.worker: the results of failed trials."""

import torch

from core.errors import ConfigError, TrainingError, UserError
from tuning.backend.worker import failure_result
from tuning.resources.gpu import GIB, Gpu


def test_out_of_memory_differs_from_other_failures() -> None:
    gpu = Gpu(name="Test", bytes=24 * GIB)
    oom = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
    assert failure_result(oom, 0.5, gpu) == {
        "error": "out of GPU memory: requested 1.00 GiB, with a share of 0.5 of Test (12.00 of 24.00 GiB)",
        "oom": True,
    }
    assert failure_result(TrainingError("NaN"), 0.5, gpu) == {"error": "TrainingError: NaN"}
    assert failure_result(ConfigError("bad"), 0.0, None) == {"error": "ConfigError: bad"}
    assert failure_result(UserError("the disk is full"), 0.0, None) == {"user_error": "the disk is full"}
