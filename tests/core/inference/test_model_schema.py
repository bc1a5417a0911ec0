"""A model whose files were changed together with their digests is refused in one line, or works."""

import copy
import dataclasses
import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import CorruptionError, UserError
from core.inference.predictor import load_model
from core.inference.saved_model import LAYOUT
from tests.support.json_places import container, places
from tests.support.models import lstm, mixture, predictor, resum, saved

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2.5, 1e308, -1e308, math.nan, math.inf, 10**30, "", "x", "\ud800", "\x1b[31m"),
    *([], {}, [[]], [None], [1, 2], {"a": 1}, ["x", "x"], [["x"]], {"layout": LAYOUT}, "9" * 1000),
]
"""Values in place of others."""


def tamper(path: Path, file: str, change: Callable[[Any], Any]) -> Path:
    """Change a JSON file of a model, and its digest."""
    content = json.loads((path / file).read_text())
    (path / file).write_text(json.dumps(change(content)))
    resum(path)
    return path


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("labels.json", ["a", "a"], "labels.json has the label 'a' twice"),
        ("labels.json", [], "labels.json has no label"),
        ("labels.json", {"a": 1}, "labels.json must be a list of texts, got '{'a': 1}'"),
        ("labels.json", [[[[[[[[["a"]]]]]]]]], r"labels.json must be a list of texts, got '\[{7}\.\.\.\]{7}'"),
        ("labels.json", ["a", 1], "labels.json must be a list of texts"),
        ("labels.json", ["a", "b", "c"], "model.safetensors does not fit config.json, vocabulary.json and labels.json"),
        ("vocabulary.json", ["<pad>"], "vocabulary.json: a vocabulary must begin with <pad> and <unk>"),
        ("vocabulary.json", ["<pad>", "<unk>", "a", "a", "b", "c"], "vocabulary.json: .* once, got 'a' twice"),
        ("vocabulary.json", ["<pad>", "<unk>", []], "vocabulary.json must be a list of texts"),
        ("vocabulary.json", ["<pad>", "<unk>"], "model.safetensors does not fit config.json.*embedding.weight"),
        ("config.json", [], "config.json must be an object, got '\\[\\]'"),
        ("config.json", {"layout": LAYOUT}, "config.json has no tokenizer"),
        ("metrics.json", [], "metrics.json must be an object"),
        ("metrics.json", {"coverage": {}}, "metrics.json: coverage must be a list, got '{}'"),
        ("metrics.json", {"coverage": [{}]}, "metrics.json: coverage.0 has no min_probability"),
        (
            "metrics.json",
            {"coverage": [{"min_probability": 0.5, "sentences": 3, "correct": 4}]},
            "metrics.json: coverage.0.correct must be from 0 to 3, got '4'",
        ),
    ],
)
def test_a_file_of_another_content_is_named(tmp_path: Path, file: str, change: Any, message: str) -> None:
    path = tamper(saved(tmp_path), file, lambda _: change)
    with pytest.raises(CorruptionError, match=f"the model in .* is damaged: {message}"):
        load_model(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layout", "x", f"config.json: layout must be {LAYOUT}, got '\"x\"'"),
        ("tokenizer", 3, "config.json: tokenizer must be a text, got '3'"),
        ("text_column", 3, "config.json: text_column must be a text or null, got '3'"),
        ("embedding_dim", 10**12, "config.json: embedding_dim must be a whole number from 1 to 8192"),
        ("embedding_dim", 4, "model.safetensors does not fit config.json"),
        ("temperature", 0, "config.json: temperature must be a number from 0.05 to 20, got '0'"),
        ("temperature", math.nan, "config.json: temperature must be .*, got 'nan'"),
        ("temperature", math.inf, "config.json: temperature must be .*, got 'inf'"),
        ("members", [], "config.json: members must be a list with a member"),
        ("members.0", "x", "config.json: members.0 must be an object"),
        ("members.0.name", "../model", "config.json: members.0.name must be model, trial-NUMBER or plain-baseline"),
        ("members.0.name", "trial-../1", r"config.json: members.0.name must be .*, got '\"trial-\.\./1"),
        ("members.0.name", "trial-0", "config.json: members.0.file must be trial-0.safetensors"),
        ("members.0.file", "/etc/passwd", "config.json: members.0.file must be model.safetensors"),
        ("members.0.weight", 0.5, "config.json: the sum of the weights must be 1, got '0.5'"),
        ("members.0.weight", -1, "config.json: members.0.weight must be above 0 and at most 1, got '-1'"),
        ("members.0.weight", 1.5, r"config.json: members.0.weight must be .*, got '1\.5'"),
        ("members.0.weight", "1", "config.json: members.0.weight must be above 0 and at most 1, got '\"1\"'"),
        ("members.0.weight", math.nan, "config.json: members.0.weight must be .*, got 'nan'"),
        ("members.0.kind", "plain", "config.json: members.0.kind must be lstm"),
        ("members.0.config", [], "config.json: members.0.config must be an object"),
        ("members.0.config.hidden_dim", 8192, "model.safetensors does not fit config.json"),
    ],
)
def test_a_setting_that_breaks_its_rule_is_named(tmp_path: Path, key: str, value: Any, message: str) -> None:
    def change(settings: Any) -> Any:
        place = tuple(int(part) if part.isdigit() else part for part in key.split("."))
        container(settings, place)[place[-1]] = value
        return settings

    with pytest.raises(CorruptionError, match=f"the model in .* is damaged: {message}"):
        load_model(tamper(saved(tmp_path), "config.json", change))


