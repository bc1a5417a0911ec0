"""train(): its reports, its end, and that its results depend only on its arguments."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from core.config import OPTIMIZERS, TrialConfig
from core.data.corpus import TEST, TRAIN, VAL, Corpus
from core.errors import ConfigError, DataError, StopTraining, TrainingError
from core.log_odds import to_probabilities
from core.metrics import METRICS
from core.nn.environment import code_digest, cpu_model
from core.training.evaluate import evaluate
from core.training.loop import train
from core.training.result import EpochResult, TrainResult, best_epoch, patience_exhausted, weights_digest
from tests.support.corpora import tiny_corpus

SMALL: dict[str, Any] = {"hidden_dim": 5, "epochs": 4, "learning_rate": 1e-2, "batch_size": 16}


def small(**changes: Any) -> TrialConfig:
    return TrialConfig(**SMALL | changes)


def figures(result: TrainResult) -> list[tuple[float, ...]]:
    """Every epoch without its seconds."""
    return [(e.epoch, e.train_loss, e.val_loss, e.val_accuracy) for e in result.epochs]


def assert_same_bits(one: TrainResult, other: TrainResult) -> None:
    assert figures(one) == figures(other)
    assert one.best_epoch == other.best_epoch
    assert one.weights_sha256 == other.weights_sha256
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert np.array_equal(one.val_predictions, other.val_predictions)


class Died(Exception):  # noqa: N818 - not an error of ours
    """Stands for a process that ends in the middle."""


def dying_after(epoch: int, error: type[BaseException] = Died) -> Callable[[EpochResult], None]:
    def report(result: EpochResult) -> None:
        if result.epoch == epoch:
            raise error

    return report


def test_it_learns() -> None:
    result = train(small(epochs=10, hidden_dim=16), tiny_corpus())
    assert result.best_val_accuracy > 0.75
    assert result.epochs[-1].train_loss < result.epochs[0].train_loss


def test_every_epoch_is_reported_as_it_ends() -> None:
    heard: list[EpochResult] = []
    result = train(small(), tiny_corpus(), report=heard.append)
    assert tuple(heard) == result.epochs
    assert [e.epoch for e in heard] == [1, 2, 3, 4]
    assert all(e.seconds > 0 for e in heard)
    assert result.stopped == "epochs"


def test_accuracy_is_correct_over_total_and_belongs_to_the_predictions() -> None:
    corpus = tiny_corpus(n_classes=3)
    result = train(small(), corpus)
    right = result.val_predictions == corpus.labels[corpus.indices(VAL)]
    assert result.best_val_accuracy == right.mean()
    assert result.val_predictions.dtype == np.int64


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9}, {"embedding_max_norm": 1.0}, {"precision": "bf16"}])
def test_the_kept_weights_are_those_that_were_judged(changes: dict[str, Any]) -> None:
    corpus = tiny_corpus(pretrained=False)
    result = train(small(**changes), corpus)
    judged = evaluate(result.config, result.weights, corpus, VAL)
    assert judged.loss == result.best_val_loss
    assert judged.accuracy == result.best_val_accuracy
    assert np.array_equal(judged.predictions, result.val_predictions)
    assert result.weights_sha256 == weights_digest(result.weights)


@pytest.mark.slow
def test_kept_weights_do_not_move_on_with_training() -> None:
    """Stopping right after the best epoch gives the weights that later epochs left alone."""
    corpus = tiny_corpus()
    result = train(small(epochs=12, learning_rate=0.05, batch_size=8), corpus)
    assert result.best_epoch < 12
    cut = train(small(epochs=result.best_epoch, learning_rate=0.05, batch_size=8), corpus)
    assert_same_bits(dataclasses.replace(result, epochs=result.epochs[: result.best_epoch]), cut)


def test_stop_training_ends_it_with_what_it_has() -> None:
    result = train(small(), tiny_corpus(), report=dying_after(2, StopTraining))
    assert result.stopped == "report"
    assert len(result.epochs) == 2
    assert figures(result) == figures(train(small(), tiny_corpus()))[:2]


def test_patience_ends_it_after_epochs_without_a_better_accuracy() -> None:
    result = train(small(epochs=40, patience=3, learning_rate=0.03), tiny_corpus())
    assert result.stopped == "patience"
    accuracies = [e.val_accuracy for e in result.epochs]
    assert accuracies.index(max(accuracies)) == len(accuracies) - 4


@pytest.mark.parametrize(
    ("accuracies", "patience", "out"),
    [([], 1, False), ([0.5], 1, False), ([0.5, 0.5], 1, True), ([0.5, 0.6], 1, False), ([0.5, 0.4, 0.6], 2, False)],
)
def test_patience_counts_from_the_last_improvement(accuracies: list[float], patience: int, out: bool) -> None:
    epochs = [
        EpochResult(epoch=i, train_loss=1, val_loss=1, val_accuracy=accuracy, score=accuracy, seconds=1)
        for i, accuracy in enumerate(accuracies, start=1)
    ]
    assert patience_exhausted(epochs, patience) is out


@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [
        ("adam", "fp32"),
        pytest.param("adadelta", "bf16", marks=pytest.mark.slow),
        *(pytest.param(name, "fp32", marks=pytest.mark.slow) for name in OPTIMIZERS if name != "adam"),
        pytest.param("adamw", "bf16", marks=pytest.mark.slow),
    ],
)
def test_ten_epochs_are_four_a_death_and_six_more(optimizer: str, precision: str, tmp_path: Path) -> None:
    corpus = tiny_corpus(pretrained=False, n_sentences=60)
    config = small(
        optimizer=optimizer,
        precision=precision,
        epochs=10,
        n_layers=2,
        embedding_dropout=0.1,
        lstm_dropout=0.2,
        embedding_max_norm=2.0,
    )
    with pytest.raises(Died):
        train(config, corpus, report=dying_after(4), checkpoint_dir=tmp_path)
    torch.rand(5)  # what else happens in the second process
    resumed = train(config, corpus, checkpoint_dir=tmp_path)
    assert_same_bits(resumed, train(config, corpus))
    assert "before_resume" not in resumed.environment


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"ema_decay": 0.8, "lr_schedule": "plateau"},
        {"ema_decay": 0.8, "optimizer": "adadelta", "lr_schedule": "cosine"},
        {"freeze_embedding": True, "embedding_max_norm": 1.0},
        {"inexact_lazy_adam": True, "weight_decay": 0.01},
        {"patience": 2, "learning_rate": 0.05},
        {"weight_dropout": 0.5, "n_layers": 2, "precision": "bf16"},
        {"epoch_sentences": 30, "ema_decay": 0.8, "lr_schedule": "cosine"},
        {"epoch_sentences": 150, "optimizer": "adadelta", "weight_dropout": 0.3},
    ],
)
@pytest.mark.parametrize("pretrained", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_resume_restores_whatever_a_setting_needs(changes: dict[str, Any], pretrained: bool, tmp_path: Path) -> None:
    corpus = tiny_corpus(pretrained=pretrained)
    config = small(epochs=5, **changes) if "learning_rate" not in changes else small(**{"epochs": 9, **changes})
    with pytest.raises(Died):
        train(config, corpus, report=dying_after(3), checkpoint_dir=tmp_path)
    whole = train(config, corpus)
    resumed = train(config, corpus, checkpoint_dir=tmp_path)
    assert_same_bits(resumed, whole)
    assert resumed.stopped == whole.stopped


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_two_epochs_of_half_a_pass_take_the_steps_of_one(schedule: str) -> None:
    """Dropout masks depend on the epoch, so there is none here."""
    corpus = tiny_corpus()
    half = len(corpus.indices(TRAIN)) // 2
    assert small().steps_per_epoch(2 * half) % 2 == 0
    plain = {"fc_dropout": 0.0, "lr_schedule": schedule}
    whole = train(small(epochs=2, **plain), corpus)
    halves = train(small(epochs=4, epoch_sentences=half, **plain), corpus)
    assert [epoch.val_loss for epoch in halves.epochs[1::2]] == [epoch.val_loss for epoch in whole.epochs]
    assert halves.epochs[0].val_loss != whole.epochs[0].val_loss


def test_an_epoch_of_all_sentences_is_a_pass_and_two_runs_are_equal() -> None:
    corpus = tiny_corpus()
    whole, again = (train(small(epoch_sentences=len(corpus.indices(TRAIN))), corpus) for _ in range(2))
    assert_same_bits(whole, again)
    assert_same_bits(whole, train(small(), corpus))


def test_after_a_resume_the_known_epochs_are_reported_first(tmp_path: Path) -> None:
    heard: list[EpochResult] = []
    with pytest.raises(Died):
        train(small(), tiny_corpus(), report=dying_after(2), checkpoint_dir=tmp_path)
    result = train(small(), tiny_corpus(), report=heard.append, checkpoint_dir=tmp_path)
    assert tuple(heard) == result.epochs
    assert [e.epoch for e in heard] == [1, 2, 3, 4]


def test_a_finished_training_is_only_read_again(tmp_path: Path) -> None:
    first = train(small(), tiny_corpus(), checkpoint_dir=tmp_path)
    again = train(small(), tiny_corpus(), checkpoint_dir=tmp_path)
    assert again.epochs == first.epochs  # seconds too: nothing was trained
    assert_same_bits(again, first)


def test_the_checkpoints_may_be_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    train(small(epochs=1), tiny_corpus(), checkpoint_dir="~/checkpoints")
    assert (tmp_path / "checkpoints" / "epoch-00001").is_dir()


def test_a_listener_may_stop_at_an_epoch_that_it_hears_again(tmp_path: Path) -> None:
    with pytest.raises(Died):
        train(small(), tiny_corpus(), report=dying_after(2), checkpoint_dir=tmp_path)
    result = train(small(), tiny_corpus(), report=dying_after(2, StopTraining), checkpoint_dir=tmp_path)
    assert result.stopped == "report"
    assert len(result.epochs) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes_through_and_leaves_a_whole_checkpoint(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error):
        train(small(), tiny_corpus(), report=dying_after(3, error), checkpoint_dir=tmp_path)
    assert_same_bits(train(small(), tiny_corpus(), checkpoint_dir=tmp_path), train(small(), tiny_corpus()))


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9}, {"embedding_max_norm": 1.0}])
def test_a_checkpoint_holds_the_best_weights_only_where_they_are_older(changes: dict[str, Any], tmp_path: Path) -> None:
    config = small(epochs=8, learning_rate=0.05, **changes)
    whole = train(config, tiny_corpus(pretrained=False))
    held = []
    for epoch in range(1, 9):
        with pytest.raises(Died):
            train(config, tiny_corpus(pretrained=False), report=dying_after(epoch), checkpoint_dir=tmp_path)
        names = load_file(tmp_path / f"epoch-{epoch:05d}" / "tensors.safetensors").keys()
        held.append(any(name.startswith("best.") for name in names))
    assert held == [best_epoch(whole.epochs[:epoch]).epoch < epoch for epoch in range(1, 9)]
    assert set(held) == {True, False}
    assert_same_bits(train(config, tiny_corpus(pretrained=False), checkpoint_dir=tmp_path), whole)


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_an_epoch_and_no_bit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Died):
        train(small(), tiny_corpus(), report=dying_after(3), checkpoint_dir=tmp_path)
    file = tmp_path / "epoch-00003" / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING, "core.training.checkpoint"):
        resumed = train(small(), tiny_corpus(), checkpoint_dir=tmp_path)
    assert "epoch-00003 is damaged" in caplog.text
    assert_same_bits(resumed, train(small(), tiny_corpus()))


def test_another_trainings_checkpoint_is_refused(tmp_path: Path) -> None:
    train(small(epochs=1), tiny_corpus(), checkpoint_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"belongs to another training \(hidden_dim 5, now 6\); choose another"):
        train(small(epochs=1, hidden_dim=6), tiny_corpus(), checkpoint_dir=tmp_path)
    other = dataclasses.replace(tiny_corpus(), fingerprint="1" * 64)
    with pytest.raises(ConfigError, match=r"\(corpus 0{64}, now 1{64}\)"):
        train(small(epochs=1), other, checkpoint_dir=tmp_path)
    wider = dataclasses.replace(tiny_corpus(pretrained=False), fingerprint=tiny_corpus().fingerprint, embedding_dim=77)
    with pytest.raises(ConfigError, match=r"\(embedding_dim \d+, now 77\)"):
        train(small(epochs=1), wider, checkpoint_dir=tmp_path)


def test_a_resume_elsewhere_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Died):
        train(small(), tiny_corpus(), report=dying_after(2), checkpoint_dir=tmp_path)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
    resumed = train(small(), tiny_corpus(), checkpoint_dir=tmp_path)
    assert resumed.environment["cpu_capability"] == "another"
    assert resumed.environment["before_resume"]["cpu_capability"] != "another"
    again = train(small(), tiny_corpus(), checkpoint_dir=tmp_path)
    assert again.environment == resumed.environment  # nothing has changed since


@pytest.mark.slow
def test_nothing_that_ran_before_changes_a_bit() -> None:
    config = small(embedding_dropout=0.2, n_layers=2, lstm_dropout=0.2)
    first = train(config, tiny_corpus())
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - the global generator is the point
    train(small(seed=1, optimizer="adadelta"), tiny_corpus(pretrained=False))
    assert_same_bits(train(config, tiny_corpus()), first)


def test_the_callers_settings_stay_as_they_were() -> None:
    torch.manual_seed(3)
    torch.set_num_threads(2)
    generator = torch.get_rng_state()
    inside: list[int] = []
    train(small(epochs=1), tiny_corpus(), threads=1, report=lambda _: inside.append(torch.get_num_threads()))
    assert torch.equal(torch.get_rng_state(), generator)
    assert (inside, torch.get_num_threads()) == ([1], 2)
    with pytest.raises(Died):
        train(small(epochs=1), tiny_corpus(), threads=1, report=dying_after(1))
    assert torch.get_num_threads() == 2


def test_the_seed_changes_the_result() -> None:
    results = {train(small(epochs=1, seed=seed), tiny_corpus()).weights_sha256 for seed in (1, 2)}
    assert len(results) == 2


def test_the_environment_names_what_the_bits_depend_on() -> None:
    environment = train(small(epochs=1), tiny_corpus(), threads=1).environment
    assert environment == {
        "torch": torch.__version__,
        "threads": 1,
        "precision": "fp32",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu": cpu_model(),
        "device": "cpu",
        "tf32": False,
        "code": code_digest(),
    }


def read_only(corpus: Corpus, folder: Path) -> Corpus:
    """The same corpus with its arrays memory-mapped as the cache maps them."""
    arrays = {}
    for name in ("tokens", "offsets", "labels", "split", "vectors"):
        np.save(folder / f"{name}.npy", getattr(corpus, name))
        arrays[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
    return dataclasses.replace(corpus, **arrays)


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
def test_a_read_only_corpus_is_trained_on_and_left_alone(frozen: bool, tmp_path: Path) -> None:
    config = small(freeze_embedding=frozen, embedding_max_norm=0.1)
    before = tiny_corpus()
    corpus = read_only(before, tmp_path)
    assert_same_bits(train(config, corpus), train(config, before))
    assert np.array_equal(corpus.vectors, before.vectors)


def test_frozen_vectors_are_shared_not_copied() -> None:
    corpus = tiny_corpus()
    result = train(small(freeze_embedding=True), corpus)
    assert np.shares_memory(result.weights["embedding.weight"].numpy(), corpus.vectors)
    assert torch.equal(result.weights["embedding.weight"], torch.from_numpy(corpus.vectors))


def test_pretrained_vectors_are_never_shortened() -> None:
    corpus = tiny_corpus()
    assert_same_bits(train(small(embedding_max_norm=0.1), corpus), train(small(), corpus))


def test_random_vectors_are_shortened() -> None:
    corpus = tiny_corpus(pretrained=False)
    vectors = train(small(embedding_max_norm=0.5), corpus).weights["embedding.weight"]
    assert vectors.norm(dim=1).max().item() == pytest.approx(0.5, abs=1e-5)


def test_inter_layer_dropout_has_no_effect_on_one_layer() -> None:
    assert_same_bits(train(small(lstm_dropout=0.5), tiny_corpus()), train(small(), tiny_corpus()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"embedding_dropout": 0.3},
        {"weight_dropout": 0.3},
        {"fc_dropout": 0.1},
        {"fc_dropout_twice": True},
        {"label_smoothing": 0.1},
        {"embedding_lr_scale": 0.1},
        {"weight_decay": 0.1},
        {"clip_norm": 0.01},
        {"lr_schedule": "cosine"},
        {"ema_decay": 0.9},
        {"precision": "bf16"},
        {"n_layers": 2},
        {"bidirectional": False},
        {"batch_size": 8},
        {"epoch_sentences": 40},
    ],
)
def test_every_setting_matters(changes: dict[str, Any]) -> None:
    corpus = tiny_corpus()
    one, other = (train(small(**{"epochs": 2} | each), corpus).weights_sha256 for each in ({}, changes))
    assert one != other


def test_trained_numbers_are_counted() -> None:
    corpus = tiny_corpus(n_words=40, dim=8)
    lstm = 2 * (4 * 5 * (8 + 5) + 2 * 4 * 5)
    head = 2 * 5 * 2 + 2
    assert train(small(epochs=1, freeze_embedding=True), corpus).n_parameters == lstm + head
    assert train(small(epochs=1), corpus).n_parameters == lstm + head + 40 * 8


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
def test_a_diverging_loss_stops_with_epoch_step_and_settings(optimizer: str) -> None:
    config = small(optimizer=optimizer, learning_rate=1e18, embedding_lr_scale=1e18, clip_norm=None)
    with pytest.raises(
        TrainingError,
        match=rf"loss is (nan|inf) (in|after) epoch 1(, step \d+)?, with .*optimizer {optimizer}, learning_rate 1e\+18",
    ):
        train(config, tiny_corpus())


def test_a_loss_that_is_not_a_number_names_its_step() -> None:
    """Adadelta, whose steps cannot grow far enough in an epoch, on a vector that is not finite."""
    corpus = tiny_corpus()
    vectors = np.array(corpus.vectors)
    vectors[corpus.tokens[-1]] = np.inf
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1, step [1-9]\d*, with .*optimizer adadelta"):
        train(small(optimizer="adadelta"), dataclasses.replace(corpus, vectors=vectors))


@pytest.mark.parametrize(("split", "name"), [(TRAIN, "training"), (VAL, "validation")])
def test_an_empty_split_is_refused(split: int, name: str) -> None:
    corpus = tiny_corpus()
    without = dataclasses.replace(corpus, split=np.where(corpus.split == split, TEST, corpus.split).astype(np.uint8))
    with pytest.raises(DataError, match=f"the corpus has no {name} sentences; choose another split rule"):
        train(small(), without)


def test_bf16_on_a_gpu_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^precision bf16 is for CPUs: on a GPU, .* in fp16; choose fp32$"):
        train(small(precision="bf16"), tiny_corpus(), device="cuda")


def test_the_predictions_of_each_epoch_come_before_its_report(tmp_path: Path) -> None:
    """After a resume too; the log-odds come with each epoch that is the best so far."""
    heard: list[Any] = []
    log_odds: dict[int, Any] = {}
    corpus, config = tiny_corpus(), small(epochs=6)

    def listen(stop_after: int) -> TrainResult:
        def report(epoch: EpochResult) -> None:
            heard.append(epoch)
            if epoch.epoch == stop_after:
                raise StopTraining

        def on_validation(epoch: int, predictions: Any, packed: Any) -> None:
            heard.append(predictions.tolist())
            if packed is not None:
                log_odds[epoch] = packed

        return train(config, corpus, report=report, on_validation=on_validation, checkpoint_dir=tmp_path / "c")

    labels = corpus.labels[corpus.indices(VAL)]
    for stop_after in (3, 6):
        heard.clear()
        log_odds.clear()
        result = listen(stop_after)
        epochs = [epoch for epoch in heard if isinstance(epoch, EpochResult)]
        assert [epoch.epoch for epoch in epochs] == list(range(1, stop_after + 1))
        assert len(heard) == 2 * stop_after
        for before, epoch in zip(heard[::2], heard[1::2], strict=True):
            assert np.mean(labels == before) == epoch.val_accuracy
        assert heard[2 * result.best_epoch - 2] == result.val_predictions.tolist()
        assert max(log_odds) == result.best_epoch
        assert np.array_equal(log_odds[result.best_epoch], result.val_log_odds)


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_the_metric_decides_the_best_epoch(name: str) -> None:
    corpus = tiny_corpus(n_classes=3)
    result = train(small(epochs=6, metric=name), corpus)
    metric, labels = METRICS[name], corpus.labels[corpus.indices(VAL)]
    found = metric.score(labels, result.val_predictions, to_probabilities(result.val_log_odds), 3)
    assert result.best_score == metric.oriented(found) == max(epoch.score for epoch in result.epochs)
    if name == "accuracy":
        assert [epoch.score for epoch in result.epochs] == [epoch.val_accuracy for epoch in result.epochs]
    if name == "log_loss":
        assert [epoch.score for epoch in result.epochs] == pytest.approx([-e.val_loss for e in result.epochs], rel=1e-3)


def test_patience_follows_the_metric() -> None:
    """With a rate this high the loss grows, while the accuracy may not."""
    result = train(small(epochs=12, learning_rate=0.3, metric="log_loss", patience=2), tiny_corpus())
    assert result.stopped == "patience"
    assert len(result.epochs) == result.best_epoch + 2


def test_a_metric_that_is_undefined_is_refused_before_the_training() -> None:
    corpus = tiny_corpus(n_classes=3)
    labels = np.where((corpus.labels == 2) & (corpus.split == VAL), 0, corpus.labels)
    with pytest.raises(DataError, match="so roc_auc is undefined; choose another --metric, or another split"):
        train(small(metric="roc_auc"), dataclasses.replace(corpus, labels=labels))
