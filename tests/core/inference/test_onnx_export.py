"""core.inference.onnx_graph and core.inference.onnx_export: onnxruntime computes the model's probabilities."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core.inference.onnx_export
from core.config import POOLINGS, TrialConfig
from core.data.tokenizer import TOKENIZERS, tokenizer_version
from core.errors import UserError
from core.inference.members import LstmMember, Member
from core.inference.onnx_export import ONNX_FILES, export_onnx, largest_difference
from core.inference.predictor import Predictor, load_model, pad_token_ids
from core.io.checked_folder import CHECKSUMS
from tests.support.models import lstm, mixture, plain, predictor, saved

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")
graphs = pytest.importorskip("core.inference.onnx_graph")

WORDS = ("<pad>", "<unk>", *(f"w{i}" for i in range(50)))


def made(*members: Member, temperature: float = 1.0) -> tuple[Predictor, bytes]:
    model = predictor(*members, temperature=temperature, words=WORDS, classes=("a", "b", "c"))
    return model, graphs.build_graph(members, 3, temperature).SerializeToString()


def one(config: TrialConfig, name: str = "model", weight: float = 1.0) -> LstmMember:
    return lstm(name, weight, config, seed=3, n_words=len(WORDS), n_classes=3)


@pytest.mark.slow
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_kind_of_model_has_equal_logits_in_onnxruntime(pooling: str, bidirectional: bool, n_layers: int) -> None:
    """And each part of the graph is used: onnxruntime would warn every user about the others."""
    import onnx

    config = TrialConfig(hidden_dim=5, pooling=pooling, bidirectional=bidirectional, n_layers=n_layers)
    model, graph = made(one(config))
    assert largest_difference(model, graph) < 1e-6
    found = onnx.load_from_string(graph).graph
    read = {name for node in found.node for name in node.input} | {value.name for value in found.output}
    lstm_ends = {name for node in found.node if node.op_type == "LSTM" for name in node.output}
    made_here = {each.name for each in found.initializer} | {name for node in found.node for name in node.output}
    assert made_here - read <= lstm_ends


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_and_company_do_not_matter(pooling: str) -> None:
    """Alone or with a longer sentence, with zeros or anything else behind its end: the same logits."""
    _, graph = made(one(TrialConfig(hidden_dim=5, pooling=pooling, n_layers=2)))
    session = onnxruntime.InferenceSession(graph)

    def logits(rows: list[list[int]], *lengths: int) -> Any:
        return session.run(["logits"], {"tokens": np.array(rows), "lengths": np.array(lengths)})[0]

    alone = logits([[5, 6, 7]], 3)
    assert alone.shape == (1, 3)
    np.testing.assert_allclose(logits([[9, 9, 9, 9], [5, 6, 7, 0]], 4, 3)[1:], alone, atol=1e-6)
    np.testing.assert_allclose(logits([[5, 6, 7, 8, 9]], 3), alone, atol=1e-6)
    assert logits([[5]], 1).shape == (1, 3)
    assert np.abs(logits([[5, 6, 8]], 3) - alone).max() > 1e-4


def test_the_check_would_notice_other_weights() -> None:
    model, _ = made(one(TrialConfig(hidden_dim=5)))
    _, other = made(one(TrialConfig(hidden_dim=5, seed=1, pooling="mean")))
    assert largest_difference(model, other) > core.inference.onnx_export.TOLERANCE


SINGLE = [(word, 0) for word in range(2, 40)]
PAIRS = [(first, second) for first in range(2, 12) for second in range(2, 9)]
NGRAMS = sorted([*SINGLE, *PAIRS])
BASELINES = {
    "single words and pairs": plain(ngrams=NGRAMS, intercepts=(0.5, -0.25, 0)),
    "single words": plain(ngrams=SINGLE, intercepts=(0.5, -0.25, 0)),
    "pairs": plain(ngrams=PAIRS, intercepts=(0.5, -0.25, 0)),
    "one feature": plain(ngrams=[(7, 0)], intercepts=(0.5, -0.25, 0)),
    "no feature": plain(ngrams=[], intercepts=(0.5, -0.25, 0)),
    "a class without training sentences": plain(ngrams=NGRAMS, intercepts=(0.5, -np.inf, 0)),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weight", "temperature"),
    [
        *((name, weight, 1.7) for name in BASELINES for weight in (1.0, 0.75)),
        *(("single words and pairs", 0.75, temperature) for temperature in (0.05, 1, 20)),
    ],
)
def test_mixtures_and_plain_baselines_have_equal_logits_in_onnxruntime(
    name: str, weight: float, temperature: float
) -> None:
    base = dataclasses.replace(BASELINES[name], weight=weight)
    first = one(TrialConfig(hidden_dim=5), "trial-0", 0.05)
    second = one(TrialConfig(hidden_dim=4, n_layers=2, pooling="attention", bidirectional=False), "trial-17", 0.2)
    members: list[Member] = [base] if weight == 1 else [first, base, second]
    assert largest_difference(*made(*members, temperature=temperature)) < 1e-5


def test_a_plain_baseline_reads_its_features_and_nothing_else() -> None:
    """With longer sentences, one word, unknown words, no known feature, and anything behind the end."""
    model, graph = made(BASELINES["single words and pairs"])
    sentences = [[45, 1, 46], [2], [1], [2, 2, 2, 3, 2, 1, 2], [49, 11, 8, 8], [2, 1, 3], [2, 3]]
    expected = model.calibrate(model.log_probabilities(sentences))
    assert len({row.tobytes() for row in expected.round(9)}) == 6  # two have no feature
    tokens, lengths = pad_token_ids(sentences)
    session = onnxruntime.InferenceSession(graph)
    for behind in (0, 1, 2, 40):
        rows = np.where(np.arange(7) < lengths.numpy()[:, None], tokens, behind)
        (found,) = session.run(["probabilities"], {"tokens": rows, "lengths": lengths.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-6)
    for sentence, row in zip(sentences, expected, strict=True):
        (found,) = session.run(["probabilities"], {"tokens": [sentence], "lengths": [len(sentence)]})
        np.testing.assert_allclose(found, [row], atol=1e-6)


def exported(tmp_path: Path, **changes: Any) -> tuple[Path, list[str]]:
    source, notes = saved(tmp_path, **changes), []
    out = tmp_path / "onnx"
    assert export_onnx(load_model(source), source, out, notes.append) <= 1e-5
    return out, notes


def test_the_folder_holds_all_that_is_needed(tmp_path: Path) -> None:
    out, notes = exported(tmp_path)
    assert sorted(os.listdir(out)) == sorted((*ONNX_FILES, CHECKSUMS))
    assert json.loads((out / "labels.json").read_text()) == ["negative", "positive"]
    assert (out / "card.md").read_text() == "# a card\n"
    assert notes == []
    assert sum(bool(line.strip()) for line in (out / "example.py").read_text().splitlines()) <= 20


def test_the_card_is_that_of_the_exported_model(tmp_path: Path) -> None:
    """`retrain` may replace the folder after the model was loaded."""
    source, out = saved(tmp_path), tmp_path / "onnx"
    model = load_model(source)
    (source / "card.md").write_text("# another model\n")
    export_onnx(model, source, out, print)
    assert (out / "card.md").read_text() == "# a card\n"


@pytest.mark.slow
@pytest.mark.parametrize(("members", "tokenizer"), list(zip(([lstm()], mixture(), [lstm()]), TOKENIZERS, strict=True)))
def test_the_example_gives_the_models_answers_without_torch_and_nltk(
    tmp_path: Path, members: list[Member], tokenizer: str
) -> None:
    words = ("<pad>", "<unk>", "good", "bad", "再", "l'")
    version = tokenizer_version(tokenizer)
    out, _ = exported(tmp_path, members=members, temperature=1.5, words=words, tokenizer=version)
    texts = ["Good bad, naïve?", "", "bad", "unseen <pad> 再见", "L’été", "GOOD再再"]
    code = (
        "import runpy, sys; del sys.argv[0]; sys.modules.update(dict.fromkeys(('torch', 'nltk', 'core', 'tuning'))); "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, str(out / "example.py"), *texts]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout
    found = load_model(tmp_path / "model").predict(texts)
    expected = [f"{p.label}\t{p.probability:.4f}\t{text}" for text, p in zip(texts, found, strict=True)]
    assert said.splitlines() == expected
    if tokenizer == "english":
        lines = "\ufeff" + "\n".join(texts)  # as an editor of Windows writes them
        piped = subprocess.run(command[:4], input=lines, capture_output=True, text=True, check=True, cwd="/")
        assert piped.stdout.splitlines() == expected


def test_a_bf16_model_says_that_the_export_is_fp32(tmp_path: Path) -> None:
    _, (note,) = exported(
        tmp_path, members=[lstm("trial-1", 0.5, TrialConfig(hidden_dim=4, precision="bf16")), plain(0.5)]
    )
    assert "predict computes in bf16 (a precision of 8 bits), the export in fp32" in note


def test_an_export_replaces_an_export_and_nothing_else(tmp_path: Path) -> None:
    exported(tmp_path)
    exported(tmp_path)
    source = tmp_path / "model"
    with pytest.raises(UserError, match=r"model is no ONNX export, because it contains 'config.json'"):
        export_onnx(load_model(source), source, source, print)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file; choose another folder for the export"):
        export_onnx(load_model(source), source, tmp_path / "file", print)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_its_packages_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.delitem(sys.modules, "core.inference.onnx_graph")
    monkeypatch.delattr("core.inference.onnx_graph", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    source = saved(tmp_path)
    with pytest.raises(
        UserError, match=rf"--format onnx needs the package {package}; run pip install onnx onnxruntime"
    ):
        export_onnx(load_model(source), source, tmp_path / "out", print)
    assert not (tmp_path / "out").exists()


def test_a_model_beyond_the_formats_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.inference.onnx_export, "MAX_ONNX_BYTES", 100)
    source = saved(tmp_path)
    with pytest.raises(UserError, match="has 0 MiB of weights, more than the 0 MiB of an ONNX file"):
        export_onnx(load_model(source), source, tmp_path / "out", print)


@pytest.mark.parametrize("difference", [2e-5, float("nan")])
def test_an_export_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: float
) -> None:
    monkeypatch.setattr(core.inference.onnx_export, "largest_difference", lambda model, graph: difference)
    source = saved(tmp_path)
    with pytest.raises(UserError, match=r"differ from the model's by .*, more than 1e-05, so nothing was written"):
        export_onnx(load_model(source), source, tmp_path / "out", print)
    assert not (tmp_path / "out").exists()


def test_the_graph_names_its_dimensions() -> None:
    import onnx

    model = onnx.load_from_string(made(one(TrialConfig(hidden_dim=5)))[1])
    shapes = {
        value.name: [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "tokens": ["batch", "steps"],
        "lengths": ["batch"],
        "logits": ["batch", 3],
        "probabilities": ["batch", 3],
    }


def test_an_export_into_the_folder_of_the_model_is_refused(tmp_path: Path) -> None:
    """`retrain` would not replace that folder any more."""
    source = saved(tmp_path)
    (tmp_path / "link").symlink_to(source)
    for folder in (source, tmp_path / "link"):
        with pytest.raises(UserError, match="onnx is in the folder of the model; choose another folder"):
            export_onnx(load_model(source), source, folder / "onnx", print)
    assert not (source / "onnx").exists()
