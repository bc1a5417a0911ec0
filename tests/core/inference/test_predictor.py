"""A saved model labels any text, in order, and raises an error if it cannot."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch

from core.calibration import apply_temperature
from core.config import TrialConfig
from core.data.tokenizer import tokenizer_version
from core.data.vocabulary import Vocabulary
from core.errors import ConfigError, DataError, UserError
from core.inference.estimator import SentenceEstimator
from core.inference.members import LstmMember, Member, PlainMember
from core.inference.predictor import MAX_TOKENS, Predictor, load_model
from core.inference.saved_model import ModelParts, read_model, save_model
from core.nn.classifier import SentenceClassifier
from core.training.evaluate import evaluate
from tests.support.corpora import tiny_corpus
from tests.support.models import CLASSES, lstm, mixture, plain, predictor, saved


def model(config: TrialConfig | None = None) -> Predictor:
    return predictor(lstm(config=config, seed=1))


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


def test_threads_are_limited_before_the_files_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check adds up each tensor, with torch's threads if it is large."""
    done: list[str] = []

    def read(path: Path) -> ModelParts:
        done.append("read")
        return read_model(path)

    monkeypatch.setattr("core.inference.predictor.limit_threads_after_fork", lambda: done.append("limit"))
    monkeypatch.setattr("core.inference.predictor.read_model", read)
    load_model(saved(tmp_path))
    assert done == ["limit", "read"]


@pytest.mark.parametrize("pooling", ["last", "max", "attention"])
def test_a_long_text_is_read_to_its_end(pooling: str) -> None:
    long = model(TrialConfig(hidden_dim=4, pooling=pooling, bidirectional=False))
    start = "zzz " * 4999
    good, bad, short = long.predict([start + "good", start + "bad", "good"])
    assert good.probability != bad.probability
    assert short == long.predict(["good"])[0]


def test_a_text_too_long_for_memory_is_refused_and_named() -> None:
    with pytest.raises(DataError, match=r"text 2 has 50,001 words, more than 50,000; split the text"):
        model().predict(["good", "a " * (MAX_TOKENS + 1)])


def test_no_texts_give_no_predictions() -> None:
    assert model().predict([]) == []
    assert model().probabilities([]).shape == (0, 2)


@pytest.mark.parametrize(
    "values",
    ["good", pd.DataFrame({"good": ["bad"]}), {"good": ["bad"]}, {"good", "bad"}, None],
    ids=["text", "frame", "dict", "set", "none"],
)
def test_what_is_no_list_of_texts_is_refused(values: Any) -> None:
    """The elements of a text are letters, and those of a frame are the names of its columns."""
    message = rf"texts must be a list, or a column of a data frame, got {type(values).__name__}; pass \[text\] or"
    for call in (model().predict, model().probabilities):
        with pytest.raises(DataError, match=message):
            call(values)


def test_a_value_that_is_no_text_is_named() -> None:
    with pytest.raises(DataError, match=r"^text 2 must be a str, got float; remove it, or pass '' in its place$"):
        model().predict(pd.DataFrame({"text": ["good", None]}, dtype=object)["text"].fillna(float("nan")))
    with pytest.raises(DataError, match=r"^line 9 must be a str, got bytes"):
        model().predict([b"good"], location=lambda place: f"line {place + 8}")


def test_texts_may_come_from_a_column_or_an_iterator() -> None:
    texts = ["good", "bad good"]
    expected = model().predict(texts)
    for values in (iter(texts), np.array(texts), pd.Series(texts), pyarrow.table({"text": texts})["text"]):
        assert model().predict(values) == expected


@pytest.mark.parametrize("minimum", [80, -0.1, float("nan"), "0.8", True])
def test_a_minimum_that_is_no_probability_is_refused(minimum: Any) -> None:
    with pytest.raises(ConfigError, match=f"^min_probability must be from 0 to 1, got {minimum!r}$"):
        model().predict(["good"], min_probability=minimum)


def test_a_saved_model_predicts_what_training_saw(tmp_path: Path) -> None:
    corpus = tiny_corpus(n_classes=3)
    config = TrialConfig(hidden_dim=6, n_layers=2, pooling="mean+max")
    network = SentenceClassifier(config, len(corpus.words), corpus.embedding_dim, 3)
    network.initialize(torch.Generator().manual_seed(2))
    parts = ModelParts(
        members=[LstmMember(name="model", weight=1.0, config=config, weights=network.state_dict())],
        vocabulary=Vocabulary(corpus.words),
        classes=corpus.classes,
        embedding_dim=corpus.embedding_dim,
        tokenizer=tokenizer_version("english"),
    )
    save_model(tmp_path / "model", parts, metrics={}, card="")
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


@pytest.mark.parametrize(("tokenizer", "shown"), [("nltk-0.1", "nltk-0.1"), ("nltk\x1b[2J\n0.1", r"nltk\x1b[2J\n0.1")])
def test_another_tokenizer_is_said_once_and_does_not_stop(tmp_path: Path, tokenizer: str, shown: str) -> None:
    """A model from elsewhere may have any text, which must not control a terminal."""
    notes: list[str] = []
    loaded = load_model(saved(tmp_path, tokenizer=tokenizer), notify=notes.append)
    assert loaded.predict(["good"])[0].label in CLASSES
    (note,) = notes
    assert f"trained with tokenizer {shown}, installed is {tokenizer_version('english')}" in note


def test_from_python_another_tokenizer_is_a_warning_at_the_line_that_loads_the_model(tmp_path: Path) -> None:
    path = saved(tmp_path, tokenizer="nltk-0.1")
    for load in (load_model, SentenceEstimator.load):
        with pytest.warns(UserWarning, match=r"trained with tokenizer nltk-0\.1, installed is ") as found:
            load(path)
        assert [each.filename for each in found] == [__file__]


