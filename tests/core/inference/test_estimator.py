"""core.inference.estimator: a scikit-learn estimator that takes texts."""

import copy
import os
import pickle
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import Tags, estimator_checks

from core import SentenceEstimator, TrialConfig, load_model
from core.errors import ConfigError, DataError, UserError
from core.inference.members import LstmMember
from tests.support.models import CLASSES, mixture, plain, saved

SKLEARN = tuple(map(int, sklearn.__version__.split(".")[:2]))
CONFIG = TrialConfig(hidden_dim=8, epochs=4, batch_size=8, fc_dropout=0.0, learning_rate=0.03)
TEXTS = [f"{'fine lovely' if i % 2 else 'poor awful'} number {i} of {i * 7 % 11}" for i in range(60)]
LABELS = ["good" if i % 2 else "bad" for i in range(60)]


def estimator(**changes: Any) -> SentenceEstimator:
    return SentenceEstimator(**({"config": CONFIG, "embedding_dim": 8} | changes))


@pytest.fixture(scope="module")
def fitted() -> SentenceEstimator:
    return estimator().fit(TEXTS, LABELS)


@pytest.mark.slow
def test_it_learns_and_labels_in_the_type_of_the_labels(fitted: SentenceEstimator) -> None:
    assert fitted.score(TEXTS, LABELS) > 0.9
    assert fitted.predict(["lovely fine", "awful"]).tolist() == ["good", "bad"]
    assert fitted.classes_.tolist() == ["bad", "good"]
    assert len(fitted.epochs_) == 4
    numbers = estimator().fit(np.array(TEXTS, dtype=object), np.arange(60) % 2 + 3)
    assert numbers.predict(["lovely fine", "awful"]).tolist() == [4, 3]


def test_texts_without_spaces_are_learned_unless_another_tokenizer_is_given() -> None:
    words = ["好看喜欢", "难看讨厌"]
    texts = [f"第{i}部电影{words[i % 2][i % 3 :]}{i * 7 % 11}" for i in range(60)]
    assert estimator().fit(texts, LABELS).score(texts, LABELS) > 0.9
    english = estimator(tokenizer="english").fit(texts, LABELS)
    assert len(english.model_.vocabulary) == 2 + 54  # each training text is one word
    with pytest.raises(ConfigError, match=r"^tokenizer must be one of auto, english, unicode, characters, got 'nltk'"):
        estimator(tokenizer="nltk").fit(texts, LABELS)


def test_vectors_of_a_file_are_used_and_words_that_no_text_has_keep_theirs(tmp_path: Path) -> None:
    """`weight_decay` changes the vectors that are trained, and a random vector is another one from the start."""
    (tmp_path / "v.vec").write_text("fine 1 0\nzebra 0.25 0.5\n")
    config = CONFIG.replace(weight_decay=0.1, epochs=1)
    model = estimator(config=config, vectors=tmp_path / "v.vec").fit(TEXTS, LABELS).model_
    (member,) = model.members
    assert isinstance(member, LstmMember)
    assert model.vocabulary.words[-1] == "zebra"
    assert member.weights["embedding.weight"][-1].tolist() == [0.25, 0.5]


