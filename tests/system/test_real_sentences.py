"""Tokens and exported models on the real sentences."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from nltk.tokenize import word_tokenize

from core.config import POOLINGS, TrialConfig
from core.data.corpus import ReadOptions
from core.data.datasets import resolve_dataset
from core.data.tokenizer import apply_regexes, tokenize, tokenizer_as_regexes, tokenizer_version
from core.inference.members import LstmMember
from core.inference.predictor import Predictor, pad_token_ids
from core.inference.saved_model import ModelParts
from core.io import cache
from core.nn.classifier import SentenceClassifier
from core.nn.runtime import torch_threads
from tests.support.real_data import MR, needs_mr
from tests.support.sentences import vocabulary_of


@pytest.fixture(scope="module", params=["snippets", pytest.param("mr", marks=needs_mr)])
def texts(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "snippets":
        return resolve_dataset("snippets", ReadOptions(), cache.default_dir()).read().texts
    # Every fourth: apart from punctuation and spaces, nearly all of them are snippets.
    return resolve_dataset(f"mr:{MR}", ReadOptions(), cache.default_dir()).read().texts[::4]


@pytest.fixture(scope="module")
def a_few() -> list[str]:
    """200 of them."""
    name = f"mr:{MR}" if MR.exists() else "snippets"
    found = resolve_dataset(name, ReadOptions(), cache.default_dir()).read().texts
    return found[:: len(found) // 200][:200]


def test_every_real_sentence_has_nltks_tokens(texts: list[str]) -> None:
    rule = json.loads(json.dumps(tokenizer_as_regexes([], "english")))
    steps = [(importlib.import_module(engine).compile(old, flags), new) for engine, old, flags, new in rule["steps"]]
    for text in texts:
        expected = tokenize(text, "english")
        if not re.search(r"[\w'’]\.[\"'”’)\]]*\s", text):  # NLTK takes the text for one sentence
            assert expected == word_tokenize(text.lower(), preserve_line=True)
        assert apply_regexes(steps, text.lower()) == expected


def test_afterwards_importing_nltk_gives_all_of_it() -> None:
    code = (
        "import sys; from core.data.tokenizer import tokenize; tokens = tokenize('No, it can\\'t.', 'english'); "
        "assert not [name for name in sys.modules if name.startswith('nltk')]; "
        "import nltk, nltk.tokenize.destructive; "
        "assert tokens == nltk.word_tokenize('no, it can\\'t.', preserve_line=True); "
        "assert tokens == ['no', ',', 'it', 'ca', \"n't\", '.']; "
        "assert nltk.tokenize.destructive.NLTKWordTokenizer is nltk.tokenize.NLTKWordTokenizer"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.usefixtures("one_thread")
def test_200_real_sentences_have_equal_logits_in_onnxruntime_and_torch(a_few: list[str], pooling: str) -> None:
    """For the other networks, tests/core/inference/test_onnx_export.py has sentences of its own."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")
    from core.inference.onnx_graph import build_graph

    sentences = [tokenize(text, "english") for text in a_few]
    vocabulary = vocabulary_of(sentences[:150])
    config = TrialConfig(hidden_dim=64, pooling=pooling, bidirectional=True, n_layers=2)
    network = SentenceClassifier(config, len(vocabulary), 50, 2)
    network.initialize(torch.Generator().manual_seed(0))
    member = LstmMember(name="model", weight=1.0, config=config, weights=network.state_dict())
    parts = ModelParts(
        members=[member], vocabulary=vocabulary, classes=("negative", "positive"), embedding_dim=50,
        tokenizer=tokenizer_version("english"),
    )  # fmt: skip
    model = Predictor(parts)
    session = onnxruntime.InferenceSession(build_graph([member], 2, 1.0).SerializeToString())
    tokens, lengths = pad_token_ids([vocabulary.encode(sentence) for sentence in sentences])
    logits, probabilities = session.run(None, {"tokens": tokens.numpy(), "lengths": lengths.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, network(tokens, lengths).numpy(), rtol=0, atol=1e-5)
    found = model.probabilities(a_few)
    assert found.shape == (200, 2)
    np.testing.assert_allclose(probabilities, found, rtol=0, atol=1e-5)
    assert np.ptp(probabilities[:, 0]) > 1e-3
