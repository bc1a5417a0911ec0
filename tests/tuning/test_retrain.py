"""tuning.retrain: the winner again, and whether it is the same."""

import dataclasses

import numpy as np
import pytest

from core.config import TrialConfig
from core.epoch import EpochResult
from core.errors import UserError
from core.train import train
from tests.fakes import tiny_corpus
from tests.tuning.test_results import record
from tuning.retrain import choose, compare, loss_error, measure, train_again

CONFIG = TrialConfig(hidden_dim=8, epochs=3, batch_size=16, fc_dropout=0.2)


def epochs(*accuracies: float) -> list[EpochResult]:
    return [
        EpochResult(epoch=i, train_loss=0.3, val_loss=0.4, val_accuracy=a, seconds=1.0)
        for i, a in enumerate(accuracies, 1)
    ]


def test_equal_epochs_are_reproduced_whatever_time_they_took() -> None:
    slower = [dataclasses.replace(epoch, seconds=9.0) for epoch in epochs(0.5, 0.6)]
    assert str(compare(epochs(0.5, 0.6), slower)) == "REPRODUCED 2/2 epochs"


def test_the_first_difference_is_named_with_both_values() -> None:
    other = epochs(0.5, 0.6, 0.7)
    other[1] = dataclasses.replace(other[1], val_loss=0.4000000000000001)
    assert str(compare(epochs(0.5, 0.6, 0.7), other)) == (
        "DIFFERS: 1/3 epochs reproduced, then epoch 2 has val_loss 0.4000000000000001 where the search recorded 0.4"
    )


def test_a_training_that_ends_early_is_a_difference() -> None:
    assert str(compare(epochs(0.5, 0.6), epochs(0.5))) == (
        "DIFFERS: 1/2 epochs reproduced, then training ended after epoch 1"
    )


def test_best_is_the_first_of_the_table_and_a_number_is_that_trial() -> None:
    records = [record(0, 0.7), record(1, 0.9, 0.8), record(2, 0.8)]
    assert choose(records, "best").number == 1
    assert choose(records, "2").number == 2


def test_a_trial_that_cannot_be_retrained_is_refused() -> None:
    failed = record(1, state="FAIL", error="TrainingError: NaN")
    with pytest.raises(UserError, match="--trial must be best or a number from 0 to 1, got '7'"):
        choose([record(0, 0.7), failed], "7")
    with pytest.raises(UserError, match=r"trial 1 has no finished epoch \(TrainingError: NaN\)"):
        choose([record(0, 0.7), failed], "1")
    with pytest.raises(UserError, match="no trial of this study has finished yet"):
        choose([], "best")


def test_a_trial_that_was_stopped_early_is_trained_for_its_epochs_and_comes_out_the_same() -> None:
    corpus = tiny_corpus()
    whole = train(CONFIG, corpus)
    stopped = record(4, state="PRUNED", config=CONFIG.to_dict(), epochs=whole.epochs[:2])
    heard: list[int] = []
    again = train_again(stopped, corpus, 1, "cpu", lambda epoch: heard.append(epoch.epoch))
    assert str(compare(stopped.epochs, again.epochs)) == "REPRODUCED 2/2 epochs"
    assert heard == [1, 2]


def test_another_seed_is_not_reproduced() -> None:
    corpus = tiny_corpus()
    recorded = record(4, config=CONFIG.replace(seed=1).to_dict(), epochs=train(CONFIG, corpus).epochs)
    again = train_again(recorded, corpus, 1, "cpu", lambda epoch: None)
    assert str(compare(recorded.epochs, again.epochs)).startswith("DIFFERS: 0/3 epochs reproduced, then epoch 1 has ")


def test_figures_are_of_the_best_epoch_on_validation_and_test() -> None:
    corpus = tiny_corpus(n_sentences=300)
    result = train(CONFIG, corpus)
    figures = measure(result, corpus, 1, "cpu")
    assert figures["val_accuracy"] == result.best_val_accuracy
    assert figures["val_sentences"] == (corpus.split == 1).sum()
    assert figures["test_sentences"] == (corpus.split == 2).sum()
    assert figures["test_accuracy"] * figures["test_sentences"] == pytest.approx(
        round(figures["test_accuracy"] * figures["test_sentences"])
    )


def test_the_standard_error_of_a_loss_is_that_of_its_mean() -> None:
    probabilities = np.array([[0.5, 0.5], [0.1, 0.9], [1.0, 0.0]], dtype=np.float32)
    losses = [0.6931472, 2.3025851, 87.3365448]  # by hand; the last share is too small for float32
    expected = np.std(losses) / np.sqrt(3)
    assert loss_error(probabilities, np.array([0, 0, 1])) == pytest.approx(expected, rel=1e-6)


def test_losses_have_a_standard_error() -> None:
    corpus = tiny_corpus(n_sentences=300)
    figures = measure(train(CONFIG, corpus), corpus, 1, "cpu")
    assert 0 < figures["val_loss_standard_error"] < figures["val_loss"]
    assert 0 < figures["test_loss_standard_error"] < figures["test_loss"]


def test_without_a_test_split_no_test_figure_is_made_up() -> None:
    corpus = tiny_corpus()
    corpus = dataclasses.replace(corpus, split=corpus.split.clip(max=1))
    assert not [name for name in measure(train(CONFIG, corpus), corpus, 1, "cpu") if name.startswith("test")]
