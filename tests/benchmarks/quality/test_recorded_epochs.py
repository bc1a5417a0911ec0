"""A training whose loss is not finite is refused by its number, and so are outputs of another corpus."""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.inputs import trained_epochs
from benchmarks.quality import recorded_epochs
from core.config import TrialConfig
from core.data.corpus import VAL, Corpus
from core.errors import TrainingError
from tests.support.corpora import tiny_corpus


def test_a_training_that_diverges_is_refused_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, trained = tiny_corpus(), list[TrialConfig]()
    n = len(corpus.indices(VAL))

    def train(config: TrialConfig, corpus: Corpus) -> Iterator[tuple[Any, Any]]:
        trained.append(config)
        yield None, SimpleNamespace(predictions=np.zeros(n), log_odds=np.zeros((n, 1)))
        if len(trained) == 2:
            raise TrainingError("the loss is NaN")
        yield None, SimpleNamespace(predictions=np.ones(n), log_odds=np.ones((n, 1)))

    monkeypatch.setattr(trained_epochs, "trained_epochs", train)
    monkeypatch.setattr(recorded_epochs, "split_corpus", lambda seed: corpus)
    monkeypatch.setattr(recorded_epochs, "process_pool", lambda processes: ThreadPoolExecutor(1))
    path = tmp_path / "outputs.npz"

    with pytest.raises(SystemExit, match="the loss of configuration 1 is not finite; choose another seed"):
        recorded_epochs.recorded_epochs(path, trials=3, epochs=2, seed=0)
    found = recorded_epochs.recorded_epochs(path, trials=3, epochs=2, seed=0)

    assert trained == [*found.configs, *found.configs]
    assert found.predictions[:, :, 0].tolist() == [[0, 1]] * 3
    assert found.predictions.dtype == np.uint8
    assert found.log_odds.shape == (3, 2, n)
    assert list(tmp_path.iterdir()) == [path]

    monkeypatch.setattr(recorded_epochs, "split_corpus", lambda seed: dataclasses.replace(corpus, fingerprint="other"))
    with pytest.raises(SystemExit, match=r"outputs\.npz has other configurations or sentences; delete it"):
        recorded_epochs.recorded_epochs(path, trials=3, epochs=2, seed=0)
