"""core.nn.environment: everything besides torch on which bit-identical results depend."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from core.errors import ConfigError
from core.nn import environment
from core.nn.environment import check_precision, gains_from_bf16, runtime_environment


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
        ("plain_baseline.py", False),
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


def test_processors_of_arm_are_distinguished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux does not name them, and `uname -p` is the same for all Macs."""
    fields = {"model name": "", "CPU implementer": "0x41", "CPU part": "0xd40"}
    monkeypatch.setattr(environment, "cpuinfo", fields.__getitem__)
    monkeypatch.setattr(environment, "sys", SimpleNamespace(platform="linux"))
    assert environment.cpu_model().endswith(" 0x41 0xd40")
    monkeypatch.setattr(environment, "sys", SimpleNamespace(platform="darwin"))
    answer = SimpleNamespace(stdout="Apple M3 Pro\n")
    monkeypatch.setattr(environment, "subprocess", SimpleNamespace(run=lambda *_, **__: answer))
    assert environment.cpu_model() == "Apple M3 Pro"


@pytest.mark.parametrize(
    ("vendor", "flags", "gains"),
    [
        ("AuthenticAMD", "fpu avx512f avx512_bf16 sse", True),
        ("GenuineIntel", "avx512_bf16 amx_tile", True),
        ("GenuineIntel", "avx512f avx512_bf16 avx512_fp16", False),  # measured: an epoch takes 1.5 times as long
        ("AuthenticAMD", "avx512f avx512_bf16x", False),
        ("", "", False),
    ],
)
def test_bf16_is_for_processors_that_are_faster_in_it(
    vendor: str, flags: str, gains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "cpuinfo", {"vendor_id": vendor, "flags": flags}.__getitem__)
    assert gains_from_bf16("cpu") is gains


def test_this_processor_has_what_torch_finds() -> None:
    """Its names are private, so it is asked here only."""
    asked = {name: getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")}
    if None in asked.values():
        pytest.skip("this torch does not tell")
    for name, ask in asked.items():
        assert (name in environment.cpuinfo("flags").split()) == ask()  # type: ignore[misc]


def test_a_gpu_trains_in_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's autocast would compute its LSTMs in fp16, whether the GPU has bf16 or not."""
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: True)
    assert not gains_from_bf16("cuda")
    check_precision("fp32", "cuda:1")
    check_precision("bf16", "cpu")
    check_precision("bf16", "cpu:0")
    with pytest.raises(
        ConfigError, match=r"^precision bf16 is for CPUs: on a GPU, torch's autocast .* in fp16; choose fp32$"
    ):
        check_precision("bf16", "cuda:1")


def test_the_environment_of_a_gpu_is_the_same_inside_and_outside_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's kernels are deterministic in each training, but not where `retrain` compares environments."""
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "GPU X")
    outside = runtime_environment("fp32", 1, "cuda")
    monkeypatch.setattr("torch.are_deterministic_algorithms_enabled", lambda: True)
    assert runtime_environment("fp32", 1, "cuda") == outside
    assert outside["device"] == "GPU X"


@pytest.mark.parametrize("rnn", ["tf32", "ieee", None])
def test_tf32_is_recorded_for_a_gpu_where_its_lstms_use_it(rnn: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """None: torch before 2.9, which has one setting for all of cuDNN."""
    own = {"allow_tf32": True} if rnn is None else {"rnn": SimpleNamespace(fp32_precision=rnn)}
    monkeypatch.setattr("torch.backends.cudnn", SimpleNamespace(**own))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "GPU X")
    assert runtime_environment("fp32", 1, "cuda")["tf32"] is (rnn != "ieee")
    assert runtime_environment("fp32", 1, "cpu")["tf32"] is False
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")  # NVIDIA's libraries obey it
    assert runtime_environment("fp32", 1, "cuda")["tf32"] is False


def test_torch_computes_lstms_in_tf32_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "GPU X")
    assert runtime_environment("fp32", 1, "cuda")["tf32"] is True
