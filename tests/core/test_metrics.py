"""core.metrics: the same values as scikit-learn, on the sentences and on resamples of them."""

import math
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from core.errors import DataError
from core.metrics import METRICS, class_counts, constant_value


def _sklearn_log_loss(labels: NDArray[Any], probabilities: NDArray[Any], n_classes: int) -> float:
    return float(sklearn_metrics.log_loss(labels, probabilities, labels=range(n_classes)))


def _sklearn_roc_auc(labels: NDArray[Any], probabilities: NDArray[Any], n_classes: int) -> float:
    if n_classes == 2:
        return float(sklearn_metrics.roc_auc_score(labels, probabilities[:, 1]))
    options = {"multi_class": "ovr", "labels": range(n_classes)}
    return float(sklearn_metrics.roc_auc_score(labels, probabilities, **options))


SKLEARN: dict[str, Callable[[NDArray[Any], NDArray[Any], int], float]] = {
    "accuracy": lambda y, p, _: float(sklearn_metrics.accuracy_score(y, p)),
    "macro_f1": lambda y, p, _: float(sklearn_metrics.f1_score(y, p, average="macro")),
    "balanced_accuracy": lambda y, p, _: float(sklearn_metrics.balanced_accuracy_score(y, p)),
    "mcc": lambda y, p, _: float(sklearn_metrics.matthews_corrcoef(y, p)),
    "log_loss": _sklearn_log_loss,
    "roc_auc": _sklearn_roc_auc,
}
OF_CLASSES = [name for name, metric in METRICS.items() if not metric.needs_probabilities]


def sklearn_score(name: str, labels: NDArray[Any], outputs: NDArray[Any], n_classes: int) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes that are absent
        return SKLEARN[name](labels, outputs, n_classes)


