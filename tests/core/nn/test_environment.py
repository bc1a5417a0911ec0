"""core.nn.environment: everything besides torch on which bit-identical results depend."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from core.nn import environment
from core.nn.environment import supports_bf16


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that may be edited."""
    folder = tmp_path / "core"
    shutil.copytree(Path(environment.__file__).parents[1], folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(environment, "__file__", str(folder / "nn" / "environment.py"))
    return folder


def test_the_same_code_in_another_place_has_the_same_digest(elsewhere: Path) -> None:
    digest = environment.code_digest.__wrapped__()
    assert digest == environment.code_digest()
    assert re.fullmatch("[0-9a-f]{16}", digest)


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("training/optim.py", True),
        ("nn/a_new_one.py", True),
        ("data/corpus.py", True),
        ("config.py", True),
        ("log_odds.py", True),
        ("metrics.py", True),
        ("data/audit.py", False),
        ("inference/model_card.py", False),
    ],
)
def test_the_digest_changes_with_the_training_code_alone(elsewhere: Path, file: str, counts: bool) -> None:
    before = environment.code_digest.__wrapped__()
    with (elsewhere / file).open("a") as code:
        code.write("# one line more\n")
    assert (environment.code_digest.__wrapped__() != before) is counts


def test_the_processor_has_a_name() -> None:
    assert environment.cpu_model().strip() == environment.cpu_model() != ""


@pytest.mark.parametrize(
    ("flags", "has"),
    [("fpu avx512f avx512_bf16 sse", True), ("amx_tile", True), ("avx512f avx512_bf16x", False), ("", False)],
)
def test_bf16_is_for_processors_that_have_it(flags: str, has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cpuinfo", {"flags": flags}.__getitem__)
    assert supports_bf16("cpu") is has


def test_this_processor_has_what_torch_finds() -> None:
    """Its names are private, so it is asked here only."""
    asked = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")]
    if None in asked:
        pytest.skip("this torch does not tell")
    assert supports_bf16("cpu") == any(ask() for ask in asked if ask)


def test_a_gpu_is_asked_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: not including_emulation)
    assert supports_bf16("cuda")