@pytest.mark.parametrize(
    ("tokenizer", "text"),
    [
        ("english", "可以"),
        ("unicode", "l'été"),
        ("characters", "可以"),
    ],
)
def test_a_model_cuts_texts_with_its_own_tokenizer(tmp_path: Path, tokenizer: str, text: str) -> None:
    words = ("<pad>", "<unk>", "可以", "l'", "été", "可")
    notes: list[str] = []
    path = saved(tmp_path, lstm(n_words=len(words)), words=words, tokenizer=tokenizer_version(tokenizer))
    loaded = load_model(path, notify=notes.append)
    assert notes == []
    expected = {"english": [2], "unicode": [3, 4], "characters": [5, 1]}[tokenizer]
    assert loaded.encode([text]) == [expected]


def test_a_model_with_an_unknown_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"another version of sentune \(unknown tokenizer 'klingon'; choose one of"):
        load_model(saved(tmp_path, tokenizer="regex-2030.1/klingon/lower"))


TEXTS = ["good", "bad", "good bad good", "", "zzz", "naïve good zzz bad"]


def test_a_mixture_is_the_weighted_mean_of_its_members(tmp_path: Path) -> None:
    members = mixture()
    alone = [predictor(dataclasses.replace(each, weight=1.0)).probabilities(TEXTS) for each in members]
    mean = sum(each.weight * found for each, found in zip(members, alone, strict=True))
    found = load_model(saved(tmp_path, *members)).probabilities(TEXTS)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, mean, rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-14)
    assert len({tuple(each[0]) for each in alone}) == 3


def test_the_order_of_members_does_not_matter_and_a_member_may_be_split() -> None:
    one, two, base = mixture()
    expected = predictor(one, two, base).probabilities(TEXTS)
    np.testing.assert_allclose(predictor(base, two, one).probabilities(TEXTS), expected, rtol=1e-14)
    twice = [dataclasses.replace(two, name="trial-1", weight=0.1), dataclasses.replace(two, weight=0.1)]
    np.testing.assert_allclose(predictor(one, *twice, base).probabilities(TEXTS), expected, rtol=1e-14)


@pytest.mark.parametrize("members", [[lstm()], [plain()], mixture()])
@pytest.mark.parametrize("temperature", [0.5, 1.3, 20])
def test_the_temperature_raises_probabilities_to_a_power(members: list[Member], temperature: float) -> None:
    plain_ones = predictor(*members).probabilities(TEXTS)
    powers = plain_ones ** (1 / temperature)
    found = predictor(*members, temperature=temperature).probabilities(TEXTS)
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(found, apply_temperature(plain_ones, temperature), rtol=1e-12)


def tied(difference: float) -> PlainMember:
    """Its second class is more probable than its first one, by as little as `difference`."""
    return plain(intercepts=(0, np.nextafter(np.float32(difference), np.float32(1))))


@pytest.mark.parametrize("temperature", [1e-300, 0.05, 1, 1.7, 20, 1e300])
@pytest.mark.parametrize("difference", [0, 1e-30, 1e-12, 1e-8])
def test_the_temperature_changes_no_label_not_even_in_near_ties(difference: float, temperature: float) -> None:
    """Rounding makes the calibrated probabilities of some of these ties equal."""
    (prediction,) = predictor(tied(difference), temperature=temperature).predict(["zzz"])
    (without,) = predictor(tied(difference)).predict(["zzz"])
    assert prediction.label == without.label
    assert prediction.probability == prediction.probabilities[prediction.label or ""]
    assert prediction.probability == max(prediction.probabilities.values())


def test_a_class_without_training_sentences_has_probability_0(tmp_path: Path) -> None:
    for temperature in (0.05, 1, 20):
        (found,) = predictor(plain(intercepts=(0, -np.inf)), temperature=temperature).predict(["good"])
        assert (found.label, found.probabilities) == ("negative", {"negative": 1, "positive": 0})


def test_a_default_device_of_the_caller_changes_no_prediction() -> None:
    """As in a notebook whose author has another model on a GPU."""
    members = mixture()
    expected = predictor(*members).predict(TEXTS)
    with torch.device("meta"):
        assert predictor(*members).predict(TEXTS) == expected


def test_below_the_minimum_there_is_no_answer_and_the_probabilities_stay() -> None:
    whole = predictor(*mixture()).predict(TEXTS)
    threshold = sorted(each.probability for each in whole)[3]
    found = predictor(*mixture()).predict(TEXTS, min_probability=threshold)
    assert [each.label for each in found] == [each.label if each.probability >= threshold else None for each in whole]
    assert [each.label for each in found].count(None) > 0
    assert [(each.probability, each.probabilities) for each in found] == [
        (each.probability, each.probabilities) for each in whole
    ]


def test_the_minimum_is_of_the_calibrated_probability() -> None:
    (found,) = predictor().predict(["good"])
    assert predictor(temperature=0.05).predict(["good"], found.probability + 0.01)[0].label == found.label
    assert predictor(temperature=20).predict(["good"], found.probability)[0].label is None


def test_a_model_of_bf16_predicts_in_bf16() -> None:
    configs = (TrialConfig(hidden_dim=4, precision=each) for each in ("fp32", "bf16"))
    one, other = (predictor(lstm(config=each)).probabilities(["good bad", "bad", "good"]) for each in configs)
    assert (one != other).any()
    np.testing.assert_allclose(one, other, atol=0.02)
