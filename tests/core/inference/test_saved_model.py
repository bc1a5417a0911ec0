"""A saved model is loaded without a change, or not at all."""

import errno
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from core.config import TrialConfig
from core.errors import CorruptionError, UserError
from core.inference.members import LstmMember, Member, PlainMember
from core.inference.model_schema import parse_json
from core.inference.predictor import load_model
from core.inference.saved_model import CHECKSUMS, SHARED_FILES, read_model
from tests.support.models import CLASSES, WORDS, lstm, mixture, plain, resum, saved, weights_of

FILES = ("model.safetensors", *SHARED_FILES)
MEMBER_FILES = ("trial-0.safetensors", "trial-12.safetensors", "plain-baseline.safetensors")


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    found = read_model(saved(tmp_path, tokenizer="test-1"))
    assert (found.temperature, found.embedding_dim, found.tokenizer) == (1, 3, "test-1")
    assert (found.vocabulary.words, found.classes, found.text_column) == (WORDS, CLASSES, None)
    (member,) = found.members
    assert isinstance(member, LstmMember)
    assert (member.name, member.weight, member.config) == ("model", 1, TrialConfig(hidden_dim=4))
    expected = weights_of(TrialConfig(hidden_dim=4))
    assert member.weights.keys() == expected.keys()
    assert all(torch.equal(member.weights[name], expected[name]) for name in expected)


def test_a_model_keeps_the_text_column_of_its_data(tmp_path: Path) -> None:
    assert read_model(saved(tmp_path, text_column="body")).text_column == "body"
    settings = json.loads((tmp_path / "model/config.json").read_text())
    del settings["text_column"]  # as an older version wrote it
    (tmp_path / "model/config.json").write_text(json.dumps(settings))
    resum(tmp_path / "model")
    assert read_model(tmp_path / "model").text_column is None


def test_a_mixture_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    members = mixture()
    path = saved(tmp_path, *members, temperature=1.75)
    assert sorted(os.listdir(path)) == sorted((*MEMBER_FILES, *SHARED_FILES, CHECKSUMS))
    found = read_model(path)
    assert found.temperature == 1.75
    assert [(each.name, each.weight) for each in found.members] == [(each.name, each.weight) for each in members]
    for one, other in zip(found.members, members, strict=True):
        if isinstance(one, PlainMember):
            assert isinstance(other, PlainMember)
            for name in ("ngrams", "idf", "coefficients", "intercepts"):
                kept, given = getattr(one.baseline, name), getattr(other.baseline, name)
                assert kept.dtype == given.dtype
                np.testing.assert_array_equal(kept, given)
        else:
            assert isinstance(other, LstmMember)
            assert one.config == other.config
            assert all(torch.equal(one.weights[name], other.weights[name]) for name in other.weights)


def test_the_plain_baseline_alone_is_a_model(tmp_path: Path) -> None:
    path = saved(tmp_path, plain(intercepts=(0.5, -np.inf)))
    assert sorted(os.listdir(path)) == sorted(("plain-baseline.safetensors", *SHARED_FILES, CHECKSUMS))
    (member,) = read_model(path).members
    assert isinstance(member, PlainMember)
    assert member.baseline.intercepts.tolist() == [0.5, -np.inf]


@pytest.mark.parametrize(
    ("members", "temperature", "message"),
    [
        ([], 1, "members must be a list with a member"),
        ([lstm()], 0, "temperature must be a number from 0.05 to 20, got '0'"),
    ],
)
def test_what_is_no_mixture_is_not_saved(
    tmp_path: Path, members: list[Member], temperature: float, message: str
) -> None:
    """The rules are those of loading; tests/core/inference/test_model_schema.py has all of them."""
    with pytest.raises(CorruptionError, match=message):
        saved(tmp_path, members=members, temperature=temperature)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("replaced", ["config.json", "vocabulary.json", "metrics.json"])
