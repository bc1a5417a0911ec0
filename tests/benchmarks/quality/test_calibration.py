"""Answers and temperatures of benchmarks.quality.calibration."""

import numpy as np
import pytest

from benchmarks.quality import calibration
from benchmarks.quality.recorded_epochs import RecordedEpochs
from tuning.scheduling.virtual_cost import CorpusShape

LABELS = np.arange(400) % 2
PREDICTIONS = np.where(np.arange(400) % 4 < 3, LABELS, 1 - LABELS)
"""300 of 400 are right."""


def test_the_truth_of_the_answers_is_on_the_other_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without 50 of 400, the others are right in at most 77%; of the 50 alone, 80% are often right."""
    odds = np.where(PREDICTIONS, 1000, -1000).astype(np.int16)
    shape = CorpusShape(sentences=9, words=9.0, vocabulary=9, embedding_dim=5, classes=2)
    recorded = RecordedEpochs(
        configs=(), labels=LABELS, predictions=PREDICTIONS[None, None].astype(np.uint8), log_odds=odds[None, None],
        plain_log_odds=odds, shape=shape,
    )  # fmt: skip
    monkeypatch.setattr(calibration, "find_min_probability", lambda table, accuracy: 0.5)
    assert calibration.answers_row(recorded, 50, 0.8, 40) == ("50", "80%", "0%", "100%", "100.0%")


def test_a_temperature_lowers_loss_and_error_of_a_model_that_is_too_sure() -> None:
    sure = np.where(PREDICTIONS[:, None] == np.arange(2), 0.99, 0.01).astype(np.float32)
    _, loss, worse, error, worse_error = calibration.temperature_row(LABELS, [sure], 200, 5)
    assert (loss[0], worse, error[0], worse_error) == ("-", "0.0%", "-", "0.0%")
