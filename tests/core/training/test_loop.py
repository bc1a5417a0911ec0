"""train(): its reports, its end, and that its results depend only on its arguments."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.config import TrialConfig
from core.data.corpus import TEST, TRAIN, VAL, Corpus
from core.errors import ConfigError, DataError, StopTraining, TrainingError
from core.log_odds import to_probabilities
from core.metrics import METRICS
from core.nn.environment import INSTRUCTION_VARIABLES, code_digest, cpu_capability, cpu_model
from core.training.evaluate import evaluate
from core.training.loop import train
from core.training.result import EpochResult, TrainResult, patience_exhausted, weights_digest
from tests.support.corpora import tiny_corpus
from tests.support.epochs import epoch
from tests.support.trainings import Died, assert_bit_identical, dying_after, figures, small

trained = cache(lambda config: train(config, tiny_corpus()))
"""Once for all tests that compare with it."""
NEW_PRECISIONS = hasattr(torch.backends.mkldnn, "matmul")
"""Whether each operation has a precision of its own, as since torch 2.9."""


def test_every_epoch_is_reported_as_it_ends() -> None:
    heard: list[EpochResult] = []
    result = train(small(), tiny_corpus(), report=heard.append)
    assert tuple(heard) == result.epochs
    assert [e.epoch for e in heard] == [1, 2, 3, 4]
    assert all(e.seconds > 0 for e in heard)
    assert result.stopped == "epochs"


def test_accuracy_is_correct_over_total_and_belongs_to_the_predictions() -> None:
    corpus = tiny_corpus(n_classes=3)
    names = tuple(map(str, range(300)))  # more than a byte can count
    corpus = dataclasses.replace(corpus, classes=names, labels=corpus.labels + 297)
    result = train(small(learning_rate=0.05), corpus)
    right = result.val_predictions == corpus.labels[corpus.indices(VAL)]
    assert result.best_val_accuracy == right.mean() > 0
    assert result.val_predictions.dtype == np.int64


@pytest.mark.slow
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
    assert_bit_identical(dataclasses.replace(result, epochs=result.epochs[: result.best_epoch]), cut)


def test_stop_training_ends_it_with_what_it_has() -> None:
    result = train(small(), tiny_corpus(), report=dying_after(2, StopTraining))
    assert result.stopped == "report"
    assert len(result.epochs) == 2
    assert figures(result) == figures(trained(small()))[:2]


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
    epochs = [epoch(i, accuracy) for i, accuracy in enumerate(accuracies, start=1)]
    assert patience_exhausted(epochs, patience) is out


@pytest.mark.slow
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


@pytest.mark.slow
def test_nothing_that_ran_before_changes_a_bit() -> None:
    config = small(embedding_dropout=0.2, n_layers=2, lstm_dropout=0.2)
    first = train(config, tiny_corpus())
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - the global generator is the point
    train(small(seed=1, optimizer="adadelta"), tiny_corpus(pretrained=False))
    assert_bit_identical(train(config, tiny_corpus()), first)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "mode",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: changed(torch.set_default_dtype, torch.get_default_dtype(), torch.float64),
        lambda: torch.device("meta"),
        lambda: changed(torch.set_float32_matmul_precision, "highest", "medium"),
        lambda: bf16_in_all_backends(),
        lambda: changed(partial(setattr, torch.backends.mkldnn, "enabled"), True, False),
    ],
)
def test_modes_of_the_caller_have_no_effect_and_stay(
    mode: Callable[[], contextlib.AbstractContextManager[Any]], precision: str
) -> None:
    """As in a notebook whose author has set them for other models. Products of small matrices are in fp32 anyway."""
    config = small(epochs=1, precision=precision, hidden_dim=128, pooling="attention")
    expected, outside = trained(config), modes()
    with mode():
        before = modes()
        assert_bit_identical(train(config, tiny_corpus()), expected)
        assert modes() == before
    assert modes() == outside


def modes() -> tuple[Any, ...]:
    backends: Any = torch.backends
    own = backends.mkldnn.matmul.fp32_precision if NEW_PRECISIONS else torch.get_float32_matmul_precision()
    ours = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device()
    return *ours, own not in ("none", "ieee", "highest"), backends.mkldnn.enabled


@contextlib.contextmanager
def bf16_in_all_backends() -> Iterator[None]:
    if not NEW_PRECISIONS:
        pytest.skip("this torch has one precision for all of them")
    own: Any = torch.backends.mkldnn.matmul
    own.fp32_precision = "none"  # a test before may have left another one
    with torch.backends.flags(fp32_precision="bf16"):
        yield


@contextlib.contextmanager
def changed(change: Callable[[Any], None], before: Any, after: Any) -> Iterator[None]:
    change(after)
    try:
        yield
    finally:
        change(before)


def test_the_callers_settings_stay_as_they_were() -> None:
    torch.manual_seed(3)
    torch.set_num_threads(2)
    generator = torch.get_rng_state()
    inside: list[int] = []
    config, corpus = small(epochs=1, pooling="attention"), tiny_corpus(pretrained=False)  # every weight is drawn
    train(config, corpus, threads=1, report=lambda _: inside.append(torch.get_num_threads()))
    assert torch.equal(torch.get_rng_state(), generator)
    assert (inside, torch.get_num_threads()) == ([1], 2)
    with pytest.raises(Died):
        train(small(epochs=1), tiny_corpus(), threads=1, report=dying_after(1))
    assert torch.get_num_threads() == 2


def test_the_environment_names_what_bit_identical_results_depend_on() -> None:
    environment = train(small(epochs=1), tiny_corpus(), threads=1).environment
    assert environment == {
        "torch": torch.__version__,
        "threads": 1,
        "precision": "fp32",
        "cpu_capability": cpu_capability(),
        "cpu": cpu_model(),
        "device": "cpu",
        "tf32": False,
        "code": code_digest(),
    }


def test_the_environment_names_variables_that_choose_other_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in INSTRUCTION_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert cpu_capability() == torch.backends.cpu.get_cpu_capability()
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert cpu_capability() == f"{torch.backends.cpu.get_cpu_capability()}, MKL_CBWR=COMPATIBLE"


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
    assert_bit_identical(train(config, corpus), train(config, before))
    assert np.array_equal(corpus.vectors, before.vectors)


def test_frozen_vectors_are_shared_not_copied() -> None:
    corpus = tiny_corpus()
    result = train(small(freeze_embedding=True), corpus)
    assert np.shares_memory(result.weights["embedding.weight"].numpy(), corpus.vectors)
    assert torch.equal(result.weights["embedding.weight"], torch.from_numpy(corpus.vectors))


def test_pretrained_vectors_are_never_shortened() -> None:
    assert_bit_identical(train(small(embedding_max_norm=0.1), tiny_corpus()), trained(small()))


def test_each_step_has_the_learning_rate_of_its_place_and_of_the_losses_before_its_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[tuple[float, list[float]]] = []

    def multiplier(schedule: str, done: float, losses: list[float]) -> float:
        heard.append((done, losses))
        return 1.0

    monkeypatch.setattr("core.training.loop.lr_multiplier", multiplier)
    corpus, config = tiny_corpus(), small(epochs=3)
    losses = [epoch.val_loss for epoch in train(config, corpus).epochs]
    steps = config.steps_per_epoch(len(corpus.indices(TRAIN)))
    assert [before for _, before in heard] == [losses[:n] for n in range(3) for _ in range(steps)]
    assert [done for done, _ in heard] == pytest.approx(np.arange(3 * steps) / (3 * steps))


@pytest.mark.parametrize("frozen", [False, True])
def test_random_vectors_are_shortened(frozen: bool) -> None:
    config = small(embedding_max_norm=0.5, freeze_embedding=frozen)
    vectors = train(config, tiny_corpus(pretrained=False)).weights["embedding.weight"]
    assert vectors.norm(dim=1).max().item() == pytest.approx(0.5, abs=1e-5)


def test_inter_layer_dropout_has_no_effect_on_one_layer() -> None:
    assert_bit_identical(train(small(lstm_dropout=0.5), tiny_corpus()), trained(small()))


CHANGES: list[dict[str, Any]] = [
    {"embedding_dropout": 0.3}, {"weight_dropout": 0.3}, {"fc_dropout": 0.1}, {"fc_dropout_twice": True},
    {"label_smoothing": 0.1}, {"embedding_lr_scale": 0.1}, {"weight_decay": 0.1}, {"clip_norm": 0.01},
    {"lr_schedule": "cosine"}, {"ema_decay": 0.9}, {"precision": "bf16"}, {"n_layers": 2}, {"bidirectional": False},
    {"batch_size": 8}, {"epoch_sentences": 40}, {"seed": 1},
]  # fmt: skip


def test_no_setting_is_forgotten_below() -> None:
    elsewhere = (
        "hidden_dim pooling lstm_dropout freeze_embedding embedding_max_norm optimizer learning_rate class_weight"
    )
    elsewhere += " inexact_lazy_adam epochs patience metric"
    names = {*elsewhere.split(), *(name for each in CHANGES for name in each)}
    assert names == {field.name for field in dataclasses.fields(TrialConfig)}


@pytest.mark.slow
@pytest.mark.parametrize("changes", CHANGES)
def test_every_setting_matters(changes: dict[str, Any]) -> None:
    one, other = trained(small(epochs=1)), train(small(**{"epochs": 1} | changes), tiny_corpus())
    assert one.weights_sha256 != other.weights_sha256


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, r"^threads must be a whole number from 1 to 1024, got 0$"),
        ({"threads": np.int64(2)}, r"^threads must be a whole number from 1 to 1024, got np.int64\(2\)$"),
        ({"threads": "2"}, r"^threads must be a whole number from 1 to 1024, got '2'$"),
        ({"device": "gpu"}, r"^device must be cpu, cuda or cuda:NUMBER, got 'gpu'$"),
        (
            {"device": "cuda:99"},
            r"^device must be cpu, or one of this machine's CUDA devices \([0-9]+\), got 'cuda:99'$",
        ),
    ],
)
def test_threads_and_device_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(small(), tiny_corpus(), **options)


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
        for before, reported in zip(heard[::2], heard[1::2], strict=True):
            assert np.mean(labels == before) == reported.val_accuracy
        assert heard[2 * result.best_epoch - 2] == result.val_predictions.tolist()
        assert max(log_odds) == result.best_epoch
        assert np.array_equal(log_odds[result.best_epoch], result.val_log_odds)


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_the_metric_decides_the_best_epoch(name: str) -> None:
    corpus = tiny_corpus(n_classes=3)
    result = train(small(epochs=6, metric=name), corpus)
    metric, labels = METRICS[name], corpus.labels[corpus.indices(VAL)]
    found = metric.value(labels, result.val_predictions, to_probabilities(result.val_log_odds), 3)
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
