"""tuning.run: a search from data to table; tests/system runs it on a real Ray."""

import dataclasses
from pathlib import Path

import pytest

from tests.support.local_backend import trained_here, write_reviews
from tests.support.study_configs import options
from tuning.journal.records import study_attributes
from tuning.run import search_study
from tuning.scheduling.study import study_id


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