def test_probabilities_are_in_the_order_of_the_classes(fitted: SentenceEstimator) -> None:
    probabilities = fitted.predict_proba(TEXTS)
    assert probabilities.shape == (60, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    assert (fitted.classes_[probabilities.argmax(axis=1)] == fitted.predict(TEXTS)).all()


def test_random_vectors_have_the_width_that_is_asked_for(fitted: SentenceEstimator) -> None:
    (member,) = fitted.model_.members
    assert isinstance(member, LstmMember)
    assert member.weights["embedding.weight"].shape[1] == 8


def test_the_same_seed_gives_the_same_estimator_and_another_seed_another(
    fitted: SentenceEstimator,
) -> None:
    one, same = (each.predict_proba(TEXTS) for each in (fitted, estimator().fit(TEXTS, LABELS)))
    other = estimator(config=CONFIG.replace(seed=1)).fit(TEXTS, LABELS).predict_proba(TEXTS)
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.slow
def test_it_works_in_cross_validation_a_pipeline_and_a_grid() -> None:
    lower = FunctionTransformer(lambda texts: [text.upper() for text in texts])
    scores = cross_val_score(make_pipeline(lower, estimator()), TEXTS, LABELS, cv=2, error_score="raise")
    assert scores.min() > 0.8
    grid = GridSearchCV(estimator(), {"config": [CONFIG.replace(epochs=1, learning_rate=1e-6), CONFIG]}, cv=2)
    assert grid.fit(TEXTS, LABELS).best_params_["config"] == CONFIG


def test_a_copy_limits_its_cached_kernels_too(fitted: SentenceEstimator, monkeypatch: pytest.MonkeyPatch) -> None:
    copied, expected = pickle.loads(pickle.dumps(fitted)), fitted.predict_proba(TEXTS)
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        monkeypatch.delenv(name, raising=False)
    assert (copied.predict_proba(TEXTS) == expected).all()
    assert (os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"], os.environ["LRU_CACHE_CAPACITY"]) == ("128", "64")


def test_a_model_folder_is_a_fitted_estimator(tmp_path: Path) -> None:
    path = saved(tmp_path, *mixture(), temperature=1.5)
    loaded, model, texts = SentenceEstimator.load(path), load_model(path), ["good", "", "bad good"]
    assert loaded.classes_.tolist() == list(CLASSES)
    np.testing.assert_array_equal(loaded.predict_proba(texts), model.probabilities(texts))
    assert loaded.predict(texts).tolist() == [each.label for each in model.predict(texts)]
    labels = ["negative", "negative", "positive"]
    assert loaded.score(texts, labels) == np.mean(loaded.predict(texts) == labels)
    with pytest.raises(NotFittedError):
        clone(loaded).predict(texts)


def test_labels_of_a_loaded_model_do_not_depend_on_the_temperature(tmp_path: Path) -> None:
    """Rounding makes both probabilities equal."""
    loaded = SentenceEstimator.load(saved(tmp_path, plain(intercepts=(0, 2**-50)), temperature=20))
    assert loaded.predict_proba(["zzz"]).tolist() == [[0.5, 0.5]]
    assert loaded.predict(["zzz"]).tolist() == ["positive"]


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (TEXTS, LABELS[:-1], "inconsistent numbers of samples"),
        (TEXTS, ["a"] * 60, r"y must hold at least two classes, got one class: \['a'\]"),
        ([], [], "^y must hold at least two classes, got no labels$"),
        (TEXTS, np.array(["a", 1] * 30, dtype=object), "^y must hold labels of one type, texts or numbers: '<' not"),
        pytest.param(
            TEXTS,
            [b"a", b"b"] * 30,
            "^y must hold labels of one type, texts or numbers: Support for labels .+ bytes",
            marks=pytest.mark.skipif(SKLEARN < (1, 7), reason="this scikit-learn uses them, with a warning"),
        ),
        (TEXTS, np.linspace(0, 1, 60), "Unknown label type"),
        (TEXTS, [*LABELS[:-1], None], "^y has no label at place 59; add it, or leave out this text$"),
        (TEXTS, [float("nan"), *LABELS[1:]], "^y has no label at place 0; "),
        (TEXTS, pd.Series([1, None] * 30, dtype="Int64"), "^y has no label at place 1; "),
    ],
)
def test_what_it_cannot_fit_is_named(texts: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimator().fit(texts, labels)


def test_a_fit_that_fails_changes_nothing(fitted: SentenceEstimator, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def interrupted(*arguments: object, **options: object) -> None:
        threads.append(options["threads"])
        raise KeyboardInterrupt

    new, old = estimator(threads=2), copy.copy(fitted)
    monkeypatch.setattr("core.inference.estimator.train", interrupted)
    for each in (new, old):
        with pytest.raises(KeyboardInterrupt):
            each.fit(TEXTS, ["one", "two", "three"] * 20)
    assert threads == [2, 1]
    with pytest.raises(NotFittedError):
        new.predict(TEXTS)
    assert old.predict(["lovely fine", "awful"]).tolist() == ["good", "bad"]


def test_paths_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a folder of the name `~` is made."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, plain())
    assert SentenceEstimator.load(f"~/{path.name}").classes_.tolist() == list(CLASSES)
    places: list[Path] = []

    def resolve(vectors: str, folder: Path, width: int) -> None:
        places.extend((Path(vectors), folder))
        raise UserError

    monkeypatch.setattr("core.inference.estimator.resolve_vectors", resolve)
    with pytest.raises(UserError):
        estimator(vectors=Path("mine.vec"), cache_dir="~/cache").fit(TEXTS, LABELS)
    assert places == [Path("mine.vec"), tmp_path / "cache"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [(pd.DataFrame({"text": TEXTS}), "texts must be a list"), (["a", float("nan")], "text 2 must be a str")],
)
def test_values_that_are_no_texts_are_named(fitted: SentenceEstimator, texts: Any, message: str) -> None:
    for call in (lambda values: estimator().fit(values, LABELS), fitted.predict, fitted.predict_proba):
        with pytest.raises(DataError, match=f"^{message}"):
            call(texts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"hidden_dim": 64}}, r"config must be a TrialConfig or None, got {'hidden_dim': 64}"),
        ({"vectors": None}, "vectors must be a text or a path, got None"),
        ({"cache_dir": 3}, "cache_dir must be a text, a path or None, got 3"),
        ({"threads": 0}, "threads must be a whole number from 1 to 1024, got 0"),
        (
            {"threads": "2", "embedding_dim": 0, "tokenizer": "x"},
            "tokenizer must be .+, got 'x'; embedding_dim must be .+ 1 to 8192, got 0; threads must be .+, got '2'",
        ),
    ],
)
def test_wrong_settings_are_named_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        estimator(**changes).fit(TEXTS, LABELS)


GENERAL = [
    "check_estimator_cloneable",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
    "check_mixin_order",
]
"""scikit-learn's own checks that feed no table of numbers."""


@pytest.mark.parametrize("name", GENERAL)
def test_it_passes_scikit_learns_general_checks(name: str) -> None:
    getattr(estimator_checks, name)("SentenceEstimator", estimator())


class OfRows(SentenceEstimator):
    """Reads a table of numbers as texts, because scikit-learn's checks of training feed nothing else."""

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        return super().fit(as_texts(X), y)

    def predict(self, X: Any) -> Any:  # noqa: N803
        return super().predict(as_texts(X))

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        return super().predict_proba(as_texts(X))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array, tags.input_tags.one_d_array = False, True, False
        return tags


def as_texts(rows: Any) -> list[str]:
    return [" ".join(f"c{place}v{float(value):.2f}" for place, value in enumerate(row)) for row in np.asarray(rows)]


TRAINING = [
    "check_classifiers_classes",
    "check_classifiers_regression_target",
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_estimators_unfitted",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_readonly_memmap_input",
    "check_requires_y_none",
    "check_supervised_y_2d",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINING)
def test_it_passes_scikit_learns_checks_of_training(name: str) -> None:
    config = TrialConfig(hidden_dim=4, epochs=1, batch_size=16)
    getattr(estimator_checks, name)("OfRows", OfRows(config, embedding_dim=4))