def test_a_model_that_is_replaced_while_it_is_read_is_read_again(
    replaced: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path)
    words = ("<pad>", "<unk>", *reversed(WORDS[2:]))
    read: list[str] = []

    def replace(name: str, data: bytes) -> Any:
        read.append(name)
        if read.count(replaced) == 1 and name == replaced:
            saved(tmp_path, *mixture(), words=words)
        return parse_json(name, data)

    monkeypatch.setattr("core.inference.saved_model.parse_json", replace)
    found = read_model(path)
    assert [member.name for member in found.members] == [member.name for member in mixture()]
    assert found.vocabulary.words == words
    assert found.digest == load_model(path).digest != read_model(saved(tmp_path / "other")).digest


@pytest.mark.parametrize("data", [b"", bytes(100_000)])
def test_a_loaded_model_does_not_change_with_its_files(tmp_path: Path, data: bytes) -> None:
    """As `cp` and `rsync --inplace` write. A memory map of a file that becomes shorter ends the process."""
    path = saved(tmp_path, *mixture())
    model = load_model(path)
    expected = model.probabilities(["good", "bad"])
    for each in path.glob("*.safetensors"):
        each.write_bytes(data)
    assert np.array_equal(model.probabilities(["good", "bad"]), expected)


def test_a_file_that_is_overwritten_after_its_check_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path)
    other = (saved(tmp_path / "other", lstm(seed=1)) / "model.safetensors").read_bytes()

    def overwrite(name: str, data: bytes) -> Any:
        (path / "model.safetensors").write_bytes(other)
        return parse_json(name, data)

    monkeypatch.setattr("core.inference.saved_model.parse_json", overwrite)
    (member,) = read_model(path).members
    assert isinstance(member, LstmMember)
    expected = weights_of(TrialConfig(hidden_dim=4))
    assert all(torch.equal(member.weights[name], expected[name]) for name in expected)


def test_the_digest_is_that_of_the_files_that_prediction_needs(tmp_path: Path) -> None:
    first, other = read_model(saved(tmp_path, metrics={"loss": 1.0})), read_model(saved(tmp_path, metrics={}))
    assert re.fullmatch("[0-9a-f]{64}", first.digest)
    assert (first.digest, first.metrics, other.metrics) == (other.digest, {"loss": 1.0}, {})
    (tmp_path / "model" / "card.md").write_text("# another card\n")
    resum(tmp_path / "model")
    assert read_model(tmp_path / "model").digest == first.digest
    assert read_model(saved(tmp_path, temperature=2.0)).digest != first.digest


@pytest.mark.parametrize("name", [*MEMBER_FILES, *SHARED_FILES, CHECKSUMS])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, *mixture())
    (path / name).unlink()
    with pytest.raises(CorruptionError, match=rf"model is damaged: {name} is missing; run the command that saved it"):
        read_model(path)


@pytest.mark.parametrize("name", [*MEMBER_FILES, *SHARED_FILES])
def test_one_flipped_bit_is_found_and_its_file_named(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, *mixture())
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(CorruptionError, match=rf"{name} has changed since it was saved \(its sha256 is not the one in"):
        read_model(path)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"abc  config.json\n"])
def test_damaged_sums_are_named(tmp_path: Path, data: bytes) -> None:
    path = saved(tmp_path)
    (path / CHECKSUMS).write_bytes(data)
    with pytest.raises(CorruptionError, match="SHA256SUMS has changed since it was saved"):
        read_model(path)


@pytest.mark.parametrize("change", ["member", "shared", "foreign", "twice"])
def test_sums_of_other_files_are_named(tmp_path: Path, change: str) -> None:
    """Each change leaves the sums of the listed files correct."""
    path = saved(tmp_path, *mixture())
    lines = (path / CHECKSUMS).read_text().splitlines(keepends=True)
    if change == "foreign":
        (path / "notes.txt").touch()
        lines.append(f"{hashlib.sha256(b'').hexdigest()}  notes.txt\n")
    else:
        del lines[{"member": 0, "shared": -1, "twice": 1}[change]]
        lines += lines[:1] if change == "twice" else []
    (path / CHECKSUMS).write_text("".join(lines))
    with pytest.raises(CorruptionError, match="damaged: SHA256SUMS has changed since it was saved; run the command"):
        read_model(path)