def test_members_of_one_name_are_refused(tmp_path: Path) -> None:
    def change(settings: Any) -> Any:
        return settings | {"members": [settings["members"][0] | {"weight": 0.5}] * 2}

    with pytest.raises(CorruptionError, match=r"the members' names must be different, got .*trial-1.*trial-1"):
        load_model(tamper(saved(tmp_path, lstm("trial-1")), "config.json", change))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\xff", b"[" * 100_000, b"1" * 5000])
@pytest.mark.parametrize("file", ["config.json", "labels.json", "vocabulary.json", "metrics.json"])
def test_what_is_no_json_is_named(tmp_path: Path, file: str, data: bytes) -> None:
    path = saved(tmp_path)
    (path / file).write_bytes(data)
    resum(path)
    with pytest.raises(CorruptionError, match=rf"{file} is not JSON \('.*'\); run the command that saved it again"):
        load_model(path)


@pytest.mark.parametrize(
    ("file", "name", "change", "message"),
    [
        ("trial-0", "embedding.weight", torch.Tensor.double, "'embedding.weight' must be float32, got float64"),
        (
            "trial-0",
            "output.bias",
            lambda x: x * math.nan,
            "'output.bias' contains a value that is no number, or is too large",
        ),
        (
            "trial-0",
            "output.bias",
            lambda x: x * 0 - math.inf,
            "'output.bias' contains a value that is no number, or is too large",
        ),
        ("trial-0", "output.bias", lambda x: x[:1], "does not fit config.json"),
        ("trial-0", "other", lambda _: torch.zeros(1), "does not fit config.json"),
        ("plain-baseline", "idf", torch.Tensor.double, "'idf' must be float32, got float64"),
        ("plain-baseline", "idf", lambda x: x[0], "does not fit config.json"),
        ("plain-baseline", "ngrams", lambda x: x[:, :1], "does not fit config.json"),
        ("plain-baseline", "ngrams", lambda x: x.flip(0), ".*: its n-grams are not in order, or have unknown words"),
        ("plain-baseline", "ngrams", lambda x: x + 9, ".*: its n-grams are not in order, or have unknown words"),
        ("plain-baseline", "ngrams", lambda x: -x.flip(0), ".*: its n-grams are not in order, or have unknown words"),
        ("plain-baseline", "ngrams", lambda x: x * 0 + 2, ".*: its n-grams are not in order, or have unknown words"),
        ("plain-baseline", "coefficients", lambda x: torch.cat([x, x[:1]]), r"does not fit config.json.*\(3, 3\)"),
        ("plain-baseline", "intercepts", lambda x: x[0], "does not fit config.json"),
        (
            "plain-baseline",
            "intercepts",
            lambda x: x * 0 - math.inf,
            "'intercepts' contains a value that is no number",
        ),
        ("plain-baseline", "other", lambda _: torch.zeros(1), " must hold ngrams, idf, coefficients, intercepts, got"),
    ],
)
def test_tensors_that_cannot_be_used_are_named(
    tmp_path: Path, file: str, name: str, change: Callable[[Any], Any], message: str
) -> None:
    path = saved(tmp_path, *mixture())
    tensors = load_file(path / f"{file}.safetensors")
    tensors = {key: value.clone() for key, value in tensors.items()}
    tensors[name] = change(tensors.get(name)).contiguous()
    save_file(tensors, path / f"{file}.safetensors")
    resum(path)
    with pytest.raises(CorruptionError, match=rf"is damaged: {file}.safetensors:? ?{message}.*; run the command"):
        load_model(path)


def test_weights_that_are_too_large_give_no_answer() -> None:
    member = lstm()
    huge = dataclasses.replace(member, weights={key: value * 0 + 3e38 for key, value in member.weights.items()})
    with pytest.raises(CorruptionError, match="the model's weights give no probabilities; run the command that"):
        predictor(huge).predict(["good"])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "SHA256SUMS"])
def test_a_pipe_in_a_model_is_not_waited_for(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path)
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(CorruptionError, match=rf"{name} cannot be read \(it is a pipe, a device or a socket\)"):
        load_model(path)


def test_an_onnx_export_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "labels.json").touch()
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match=r"is an ONNX export; run its example.py, or pass the model folder that was"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "n" * 300, "\0", "a/" * 3000])
def test_a_name_that_cannot_be_is_no_model(name: str) -> None:
    with pytest.raises(UserError, match=r"(?s)there is no saved model at .*; pass a folder that `sentune retrain`"):
        load_model(name)


def refusal(path: Path) -> str:
    """Use a model; return the message of the error, empty if it works."""
    try:
        load_model(path).predict(["good bad", ""])
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_any_other_value_anywhere_is_refused_or_works(tmp_path: Path) -> None:
    """Never a traceback. Of each file, 60 values are replaced, removed or doubled."""
    draw = random.Random(0)
    path = saved(tmp_path, *mixture(), metrics={"coverage": [{"min_probability": 0.5, "sentences": 9, "correct": 5}]})
    refused = 0
    for file in ("config.json", "labels.json", "vocabulary.json", "metrics.json"):
        original = (path / file).read_bytes()
        for _ in range(60):
            document = [json.loads(original)]
            place = draw.choice(list(places(document)))
            parent, last = container(document, place), place[-1]
            if draw.random() < 0.2 and len(place) > 1:
                del parent[last]
            elif isinstance(parent, list) and draw.random() < 0.2:
                parent.append(copy.deepcopy(parent[last]))
            else:
                parent[last] = copy.deepcopy(draw.choice(ODD))
            (path / file).write_text(json.dumps(document[0]))
            resum(path)
            message = refusal(path)
            assert "\n" not in message
            refused += bool(message)
        (path / file).write_bytes(original)
    assert 100 < refused < 240
