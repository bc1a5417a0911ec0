"""Threads and memory during training."""

import os
import subprocess
import sys
import threading
import warnings
from types import SimpleNamespace

import pytest
import torch

from core.nn.runtime import autocast, deterministic_kernels, subnormals_as_zero, torch_threads
from tests.support.loaded import ROOT
from tests.support.patience import PATIENCE_SECONDS


def test_threads_start_also_if_the_caller_has_a_default_device() -> None:
    with torch.device("meta"), torch_threads(2):
        assert torch.get_num_threads() == 2


FAULTS = """
import resource
from core.nn.runtime import training_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(8_000_000)  # 32 MB, 8,000 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
with training_memory():
    faults()
    print(faults())
"""


def test_a_training_on_a_gpu_does_not_repeat_torchs_warning_about_weights_in_one_vector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All other warnings pass; they are errors in the tests."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic_kernels would leave it set
    monkeypatch.setattr("torch.use_deterministic_algorithms", lambda *_, **__: None)  # its imports take seconds
    advice = "RNN module weights are not part of single contiguous chunk of memory. This means they need to be"
    with deterministic_kernels("cuda"):
        warnings.warn(advice, stacklevel=1)
        with pytest.raises(UserWarning, match="RNN module weights are odd"):
            warnings.warn("RNN module weights are odd", stacklevel=1)
    with pytest.raises(UserWarning, match="not part of single"):
        warnings.warn(advice, stacklevel=1)


def test_a_training_on_a_gpu_allows_only_deterministic_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bool, dict[str, bool]]] = []
    monkeypatch.setattr("torch.use_deterministic_algorithms", lambda on, **how: asked.append((on, how)))
    monkeypatch.setattr("torch.backends.cudnn.benchmark", True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is as before after the test
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    with deterministic_kernels("cuda"):
        assert (asked, torch.backends.cudnn.benchmark) == ([(True, {})], False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert asked[1:] == [(False, {"warn_only": False})]
    assert torch.backends.cudnn.benchmark


def test_subnormals_are_zero_inside_the_block_only() -> None:
    def smallest() -> float:
        return float(torch.full((1,), 1e-30) * 1e-9)

    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot")
    with subnormals_as_zero():
        assert smallest() == 0
        with subnormals_as_zero():
            pass
        assert smallest() == 0
    assert smallest() > 0
    with pytest.raises(KeyError), subnormals_as_zero():
        raise KeyError
    assert smallest() > 0


def test_subnormals_are_as_before_whatever_the_callers_default_dtype_is() -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot")
    torch.set_default_dtype(torch.float16)
    try:
        with subnormals_as_zero():
            pass
    finally:
        torch.set_default_dtype(torch.float32)
    subnormal = float(torch.full((1,), 1e-30) * 1e-9)
    torch.set_flush_denormal(False)
    assert subnormal > 0


MANY_SHAPES = """
import psutil
from core.nn.runtime import limit_cached_kernels
limit_cached_kernels(128)
layer = torch.nn.Linear(128, 64)
used = []
with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
    for rows in range(2, 602):
        layer(torch.zeros(rows, 128))
        used.append(psutil.Process().memory_info().rss)
print(used[-1] - used[199])
"""


SUBNORMALS = """
from core.nn.runtime import torch_threads
with torch_threads(2):
    print(int((torch.full((2**18,), 1e-30) * 1e-9).count_nonzero()))
"""
LENGTHS = """
import psutil
from pathlib import Path
from core import load_model
torch.set_num_threads(1)
model, used = load_model(Path("tests/golden/model")), []
for length in range(1, 300):
    model.predict(["film " * length] * (1 + length % 7))
    used.append(psutil.Process().memory_info().rss)
print(used[-1] - used[149])
"""
FORKED = """
import os, signal
from tests.support.models import lstm, predictor
model = predictor(lstm(seed=1))
torch.set_num_threads(2)
torch.ones(1_000_000).sum()  # starts torch's second thread
child = os.fork()
if child == 0:
    signal.alarm(60)
    model.predict(["good"])
    torch.ones(1_000_000).sum()
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
FORKS = """
import os, sys, traceback
import torch
for code in sys.argv[1:]:
    if not os.fork():
        try:
            exec(code, {"torch": torch})
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.wait()[1] == 0
"""


@pytest.fixture(scope="module")
def printed() -> dict[str, int]:
    """What each script prints in a process that has imported torch, and in which torch has done nothing yet."""
    env = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
    scripts = (FAULTS, MANY_SHAPES, SUBNORMALS, LENGTHS, FORKED)
    ended = subprocess.run(
        [sys.executable, "-c", FORKS, *scripts], capture_output=True, text=True, check=False, env=env, cwd=ROOT
    )
    assert ended.returncode == 0, ended.stderr
    return dict(zip(scripts, map(int, ended.stdout.split()), strict=True))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_without_page_faults(printed: dict[str, int]) -> None:
    """In a process of its own: other tests leave holes in the memory of this one."""
    assert printed[FAULTS] < 800


@pytest.mark.slow
def test_kernels_of_many_shapes_in_bf16_do_not_fill_the_memory(printed: dict[str, int]) -> None:
    """Where the processor computes in bf16, each shape would otherwise keep 0.7 MB."""
    assert printed[MANY_SHAPES] < 60e6


@pytest.mark.slow
def test_threads_that_torch_starts_for_a_training_count_subnormals_as_zero(printed: dict[str, int]) -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot")
    assert printed[SUBNORMALS] == 2**17  # those of the first thread


@pytest.mark.slow
def test_kernels_of_texts_of_many_lengths_do_not_fill_the_memory(printed: dict[str, int]) -> None:
    assert printed[LENGTHS] < 20e6  # 80 MB with 1,024 kernels


@pytest.mark.slow
def test_a_forked_process_does_not_wait_for_threads_that_it_does_not_have(printed: dict[str, int]) -> None:
    assert printed[FORKED] == 0


def test_bf16_runs_on_processors_for_which_onednn_has_no_bf16_lstm(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN raises on them; torch's own kernels emulate bf16, and oneDNN's are back after the block."""
    lstm, sentences = torch.nn.LSTM(8, 4), torch.ones(3, 2, 8)
    for supported in (True, False):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda answer=supported: answer)
        with autocast("bf16", "cpu"):
            assert torch.backends.mkldnn.enabled is supported
            if not supported:
                states, _ = lstm(sentences)
        assert torch.backends.mkldnn.enabled
    states.sum().backward()
    assert lstm.weight_ih_l0.grad.isfinite().all()


def test_bf16_runs_in_a_torch_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that for macOS."""
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    monkeypatch.setattr("torch.ops.mkldnn", SimpleNamespace())
    lstm = torch.nn.LSTM(8, 4)
    with autocast("bf16", "cpu"):
        assert lstm(torch.ones(3, 2, 8))[0].isfinite().all()


def test_threads_that_emulate_bf16_leave_onednn_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a web application that predicts in several threads."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    inside, leave = threading.Event(), threading.Event()
    seen: list[bool] = []

    def first() -> None:
        with autocast("bf16", "cpu"):
            inside.set()
            leave.wait(PATIENCE_SECONDS)

    def second() -> None:
        with autocast("bf16", "cpu"):
            seen.append(torch.backends.mkldnn.enabled)

    threads = [threading.Thread(target=target, daemon=True) for target in (first, second)]
    threads[0].start()
    assert inside.wait(PATIENCE_SECONDS)
    threads[1].start()
    threads[1].join(0.1)
    assert seen == []  # it waits for the first one
    leave.set()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert seen == [False]
    assert torch.backends.mkldnn.enabled