def test_a_model_that_is_replaced_in_two_steps_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the file system cannot swap two names."""
    path = saved(tmp_path)
    new = path.rename(tmp_path / ".model.1234abcd")
    (tmp_path / ".model.old.abcdefgh").mkdir()
    monkeypatch.setattr("time.sleep", lambda _: new.rename(path))
    assert read_model(path).classes == CLASSES


def test_another_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a saved model; pass a folder"):
        read_model(tmp_path)


ENTRY = {"name": "model", "file": "model.safetensors", "weight": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": 2, "members": None}, "has layout 2, this version of sentune reads 3; retrain the trial$"),
        (
            {"members": [{**ENTRY, "kind": "lstm", "config": {"speed": 3}}]},
            "saved by another version .*unknown settings speed",
        ),
        ({"members": [{**ENTRY, "kind": "gru"}]}, "saved by another version .*unknown kind of member 'gru'"),
    ],
)
def test_a_model_of_another_version_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = saved(tmp_path)
    settings = json.loads((path / "config.json").read_text()) | change
    (path / "config.json").write_text(json.dumps(settings))
    resum(path)
    with pytest.raises(UserError, match=message):
        read_model(path)


HEADER = json.dumps({"x": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}).encode()


@pytest.mark.parametrize("data", [b"not tensors at all", len(HEADER).to_bytes(8, "little") + HEADER])
def test_weights_that_were_never_safetensors_are_named(tmp_path: Path, data: bytes) -> None:
    path = saved(tmp_path, *mixture())
    (path / "plain-baseline.safetensors").write_bytes(data)
    resum(path)
    with pytest.raises(CorruptionError, match=r"plain-baseline.safetensors cannot be read"):
        read_model(path)


@pytest.mark.parametrize("first", [[], mixture()])
def test_a_model_replaces_a_model(tmp_path: Path, first: list[Member]) -> None:
    saved(tmp_path, *first)
    path = saved(tmp_path, tokenizer="test-2")
    assert read_model(path).tokenizer == "test-2"
    assert sorted(os.listdir(path)) == sorted((*FILES, CHECKSUMS))
    assert os.listdir(tmp_path) == ["model"]


def test_a_damaged_model_can_be_saved_again(tmp_path: Path) -> None:
    (saved(tmp_path) / "labels.json").unlink()
    assert read_model(saved(tmp_path)).classes == CLASSES


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert read_model(saved(tmp_path)).classes == CLASSES


@pytest.mark.parametrize(
    "names",
    [
        ["thesis.tex"],
        ["config.json", "model.safetensors"],
        [*FILES, CHECKSUMS, "notes.txt"],
        [*FILES, CHECKSUMS, "trial-mine.safetensors"],
    ],
)
def test_a_folder_with_other_things_is_never_replaced(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "model").mkdir()
    for name in names:
        (tmp_path / "model" / name).write_text("dear")
    with pytest.raises(UserError, match=r"because it (contains '.*'|lacks SHA256SUMS), so it is not replaced"):
        saved(tmp_path)
    assert {name: (tmp_path / "model" / name).read_text() for name in names} == dict.fromkeys(names, "dear")


def test_a_failed_save_leaves_the_old_model(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        saved(tmp_path, metrics={"val_accuracy": float("nan")})
    assert read_model(path).classes == CLASSES
    assert os.listdir(tmp_path) == ["model"]


def test_a_failed_save_leaves_the_copy_that_a_killed_save_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without renameat2 a kill between the two renames leaves the model only under its temporary name."""
    old = saved(tmp_path).rename(tmp_path / ".model.old.abcdefgh")
    for path in (*old.iterdir(), old):
        os.utime(path, (0, 0))
    full = OSError(errno.ENOSPC, "full")
    monkeypatch.setattr("core.io.atomic.os.fsync", Mock(side_effect=full))
    with pytest.raises(UserError, match="the disk is full"):
        saved(tmp_path)
    assert len(read_model(old).members) == 1
    monkeypatch.undo()
    saved(tmp_path)
    assert not old.exists()


def test_a_model_that_this_user_may_not_read_is_not_called_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, **_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(UserError, match=r"theirs cannot be read \(Permission denied\); pass a folder that"):
        read_model(tmp_path / "theirs")
