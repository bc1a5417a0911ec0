"""After the clock is set back between two commands, the study is read as before and continues."""

from datetime import datetime
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.support.assessed_studies import FULL_SPEC, attributes, opened, trial, write_study
from tests.support.journals import epoch
from tuning.analysis.best import table_of
from tuning.analysis.filters import RowFilter
from tuning.journal.records import read_study
from tuning.journal.writer import open_study
from tuning.report.command import page


def at(moment: str) -> type[datetime]:
    """A class of moments for which it is always this one."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.fromisoformat(moment)

    return Stopped


@pytest.mark.slow
def test_a_study_whose_clock_was_set_back_is_read_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trial 1 begins now and ends years before."""
    whole = [trial(0, range(40)), trial(1, range(30), state="RUNNING")]
    write_study(tmp_path / "s", whole, attributes(spec=FULL_SPEC))
    monkeypatch.setattr("optuna.storages.journal._storage.datetime", at("2021-05-01T12:00:00+00:00"))
    with open_study(tmp_path / "s", FULL_SPEC) as journal:
        journal.finish_trial(1, TrialState.COMPLETE, {}, 2)
        journal.record_epoch(journal.add_trial({}, {}, whole[0].config, "sampler"), epoch(1, 0.5))
    _, (first, second, third) = read_study(tmp_path / "s")
    assert second.ended is not None
    assert second.started is not None
    assert second.ended < second.started
    assert [r.state for r in (first, second, third)] == ["COMPLETE", "COMPLETE", "RUNNING"]
    assert "done" in table_of(tmp_path / "s", RowFilter(), "table")
    assert b"Optimisation history" in page(tmp_path / "s", cache_dir=tmp_path, command="x", every_seconds=None)[0]
    assert opened(tmp_path / "s") == "COMPLETE; COMPLETE; RUNNING"
