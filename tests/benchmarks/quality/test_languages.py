"""benchmarks.quality.languages: sentences without spaces are learned from the file alone."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.languages import tf_idf_accuracy
from core.config import TrialConfig
from core.data.corpus import TEST, Corpus
from core.data.load import load_corpus
from core.metrics import METRICS
from core.plain_baseline import majority_value
from core.training.evaluate import evaluate
from core.training.loop import train

CONFIG = TrialConfig(hidden_dim=16, n_layers=1, pooling="max", optimizer="adam", learning_rate=0.01, epochs=6)
WORDS = (("喜欢", "好看", "满意"), ("讨厌", "难看", "失望"))
FILLER = "这部电影的故事和演员在第一天晚上给我们看了很久"


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Sentences of one class in three are those that talk of something good."""
    rng = np.random.default_rng(0)
    rows = []
    for row in range(300):
        characters = rng.permutation(list(FILLER))[:14].tolist()
        characters.insert(int(rng.integers(15)), str(rng.choice(WORDS[row % 3 != 0])))
        rows.append("".join(characters))
    return rows


def corpus_of(texts: list[str], folder: Path, tokenizer: str) -> Corpus:
    rows = [f"{text},{'bad' if row % 3 else 'good'}" for row, text in enumerate(texts)]
    (folder / "reviews.csv").write_text("\n".join(["review,sentiment", *rows]))
    return load_corpus(str(folder / "reviews.csv"), tokenizer=tokenizer, cache_dir=folder / "cache")


def trained(corpus: Corpus) -> float:
    """Return the test accuracy."""
    return evaluate(CONFIG, train(CONFIG, corpus).weights, corpus, TEST).accuracy


def majority_of_test(corpus: Corpus) -> float:
    return majority_value(corpus, corpus.indices(TEST), METRICS["accuracy"])


def test_sentences_without_spaces_are_learned_from_the_file_alone(texts: list[str], tmp_path: Path) -> None:
    corpus = corpus_of(texts, tmp_path, "auto")
    assert majority_of_test(corpus) == 20 / 30
    assert tf_idf_accuracy(texts, corpus) > 0.95
    assert trained(corpus) > 0.95


def test_with_the_english_tokenizer_nothing_can_be_learned(texts: list[str], tmp_path: Path) -> None:
    """Each sentence of the test split is one unknown word, and the audit says what to do."""
    corpus = corpus_of(texts, tmp_path, "english")
    assert trained(corpus) <= majority_of_test(corpus)
    assert corpus.source["audit"]["single_tokens"] == 300
