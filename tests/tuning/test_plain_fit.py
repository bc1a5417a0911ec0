"""tuning.plain_fit: the plain baseline in a separate process."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.corpus import TRAIN, VAL, Corpus
from core.data.load import load_corpus
from core.errors import UserError
from core.log_odds import to_probabilities
from core.metrics import METRICS
from core.plain_baseline import evaluate_plain, fit_plain_baseline
from tests.support.assessed_studies import SPEC
from tests.support.epochs import epoch
from tests.support.patience import PATIENCE_SECONDS
from tests.support.studies import write_sentences
from tuning import plain_fit
from tuning.journal.predictions import unpack_labels
from tuning.journal.probabilities import load_probabilities
from tuning.journal.writer import StudyJournal, open_study
from tuning.plain_fit import PlainFit, fit_and_predict


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    return {"dataset": str(write_sentences(tmp_path / "sentences.csv", 60)), "vectors": "none"}


@pytest.fixture
def corpus(data: dict[str, Any], tmp_path: Path) -> Corpus:
    return load_corpus(**data, cache_dir=tmp_path / "cache")


def fit(journal: StudyJournal, corpus: Corpus, data: dict[str, Any], said: list[str], folder: Path) -> PlainFit:
    return PlainFit(journal, data, corpus.fingerprint, "log_loss", folder / "cache", said.append)


@pytest.mark.slow
def test_the_result_is_in_the_journal_after_an_epoch_and_is_that_of_this_process(
    corpus: Corpus, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the folder of the user has a package and a module of the same names."""
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    with open_study(tmp_path / "s", SPEC) as journal:
        with fit(journal, corpus, data, said, tmp_path) as running:
            assert running._process is not None
            running._process.wait()
            running.on_epoch_end(0, epoch(1, 0.5))
            found = journal.attributes["plain_baseline"]
            running.on_epoch_end(0, epoch(2, 0.5))
            running.finish()
        with fit(journal, corpus, data, said, tmp_path) as again:
            assert again._process is None  # the study has it
            again.finish()
        assert journal.attributes["plain_baseline"] == found
    assert said == []
    here = evaluate_plain(fit_plain_baseline(corpus, corpus.indices(TRAIN)), corpus, VAL, METRICS["log_loss"])
    np.testing.assert_array_equal(unpack_labels(found["val_predictions"], "it"), here.predictions)
    assert found["val_metric"] == here.value
    stored = load_probabilities(tmp_path / "s", "plain_baseline", len(here.predictions), 2)
    np.testing.assert_array_equal(stored, to_probabilities(here.log_odds))


def test_a_process_that_is_killed_costs_one_line(
    corpus: Corpus, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_fit, "PROGRAM", "import time; time.sleep(60)")
    said: list[str] = []
    with open_study(tmp_path / "s", SPEC) as journal, fit(journal, corpus, data, said, tmp_path) as running:
        running.on_epoch_end(0, epoch(1, 0.5))  # does not wait
        assert running._process is not None
        os.kill(running._process.pid, signal.SIGKILL)
        running.finish()
        assert "plain_baseline" not in journal.attributes
    assert said == ["no plain baseline: its process ended with code -9; run the same command again to retry"]


def test_after_a_time_budget_the_wait_is_limited_and_leaving_kills_the_process(
    corpus: Corpus, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_fit, "PROGRAM", "import time; time.sleep(60)")
    said: list[str] = []
    with open_study(tmp_path / "s", SPEC) as journal, fit(journal, corpus, data, said, tmp_path) as running:
        running.finish(0)
        process = running._process
    assert process is not None
    assert process.returncode == -signal.SIGKILL
    assert said == ["no plain baseline: its fit has not ended; run the same command again to retry"]


def test_the_process_ends_after_its_parent(corpus: Corpus, data: dict[str, Any], tmp_path: Path) -> None:
    with open_study(tmp_path / "s", SPEC) as journal:
        running = fit(journal, corpus, data, [], tmp_path)
        running._task["parent"] = 0  # as if this process had ended
        with running:
            assert running._process is not None
            assert running._process.wait(PATIENCE_SECONDS) == -signal.SIGKILL


def test_a_process_that_cannot_start_costs_one_line(
    corpus: Corpus, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    said: list[str] = []
    with open_study(tmp_path / "s", SPEC) as journal, fit(journal, corpus, data, said, tmp_path) as running:
        running.finish()
    assert len(said) == 1
    assert said[0].startswith("no plain baseline: [Errno 2] No such file or directory")


def test_what_is_no_text_in_the_import_path_is_left_out(
    corpus: Corpus, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Python does when it imports; a notebook may have added a Path."""
    monkeypatch.setattr(plain_fit, "PROGRAM", "import sys; print(sys.argv[1])")
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    with open_study(tmp_path / "s", SPEC) as journal, fit(journal, corpus, data, [], tmp_path) as running:
        assert running._process is not None


def test_an_error_becomes_a_message(
    corpus: Corpus, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "cache")
    assert "val_predictions" in fit_and_predict(data, corpus.fingerprint, "accuracy", place)
    other = fit_and_predict(data, "0" * 64, "accuracy", place)
    assert other == {"error": "the data have changed since the command began"}
    gone = fit_and_predict(data | {"dataset": str(tmp_path / "gone.csv")}, corpus.fingerprint, "accuracy", place)
    assert "gone.csv" in gone["error"]


def test_a_result_whose_probabilities_cannot_be_written_is_not_recorded(
    corpus: Corpus, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next command fits it again."""

    def full(*_: object) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr(plain_fit, "PROGRAM", """print('{"packed_log_odds": ""}')""")
    monkeypatch.setattr(plain_fit, "save_probabilities", full)
    with open_study(tmp_path / "s", SPEC) as journal, fit(journal, corpus, data, [], tmp_path) as running:
        with pytest.raises(UserError, match=r"^the disk is full$"):
            running.finish()
        assert "plain_baseline" not in journal.attributes
