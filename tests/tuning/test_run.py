"""tuning.run: a search from data to table; tests/system runs it on a real Ray."""

import dataclasses
from pathlib import Path

import pytest

from tests.support.corpora import tiny_corpus
from tests.support.local_backend import trained_here, write_reviews
from tests.support.recorded_study import some_audit
from tests.support.study_configs import options, plan
from tuning.journal.records import study_attributes
from tuning.resources.machine import TrialResources
from tuning.run import _describe, search_study
from tuning.scheduling.study import study_id
from tuning.scheduling.training_length import TrainingLength
from tuning.study_config import PlannedSearch


@pytest.mark.parametrize(
    ("vectors", "advice"),
    [
        ("words.vec", "--vectors with a file of wider ones"),
        ("glove-50d", "--vectors glove-300d (862 MB, fetched once) or --vectors fasttext (1.5 GB)"),
    ],
)
def test_wider_vectors_of_the_same_kind_are_advised(
    vectors: str, advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """English vectors are no replacement for a file, which may be of another language."""
    corpus = tiny_corpus()
    search = PlannedSearch(
        config=plan(), length=TrainingLength(epochs=4, epoch_sentences=None, a_pass=84, reason=""),
        corpus=dataclasses.replace(corpus, source={"audit": some_audit(corpus.classes), "vectors": vectors}),
        resources=TrialResources(), choice=None, fits=1, prior_trials={}, spec={},
    )  # fmt: skip
    _describe(options(tmp_path), {}, search)
    message = f"the word vectors have 8 dimensions, and more usually gain points; pass {advice}\n"
    assert capsys.readouterr().err == message


@pytest.mark.slow
def test_a_study_whose_data_have_moved_removes_its_checkpoints_from_the_storage(tmp_path: Path) -> None:
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    write_reviews(before, 80)
    run = options(
        tmp_path, dataset=str(before), text_column="body", label_column="stars", vectors="none", embedding_dim=4,
        trials=1, epochs="1", cache_dir=tmp_path / "cache", storage=str(tmp_path / "storage"),
    )  # fmt: skip
    with trained_here(before):
        assert search_study(run).finished
        left = tmp_path / "storage" / study_id("s", study_attributes(tmp_path / "s")["spec"])
        (left / "00000-0123456789ab").mkdir(parents=True)
        before.rename(after)
        assert search_study(dataclasses.replace(run, dataset=str(after))).finished
    assert not left.exists()
