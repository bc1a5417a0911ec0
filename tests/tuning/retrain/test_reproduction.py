"""tuning.retrain.reproduction: whether a training equals the recorded one, the first difference, and its cause."""

import dataclasses
from typing import Any

import pytest

from core.config import TrialConfig
from core.errors import CorruptionError
from core.training.loop import train
from core.training.result import EpochResult, TrainResult
from tests.support.corpora import tiny_corpus
from tests.support.epochs import epoch
from tests.support.trial_records import record
from tuning.journal.predictions import pack_labels
from tuning.journal.records import TrialRecord
from tuning.retrain.environment_diff import EnvironmentChange
from tuning.retrain.reproduction import compare, reproduction_of

THREADS = EnvironmentChange(name="threads", was=1, now=2)


def epochs(*accuracies: float) -> list[EpochResult]:
    return [epoch(i, a, val_loss=0.4) for i, a in enumerate(accuracies, 1)]


@pytest.fixture(scope="module")
def result() -> TrainResult:
    return train(TrialConfig(hidden_dim=4, epochs=3, batch_size=16), tiny_corpus())


def best_packed(result: TrainResult, packed: dict[str, Any]) -> tuple[dict[str, Any] | None, ...]:
    """The predictions of the best epoch, and none of the others."""
    return tuple(packed if epoch.epoch == result.best_epoch else None for epoch in result.epochs)


def recorded(result: TrainResult, **changes: Any) -> TrialRecord:
    kept: dict[str, Any] = {
        "epochs": result.epochs,
        "weights_sha256": result.weights_sha256,
        "predictions": best_packed(result, pack_labels(result.val_predictions)),
    }
    return record(3, **(kept | changes))


def altered(result: TrainResult, at: int, **changes: Any) -> tuple[EpochResult, ...]:
    """The epochs with other values in that of index `at`."""
    rows = list(result.epochs)
    rows[at] = dataclasses.replace(rows[at], **changes)
    return tuple(rows)


def test_equal_epochs_are_reproduced_whatever_time_they_took() -> None:
    slower = [dataclasses.replace(epoch, seconds=9.0) for epoch in epochs(0.5, 0.6)]
    assert compare(epochs(0.5, 0.6), slower) == (2, None)


def test_the_first_difference_is_named_with_both_values_and_by_how_much() -> None:
    other = epochs(0.5, 0.6, 0.7)
    other[1] = dataclasses.replace(other[1], val_loss=0.4000000000000001)
    other[2] = dataclasses.replace(other[2], val_loss=0.5)
    assert compare(epochs(0.5, 0.6, 0.7), other) == (
        1,
        "epoch 2 has val_loss 0.4000000000000001 where the search recorded 0.4 (off by +5.6e-17)",
    )


def test_a_training_that_ends_early_is_a_difference() -> None:
    assert compare(epochs(0.5, 0.6), epochs(0.5)) == (1, "training ended after epoch 1")


def test_epochs_and_weights_that_are_equal_are_reproduced(result: TrainResult) -> None:
    verdict = reproduction_of(recorded(result), result, [])
    assert (str(verdict), verdict.difference) == ("REPRODUCED 3/3 epochs and the final weights", None)


def test_weights_that_were_not_recorded_are_not_claimed(result: TrainResult) -> None:
    assert str(reproduction_of(recorded(result, weights_sha256=None), result, [])) == (
        "REPRODUCED 3/3 epochs; the final weights were not recorded"
    )


def test_a_change_that_changed_no_bit_is_named_all_the_same(result: TrainResult) -> None:
    assert str(reproduction_of(recorded(result), result, [THREADS])) == (
        "REPRODUCED 3/3 epochs and the final weights, although this has changed since the search: threads 1, now 2"
    )


def test_a_difference_names_what_has_changed(result: TrainResult) -> None:
    rows = altered(result, 0, train_loss=1.0)
    verdict = reproduction_of(recorded(result, epochs=rows, weights_sha256="ab"), result, [THREADS])
    assert str(verdict).startswith("DIFFERS: 0/3 epochs reproduced, then epoch 1 has train_loss ")
    assert str(verdict).endswith("; changed since the search: threads 1, now 2")


def test_a_difference_without_a_change_points_to_the_journal_or_the_code(result: TrainResult) -> None:
    verdict = reproduction_of(recorded(result, epochs=altered(result, 1, val_accuracy=0.99)), result, [])
    assert verdict.equal == 1
    assert str(verdict).endswith("; no recorded dependency has changed; check the journal and the code")


@pytest.mark.parametrize(("digest", "shown"), [("ab" * 32, "abababababab..."), ("\x1b[2J", r"\x1b[2J")])
def test_other_weights_are_a_difference_though_every_epoch_is_equal(
    result: TrainResult, digest: str, shown: str
) -> None:
    verdict = reproduction_of(recorded(result, weights_sha256=digest), result, [])
    assert verdict.equal == verdict.epochs == 3
    assert f"the final weights are {result.weights_sha256[:12]}..., recorded {shown}; " in str(verdict)


def test_other_predictions_are_a_difference_though_every_epoch_is_equal(result: TrainResult) -> None:
    others = best_packed(result, pack_labels(1 - result.val_predictions))
    verdict = reproduction_of(recorded(result, predictions=others), result, [])
    assert verdict.difference == "the validation predictions of the best epoch are not the recorded ones"


def test_damaged_predictions_are_named(result: TrainResult) -> None:
    damaged = {**pack_labels(result.val_predictions), "crc32": 1}
    with pytest.raises(CorruptionError, match="the record of trial 3's predictions is damaged"):
        reproduction_of(recorded(result, predictions=best_packed(result, damaged)), result, [])
