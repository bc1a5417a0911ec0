"""A saved model comes back as it was, or not at all."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from core.config import TrialConfig
from core.errors import CorruptionError, UserError
from core.inference.saved_model import CHECKSUMS, MODEL_FILES, check_model_folder, read_model
from tests.support.models import CLASSES, WORDS, resum, saved, weights_of


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    found = read_model(saved(tmp_path))
    assert (found.config, found.embedding_dim, found.tokenizer) == (TrialConfig(hidden_dim=4), 3, "test-1")
    assert (found.vocabulary.words, found.classes) == (WORDS, CLASSES)
    expected = weights_of(TrialConfig(hidden_dim=4))
    assert found.weights.keys() == expected.keys()
    assert all(torch.equal(found.weights[name], expected[name]) for name in expected)


def test_the_folder_holds_what_the_design_names(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert sorted(os.listdir(path)) == sorted((*MODEL_FILES, CHECKSUMS))
    assert json.loads((path / "metrics.json").read_text()) == {"val_accuracy": 0.5}
    assert (path / "card.md").read_text() == "# a card\n"


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    one, other = saved(tmp_path / "a"), saved(tmp_path / "b")
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in (*MODEL_FILES, CHECKSUMS))


@pytest.mark.skipif(not Path("/usr/bin/sha256sum").exists(), reason="no sha256sum here")
def test_the_sums_can_be_checked_without_us(tmp_path: Path) -> None:
    subprocess.run(["/usr/bin/sha256sum", "--check", "--strict", CHECKSUMS], cwd=saved(tmp_path), check=True)


@pytest.mark.parametrize("name", [*MODEL_FILES, CHECKSUMS])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path)
    (path / name).unlink()
    with pytest.raises(CorruptionError, match=rf"model is damaged: {name} is missing; save it again with `sentune"):
        read_model(path)


@pytest.mark.parametrize("name", MODEL_FILES)
def test_one_flipped_bit_is_found_and_its_file_named(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path)
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(CorruptionError, match=rf"{name} is not what was saved \(its sha256 is not the one in"):
        read_model(path)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"abc  config.json\n"])
def test_damaged_sums_are_named(tmp_path: Path, data: bytes) -> None:
    path = saved(tmp_path)
    (path / CHECKSUMS).write_bytes(data)
    with pytest.raises(CorruptionError, match="SHA256SUMS is not what was saved"):
        read_model(path)


def test_a_file_that_became_a_folder_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (path / "labels.json").unlink()
    (path / "labels.json").mkdir()
    with pytest.raises(CorruptionError, match=r"labels.json cannot be read"):
        read_model(path)


def test_no_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no saved model at .*nothing: give a folder that `sentune retrain`"):
        read_model(tmp_path / "nothing")


def test_another_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a saved model: give a folder"):
        read_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": 1}, "has layout 1, this version of sentune reads 2: retrain the trial"),
        ({"config": {"speed": 3}}, "saved by another version .* unknown settings speed"),
    ],
)
def test_a_model_of_another_version_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = saved(tmp_path)
    settings = json.loads((path / "config.json").read_text()) | change
    (path / "config.json").write_text(json.dumps(settings))
    resum(path)
    with pytest.raises(UserError, match=message):
        read_model(path)


def test_weights_that_were_never_safetensors_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (path / "model.safetensors").write_bytes(b"not tensors at all")
    resum(path)
    with pytest.raises(CorruptionError, match=r"model.safetensors cannot be read"):
        read_model(path)


def test_a_model_replaces_a_model(tmp_path: Path) -> None:
    saved(tmp_path)
    path = saved(tmp_path, tokenizer="test-2")
    assert read_model(path).tokenizer == "test-2"
    assert os.listdir(tmp_path) == ["model"]


def test_a_damaged_model_can_be_saved_again(tmp_path: Path) -> None:
    (saved(tmp_path) / "labels.json").unlink()
    assert read_model(saved(tmp_path)).classes == CLASSES


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert read_model(saved(tmp_path)).classes == CLASSES


@pytest.mark.parametrize(
    "names", [["thesis.tex"], ["config.json", "model.safetensors"], [*MODEL_FILES, CHECKSUMS, "notes.txt"]]
)
def test_a_folder_with_other_things_is_never_replaced(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "model").mkdir()
    for name in names:
        (tmp_path / "model" / name).write_text("dear")
    with pytest.raises(UserError, match=r"holds something that is no saved model \('.*'\) and is not replaced"):
        saved(tmp_path)
    assert {name: (tmp_path / "model" / name).read_text() for name in names} == dict.fromkeys(names, "dear")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("dear")
    with pytest.raises(UserError, match="model is a file: choose another folder"):
        check_model_folder(tmp_path / "model")


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "model").symlink_to(tmp_path / "disk")
    saved(tmp_path)
    assert (tmp_path / "model").is_symlink()
    assert read_model(tmp_path / "disk").classes == CLASSES


def test_a_failed_save_leaves_the_old_model(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        saved(tmp_path, metrics={"val_accuracy": float("nan")})
    assert read_model(path).classes == CLASSES
    assert os.listdir(tmp_path) == ["model"]


def test_looking_at_the_target_loads_no_torch() -> None:
    code = "import sys, core.inference.saved_model; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