@st.composite
def classified(draw: st.DrawFn) -> tuple[int, NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Number of classes, labels (n,), predictions (3, n), probabilities (3, n, C) with ties; a class may lack."""
    n_classes, n = draw(st.integers(2, 4)), draw(st.integers(2, 30))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = random.integers(0, draw(st.integers(1, n_classes)), n)
    weights = random.integers(1, draw(st.sampled_from([3, 1000])), (3, n, n_classes)).astype(np.float64)
    probabilities = (weights / weights.sum(axis=2, keepdims=True)).astype(draw(st.sampled_from(["f4", "f8"])))
    return n_classes, labels, probabilities.argmax(axis=2), probabilities


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=40)
@given(case=classified())
def test_a_score_is_that_of_scikit_learn(name: str, case: tuple[int, NDArray[Any], NDArray[Any], NDArray[Any]]) -> None:
    n_classes, labels, predictions, probabilities = case
    metric = METRICS[name]
    outputs = probabilities if metric.needs_probabilities else predictions
    expected = sklearn_score(name, labels, outputs[0], n_classes)
    found = metric.value(labels, predictions[0], probabilities[0], n_classes)
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=40)
@given(case=classified(), seed=st.integers(0, 2**32 - 1))
def test_a_resample_has_the_score_of_the_repeated_sentences(
    name: str, case: tuple[int, NDArray[Any], NDArray[Any], NDArray[Any]], seed: int
) -> None:
    """Where each class is drawn; the next tests say what holds otherwise."""
    n_classes, labels, predictions, probabilities = case
    metric = METRICS[name]
    outputs = probabilities if metric.needs_probabilities else predictions
    drawn = np.random.default_rng(seed).integers(0, len(labels), (2, len(labels)))
    counts = np.stack([np.bincount(each, minlength=len(labels)) for each in drawn])
    found = metric.resampled(labels, outputs, counts, n_classes)
    assert found.shape == (2, 3)
    for r, places in enumerate(drawn):
        if name == "roc_auc" and len(np.unique(labels[places])) < n_classes:
            continue
        for m in (0, 2):
            expected = sklearn_score(name, labels[places], outputs[m][places], n_classes)
            assert found[r, m] == pytest.approx(expected, abs=1e-6)


def test_roc_auc_of_a_resample_leaves_out_a_class_that_it_lacks() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], 6)
    counts = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
    found = METRICS["roc_auc"].resampled(labels, probabilities[None], counts, 3)
    each = [sklearn_metrics.roc_auc_score(labels[:4] == k, probabilities[:4, k]) for k in (0, 1)]
    assert found[0, 0] == pytest.approx(np.mean(each))
    assert found[1, 0] == METRICS["roc_auc"].value(labels, labels, probabilities, 3)  # of a single class
    assert math.isnan(METRICS["roc_auc"].resampled(np.zeros(6, int), probabilities[None], counts, 3)[0, 0])


def test_counts_are_exact_beyond_what_float32_holds() -> None:
    labels, predictions = np.array([0, 1]), np.array([[0, 0]])
    counts = np.array([[2**24, 1]])
    hits, predicted, labelled = class_counts(labels, predictions, counts, 2)
    assert hits.tolist() == [[[2**24, 0]]]
    assert predicted.tolist() == [[[2**24 + 1, 0]]]
    assert labelled.tolist() == [[[2**24, 1]]]
    assert METRICS["accuracy"].resampled(labels, predictions, counts, 2)[0, 0] == 2**24 / (2**24 + 1)


@given(case=classified(), more=st.integers(0, 40), seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["u1", "i8"]))
def test_the_counts_of_many_classes_are_those_of_one_class_at_a_time(
    case: tuple[int, NDArray[Any], NDArray[Any], NDArray[Any]], more: int, seed: int, kind: str
) -> None:
    """Fewer resamples than classes take another path than more of them."""
    n_classes, labels, predictions, _ = case
    predictions, few = predictions.astype(kind), n_classes - 1
    counts = np.random.default_rng(seed).integers(0, 2**30, (n_classes + more, len(labels)))
    many = class_counts(labels, predictions, counts, n_classes)
    for one, other in zip(class_counts(labels, predictions, counts[:few], n_classes), many, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other[:few])


def test_many_classes_are_counted_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass over the sentences for each class would take more than a minute with 3,000 classes."""
    monkeypatch.setattr("core.metrics._exact_floats", None)  # where the passes for each class begin
    labels = np.arange(3_000)
    hits, *_ = class_counts(labels, labels[None], np.ones((3, 3_000), dtype=np.int64), 3_000)
    assert (hits == 1).all()


def test_the_score_of_the_majority_needs_no_memory_for_the_classes() -> None:
    labels, shares = np.arange(5_000) % 1_000, np.full(1_000, 1e-3)
    tracemalloc.start()
    assert constant_value(METRICS["accuracy"], labels, shares) == 1e-3
    assert constant_value(METRICS["log_loss"], labels, shares) == pytest.approx(math.log(1_000))
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found < 1_000_000


def test_a_constant_classifier_has_the_scores_of_chance() -> None:
    labels = np.repeat([0, 1], [95, 5])
    found = {name: METRICS[name].value(labels, np.zeros(100, int), None, 2) for name in OF_CLASSES}
    assert found == {
        "accuracy": 0.95,
        "macro_f1": pytest.approx(0.95 / 1.95),
        "balanced_accuracy": 0.5,
        "mcc": 0,
    }


def test_only_the_loss_is_better_when_it_is_lower() -> None:
    values = np.array([0.2, 0.7])
    for metric in METRICS.values():
        sign = -1 if metric.name == "log_loss" else 1
        assert metric.oriented(values).tolist() == (sign * values).tolist()
        assert metric.oriented(metric.oriented(0.3)) == 0.3


def test_the_user_learns_what_an_absent_class_does() -> None:
    labels, classes = np.array([0, 2]), ["a", "b", "c"]
    remarks = {name: METRICS[name].remark(labels, classes) for name in METRICS if name != "roc_auc"}
    assert {name for name, remark in remarks.items() if remark} == {"macro_f1", "balanced_accuracy"}
    assert remarks["balanced_accuracy"] == (
        "no validation sentence has the label 'b': balanced_accuracy is the mean recall of the other classes"
    )
    assert METRICS["macro_f1"].remark(labels, ["a", "c", "b\n\u202e"]) is not None
    assert "\n" not in str(METRICS["macro_f1"].remark(labels, ["a", "b\n\u202e", "c"]))
    assert {metric.remark(np.arange(3), classes) for metric in METRICS.values()} == {None}


def test_roc_auc_is_refused_where_a_class_is_absent() -> None:
    with pytest.raises(DataError, match="label 'b', so roc_auc is undefined; choose another --metric, or another"):
        METRICS["roc_auc"].remark(np.array([0, 2]), ["a", "b", "c"])
    many = [f"class {k}" for k in range(6)]
    with pytest.raises(DataError, match="'class 1' or 'class 2' or 'class 3' or others, so"):
        METRICS["roc_auc"].remark(np.array([0]), many)


def test_mcc_is_refused_where_all_labels_are_equal() -> None:
    with pytest.raises(DataError, match="all validation sentences have one label, so mcc is 0 for every trial; choose"):
        METRICS["mcc"].remark(np.array([2, 2]), ["a", "b", "c"])


def test_pseudo_values_of_accuracy_are_the_correct_sentences() -> None:
    labels, predictions = np.array([0, 1, 1, 2, 0]), np.array([0, 1, 0, 2, 1])
    found = METRICS["accuracy"].pseudo_values(labels, predictions, 3)
    assert found == pytest.approx((labels == predictions).astype(float))


def test_a_single_sentence_has_no_pseudo_value() -> None:
    one = np.array([0])
    assert np.isnan(METRICS["macro_f1"].pseudo_values(one, one, 2)).tolist() == [True]


@pytest.mark.slow
@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("name", ["macro_f1", "balanced_accuracy", "mcc", "log_loss", "roc_auc"])
def test_pseudo_values_have_the_standard_error_of_a_bootstrap(name: str, in_turn: bool) -> None:
    """Also if the file has sentences of both classes in turn, of which the second is harder."""
    rng = np.random.default_rng(1)
    labels = np.arange(1500) % 2 if in_turn else rng.integers(0, 2, 1500)
    harder = 0.2 * in_turn * labels
    positive = np.clip(0.5 + 0.25 * (labels - 0.5) - harder + rng.normal(0, 0.2, 1500), 0.01, 0.99)
    probabilities = np.stack([1 - positive, positive], axis=1)
    metric = METRICS[name]
    outputs = probabilities if metric.needs_probabilities else probabilities.argmax(axis=1)
    values = metric.pseudo_values(labels, outputs, 2)
    assert len(values) == 500
    score = metric.value(labels, probabilities.argmax(axis=1), probabilities, 2)
    assert values.mean() == pytest.approx(score, abs=2e-3)
    counts = rng.multinomial(1500, np.full(1500, 1 / 1500), 400)
    resampled = metric.resampled(labels, outputs[None], counts, 2)[:, 0]
    assert values.std(ddof=1) / 500**0.5 == pytest.approx(resampled.std(), rel=0.15)


def test_pseudo_values_do_not_depend_on_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 501 rows, which more than 8,000 sentences need several blocks for."""
    labels, predictions = np.random.default_rng(0).integers(0, 3, (2, 700))
    whole = METRICS["macro_f1"].pseudo_values(labels, predictions, 3)
    monkeypatch.setattr("core.metrics.AT_ONCE", 7 * 700)
    assert METRICS["macro_f1"].pseudo_values(labels, predictions, 3) == pytest.approx(whole)


def test_metrics_that_count_or_rank_each_class_take_more_work() -> None:
    names = ("accuracy", "macro_f1", "log_loss", "roc_auc")
    assert [METRICS[name].work(1_000, 1_000) for name in names] == [1_000, 256_000, 10**6, 16 * 10**6]
    assert [METRICS[name].work(1_000, 2) for name in names] == [1_000, 8_000, 2_000, 32_000]
