"""Threads and memory during training."""

import resource
import sys

import pytest
import torch

from core.nn.runtime import autocast, torch_threads, training_memory


def test_threads_are_given_back_after_an_error() -> None:
    torch.set_num_threads(2)
    with pytest.raises(KeyError), torch_threads(1):
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(8_000_000)  # 32 MB, 8,000 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with training_memory():
        faults()
        assert faults() < 800


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
