"""core.nn.precision: who has instructions for bf16."""

import pytest
import torch

from core.nn import precision
from core.nn.precision import computes_in_bf16


@pytest.mark.parametrize(
    ("flags", "has"),
    [("fpu avx512f avx512_bf16 sse", True), ("amx_tile", True), ("avx512f avx512_bf16x", False), ("", False)],
)
def test_bf16_is_for_processors_that_have_it(flags: str, has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "about_processor", {"flags": flags}.__getitem__)
    assert computes_in_bf16("cpu") is has


def test_this_processor_has_what_torch_finds() -> None:
    """Its names are private, so it is asked here only."""
    asked = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")]
    if None in asked:
        pytest.skip("this torch does not tell")
    assert computes_in_bf16("cpu") == any(ask() for ask in asked if ask)


def test_a_gpu_is_asked_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: not including_emulation)
    assert computes_in_bf16("cuda")
