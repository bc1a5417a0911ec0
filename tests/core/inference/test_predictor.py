"""A saved model labels any text, in order, and says so when it cannot."""

from pathlib import Path

import numpy as np
import pytest
import torch

from core.config import TrialConfig
from core.data.tokenizer import tokenizer_version
from core.data.vocabulary import Vocabulary
from core.errors import CorruptionError, DataError
from core.inference.predictor import MAX_TOKENS, Predictor, load_model
from core.inference.saved_model import save_model
from core.nn.classifier import SentenceClassifier
from core.training.evaluate import evaluate
from tests.support.corpora import tiny_corpus
from tests.support.models import CLASSES, WORDS, resum, saved


def model(config: TrialConfig | None = None) -> Predictor:
    network = SentenceClassifier(config or TrialConfig(hidden_dim=4), len(WORDS), 3, len(CLASSES))
    network.initialize(torch.Generator().manual_seed(1))
    return Predictor(network, Vocabulary(WORDS), CLASSES)


def test_predictions_come_in_the_order_of_the_texts() -> None:
    texts = ["good", "bad good bad", "good good", "bad", "naïve good bad good", "good"]
    together = model().predict(texts)
    alone = [model().predict([text])[0] for text in texts]
    assert [p.label for p in together] == [p.label for p in alone]
    assert [p.probability for p in together] == pytest.approx([p.probability for p in alone], abs=1e-6)
    assert len({round(p.probability, 6) for p in together}) == 5  # only "good" comes twice


def test_the_label_is_the_likeliest_class_and_the_shares_make_one() -> None:
    for prediction in model().predict(["good", "bad", "good bad"]):
        assert list(prediction.probabilities) == list(CLASSES)
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-12)
        assert prediction.probability == prediction.probabilities[prediction.label]
        assert prediction.probability == max(prediction.probabilities.values())


@pytest.mark.parametrize(
    "text", ["", "   ", "\n", "zzz unseen words", "再见", "\ud800", "<pad>", "\x00\x1b[31m", "🙂" * 50]
)
def test_any_text_gets_a_label(text: str) -> None:
    (prediction,) = model().predict([text])
    assert prediction.label in CLASSES


def test_empty_and_unknown_texts_are_one_unknown_word() -> None:
    empty, unknown = model().predict(["", "zzz"])
    assert empty == unknown


@pytest.mark.parametrize("pooling", ["last", "max", "attention"])
def test_a_long_text_is_read_to_its_end(pooling: str) -> None:
    long = model(TrialConfig(hidden_dim=4, pooling=pooling, bidirectional=False))
    start = "zzz " * 4999
    good, bad, short = long.predict([start + "good", start + "bad", "good"])
    assert good.probability != bad.probability
    assert short == long.predict(["good"])[0]


def test_a_text_too_long_for_memory_is_refused_and_named() -> None:
    with pytest.raises(DataError, match=r"text 2 has 50,001 words and is not cut: split texts of more than 50,000"):
        model().predict(["good", "a " * (MAX_TOKENS + 1)])


def test_no_texts_give_no_predictions() -> None:
    assert model().predict([]) == []
    assert model().probabilities([]).shape == (0, 2)


def test_one_text_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(TypeError, match="a list of texts, got one text"):
        model().predict("good")


def test_a_saved_model_predicts_what_training_saw(tmp_path: Path) -> None:
    corpus = tiny_corpus(n_classes=3)
    config = TrialConfig(hidden_dim=6, n_layers=2, pooling="mean+max")
    network = SentenceClassifier(config, len(corpus.words), corpus.embedding_dim, 3)
    network.initialize(torch.Generator().manual_seed(2))
    save_model(
        tmp_path / "model",
        config=config,
        weights=network.state_dict(),
        words=corpus.words,
        classes=corpus.classes,
        embedding_dim=corpus.embedding_dim,
        tokenizer=tokenizer_version(),
        metrics={},
        card="",
    )
    sentences = corpus.indices(1)
    texts = [
        " ".join(corpus.words[word] for word in corpus.tokens[corpus.offsets[i] : corpus.offsets[i + 1]])
        for i in sentences
    ]
    notes: list[str] = []
    loaded = load_model(str(tmp_path / "model"), notify=notes.append)
    judged = evaluate(config, network.state_dict(), corpus, 1)
    np.testing.assert_allclose(loaded.probabilities(texts), judged.probabilities, rtol=1e-3)
    assert [p.label for p in loaded.predict(texts)] == [corpus.classes[i] for i in judged.predictions]
    assert notes == []


def test_another_tokenizer_is_said_once_and_does_not_stop(tmp_path: Path) -> None:
    notes: list[str] = []
    loaded = load_model(saved(tmp_path, tokenizer="nltk-0.1"), notify=notes.append)
    assert loaded.predict(["good"])[0].label in CLASSES
    (note,) = notes
    assert f"trained with tokenizer nltk-0.1, here is {tokenizer_version()}" in note


def test_weights_that_do_not_fit_the_vocabulary_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, words=WORDS[:-1])
    resum(path)
    with pytest.raises(CorruptionError, match=r"the weights in .*model do not fit its config.json.*embedding.weight"):
        load_model(path)
