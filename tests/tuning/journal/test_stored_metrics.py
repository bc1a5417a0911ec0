"""The metric that a study records equals scikit-learn's on what the study stores."""

from pathlib import Path

import pytest
from sklearn.metrics import f1_score, log_loss

from core.data.corpus import VAL
from core.data.load import load_corpus
from core.metrics import METRICS
from tests.support.studies import data_of, make_study, setting, write_sentences
from tuning.journal.predictions import unpack_labels
from tuning.journal.probabilities import epoch_name, load_probabilities
from tuning.journal.records import read_study


@pytest.mark.slow
@pytest.mark.parametrize("name", ["macro_f1", "log_loss"])
def test_the_recorded_metric_is_that_of_the_stored_results(tmp_path: Path, name: str) -> None:
    file, cache = write_sentences(tmp_path / "s.csv", 600), tmp_path / "cache"
    make_study(tmp_path / "study", file, cache, setting(metric=name), setting(metric=name, hidden_dim=4), stopped=1)
    corpus = load_corpus(**data_of(file), cache_dir=cache)
    labels = corpus.labels[corpus.indices(VAL)]
    for record in read_study(tmp_path / "study")[1]:
        best, stored = record.best, record.predictions
        assert best is not None
        predictions = [unpack_labels(packed or {}, "it") for packed in stored]
        assert len(predictions) == len(record.epochs)  # of every epoch
        for epoch, each in zip(record.epochs, predictions, strict=True):
            assert (each == labels).mean() == epoch.val_accuracy
        probabilities = load_probabilities(tmp_path / "study", epoch_name(record.number, best.epoch), len(labels), 2)
        assert probabilities is not None
        expected = {
            "macro_f1": lambda at=best.epoch, p=predictions: f1_score(labels, p[at - 1], average="macro"),
            "log_loss": lambda p=probabilities: log_loss(labels, p),
        }[name]()
        assert METRICS[name].oriented(best.score) == pytest.approx(expected, abs=1e-6)
        assert best.score == max(epoch.score for epoch in record.epochs)
