"""tuning.resources.gpu: devices, limits and fractions, for simulated machines."""

import dataclasses
import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from core.config import TrialConfig
from core.errors import ConfigError
from core.training.learner import Learner
from tests.support.corpora import in_folds, tiny_corpus
from tuning.resources import profiling
from tuning.resources.gpu import (
    GIB,
    Gpu,
    GpuShareChoice,
    assigned_device,
    choose_share,
    claim_gpu,
    count_visible,
    out_of_memory,
)
from tuning.resources.profiling import STEPS, measure_gpu

SIZES = {"cuda:0": 24, "cuda:1": 80}


def gpu(gib: float) -> Gpu:
    return Gpu(name="NVIDIA Test", bytes=int(gib * GIB))


@pytest.mark.parametrize(
    ("peak", "gpus", "by_cpu", "share"),
    [
        (1.0, [80], 64, 0.0625),  # no more than 16 trials on one GPU
        (9.0, [80], 64, 0.1666),
        (1.0, [80], 4, 0.25),  # four cores, four trials
        (1.0, [80, 80], 4, 0.5),
        (9.0, [80, 24], 64, 0.5),  # the smallest GPU decides
        (60.0, [80], 64, 1.0),
        (200.0, [80], 64, 1.0),
    ],
)
def test_as_many_trials_share_a_gpu_as_memory_and_cores_allow(
    peak: float, gpus: list[float], by_cpu: int, share: float
) -> None:
    assert choose_share(int(peak * GIB), [gpu(each) for each in gpus], by_cpu).share == share


def test_a_choice_is_kept_and_read_again() -> None:
    choice = choose_share(int(GIB), [gpu(24)], 8)
    assert GpuShareChoice(**dataclasses.asdict(choice)) == choice
    assert "0.125 of a GPU per trial" in str(choice)
    assert "The heaviest settings took 1.00 GiB; with a margin" in str(choice)
    assert "may not fit" not in str(choice)
    assert "the heaviest may not fit even alone" in str(choose_share(int(30 * GIB), [gpu(24)], 8))


@pytest.mark.parametrize(
    ("assigned", "visible", "device"),
    [
        ([3], "3", "cuda:0"),  # Ray set CUDA_VISIBLE_DEVICES: the worker sees its GPU alone
        ([3], None, "cuda:3"),  # Ray leaves it alone, and it is not set
        ([5], "4,5", "cuda:1"),  # the same, and it was set from outside
        (["5"], "4, 5", "cuda:1"),
        (["GPU-aa"], "GPU-bb,GPU-aa", "cuda:1"),
        (["MIG-x"], "MIG-x", "cuda:0"),
        (["MIG-x"], None, "cuda:0"),
        ([7], "0", "cuda:0"),
    ],
)
def test_a_worker_takes_the_gpu_that_it_was_given(assigned: list[int | str], visible: str | None, device: str) -> None:
    assert assigned_device(assigned, visible) == device


@pytest.mark.parametrize(
    ("seen", "visible", "count"),
    [
        (2, None, 2),
        (1, "3", 1),
        (0, "", 0),
        (0, "-1", 0),
        (1, "MIG-a,MIG-b,MIG-c", 3),
        (0, "MIG-a,MIG-b", 0),
        (0, "0,1", 0),  # torch can use no GPU of this machine
    ],
)
def test_mig_instances_count_each_and_numbers_as_torch_sees_them(seen: int, visible: str | None, count: int) -> None:
    assert count_visible(seen, visible) == count


@pytest.mark.parametrize(
    ("visible", "message"),
    [
        ("0,0", "names a GPU twice; name existing GPUs, each once"),
        ("MIG-a,0", "mixes MIG instances with whole GPUs"),
        ("0,9", "names 2 GPUs, of which torch finds 1; name existing GPUs"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(visible: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"CUDA_VISIBLE_DEVICES={visible} {message}"):
        count_visible(1, visible)


def test_out_of_memory_says_what_was_asked_for_and_the_share() -> None:
    said = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB of which 3.2 GiB is "
        "free. 5.91 GiB allowed; Of the allocated memory 4.90 GiB is allocated by PyTorch, and 8.00 MiB is reserved"
    )
    text = out_of_memory(said, 0.25, gpu(24))
    assert text == (
        "out of GPU memory: requested 2.00 GiB besides 4.90 GiB in use, with a share of 0.25 of NVIDIA Test "
        "(6.00 of 24.00 GiB; 3.2 GiB free)"
    )
    assert "requested more, with a share" in out_of_memory("no words that we know", 0.25, gpu(24))


class FakeCuda:
    """torch.cuda of a machine with a small and a large GPU."""

    def __init__(self, *, fails: Exception | None = None) -> None:
        self.limits: list[tuple[Any, ...]] = []
        self.fails = fails

    def get_device_properties(self, device: str) -> Any:
        return SimpleNamespace(name=f"GPU {device}", total_memory=int(SIZES.get(device, 24) * GIB))

    def init(self) -> None:
        self.limits.append(("init",))

    def empty_cache(self) -> None:
        self.limits.append(("empty",))

    def set_per_process_memory_fraction(self, fraction: float, device: str) -> None:
        self.limits.append((device, round(fraction * SIZES[device], 2)))

    def reset_peak_memory_stats(self, device: str) -> None:
        self.limits.append(("reset", device))

    def max_memory_reserved(self, device: str) -> int:
        if self.fails is not None:
            raise self.fails
        return int(3 * GIB)


@pytest.fixture(scope="module", autouse=True)
def _little_to_collect() -> None:
    """What the process has imported makes each collection of garbage take almost a second."""
    gc.collect()
    gc.freeze()


def test_the_cap_is_the_share_of_the_gpu_that_the_worker_got() -> None:
    """Less what CUDA itself takes; and what an earlier trial left is freed first."""
    cuda = FakeCuda()
    assert claim_gpu(0.5, [1], "0,1", cuda) == ("cuda:1", Gpu(name="GPU cuda:1", bytes=int(80 * GIB)))
    assert cuda.limits == [("empty",), ("cuda:1", 39.41)]
    claim_gpu(1.0, [1], "0,1", cuda)
    assert cuda.limits[-1] == ("cuda:1", 80)


def test_the_memory_of_one_configuration_is_freed_before_the_next_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Weights:
        """Memory of a training that only the garbage collector frees."""

        def __init__(self) -> None:
            self.itself = self

    weights: weakref.WeakSet[Weights] = weakref.WeakSet()

    def steps(*_: Any, **__: Any) -> Iterator[int]:
        own = Weights()
        weights.add(own)
        while True:
            yield 1

    cuda, left, peaks = FakeCuda(), list[int](), [1, 3, 2]
    monkeypatch.setattr(profiling, "training_steps", steps)
    monkeypatch.setattr(cuda, "empty_cache", lambda: left.append(len(weights)))
    monkeypatch.setattr(cuda, "max_memory_reserved", lambda device: peaks.pop())
    assert measure_gpu([TrialConfig()] * 3, tiny_corpus(), "cpu", cuda) == 3
    assert left == [0, 0, 0]


def test_the_learners_of_all_folds_are_in_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a trial of a study with `--validation folds:3`."""
    learners, counts = [0], []

    def steps(*_: Any, most_memory: bool = False) -> Iterator[int]:
        assert most_memory
        learners[0] += 1
        try:
            while True:
                counts.append(learners[0])
                yield 1
        finally:
            learners[0] -= 1

    monkeypatch.setattr(profiling, "training_steps", steps)
    measure_gpu([TrialConfig(), TrialConfig()], in_folds(tiny_corpus(), 3), "cpu", FakeCuda())
    assert (max(counts), learners) == (3, [0])


def test_the_averaged_weights_of_all_folds_are_in_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the evaluation of a trial in folds."""
    usual, tables, sizes = Learner.evaluation_weights, weakref.WeakSet[Any](), list[int]()

    def counted(learner: Learner) -> dict[str, Any]:
        weights = usual(learner)
        tables.add(weights["embedding.weight"])
        sizes.append(len(tables))
        return weights

    monkeypatch.setattr(Learner, "evaluation_weights", counted)
    measure_gpu([TrialConfig(hidden_dim=4, ema_decay=0.9)], in_folds(tiny_corpus(), 3), "cpu", FakeCuda())
    assert max(sizes) == 3
    assert len(sizes) == 3 * STEPS


def test_settings_that_no_gpu_holds_count_as_all_of_it() -> None:
    error = RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
    assert measure_gpu([TrialConfig(hidden_dim=4)], tiny_corpus(), "cpu", FakeCuda(fails=error)) == 24 * GIB


def test_another_error_of_the_probe_is_raised() -> None:
    with pytest.raises(RuntimeError, match="illegal memory access"):
        measure_gpu(
            [TrialConfig(hidden_dim=4)], tiny_corpus(), "cpu", FakeCuda(fails=RuntimeError("illegal memory access"))
        )
