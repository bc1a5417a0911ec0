"""tuning.tracking.tensorboard: TensorBoard reads the content of the journal, once."""

import errno
import os
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core.config import TrialConfig
from tests.support.epochs import epoch
from tests.support.small_study import add, small_study
from tests.support.tensorboard import accuracies, hparams, scalars
from tuning.tracking import tensorboard as module
from tuning.tracking.tensorboard import TensorBoardCallback

SEARCHED = ["hidden_dim", "bidirectional", "ema_decay"]


def approximately(expected: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """In single precision, as event files hold it."""
    return [(step, struct.unpack("f", struct.pack("f", value))[0]) for step, value in expected]


def test_a_folder_that_cannot_be_removed_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On NFS, a file that TensorBoard has open remains under another name."""
    said: list[str] = []

    def busy(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))

    with small_study(tmp_path / "s") as journal, closing(TensorBoardCallback(journal, SEARCHED, said.append)) as files:
        monkeypatch.setattr(os, "rmdir", busy)
        files.on_trial_start(4, TrialConfig())
        monkeypatch.undo()
        assert scalars(tmp_path / "s" / "tensorboard" / "trial-00004")["val_accuracy"] == approximately([(1, 0.55)])
    assert said == []


def test_every_trial_of_the_journal_is_a_run(tmp_path: Path) -> None:
    with small_study(tmp_path / "s") as journal, closing(TensorBoardCallback(journal, SEARCHED, print)):
        folder = tmp_path / "s" / "tensorboard"
        assert sorted(path.name for path in folder.iterdir()) == [f"trial-0000{number}" for number in range(5)]
        for record in journal.records():
            found = scalars(folder / f"trial-0000{record.number}")
            assert found.get("val_accuracy", []) == approximately(accuracies(record))
        assert scalars(folder / "trial-00000")["best_val_accuracy"] == approximately([(1, 0.6), (2, 0.8), (3, 0.8)])
        assert scalars(folder / "trial-00000")["seconds"] == [(1, 2.0), (2, 2.0), (3, 2.0)]
        assert hparams(folder / "trial-00000") == (
            {"hidden_dim": 64.0, "bidirectional": True, "ema_decay": "none"},
            1,
        )
        assert hparams(folder / "trial-00002")[1] == 2
        events, began = EventAccumulator(str(folder / "trial-00000")), journal.records()[0].started_at
        events.Reload()
        assert began is not None
        assert [each.wall_time - began for each in events.Scalars("val_loss")] == pytest.approx([2, 4, 6], abs=0.01)


def test_a_running_trial_is_seen_while_it_runs(tmp_path: Path) -> None:
    """Its epochs before the start are there, and none twice though the worker tells them again."""
    with small_study(tmp_path / "s") as journal, closing(TensorBoardCallback(journal, SEARCHED, print)) as files:
        run = tmp_path / "s" / "tensorboard" / "trial-00004"
        files.on_trial_start(4, TrialConfig())
        assert [step for step, _ in scalars(run)["val_loss"]] == [1]
        for number, accuracy in ((1, 0.55), (2, 0.65)):
            journal.record_epoch(4, epoch(number, accuracy))
            files.on_epoch_end(4, epoch(number, accuracy))
        assert scalars(run)["val_accuracy"] == approximately([(1, 0.55), (2, 0.65)])
        assert hparams(run)[1] is None
        files.on_trial_end(journal.finish_trial(4, TrialState.COMPLETE, {}, 2))
        assert hparams(run)[1] == 1


def test_a_paused_trial_keeps_its_file_and_continues_in_it(tmp_path: Path) -> None:
    """Its file is closed meanwhile, as many trials can be paused."""
    with small_study(tmp_path / "s") as journal, closing(TensorBoardCallback(journal, SEARCHED, print)) as files:
        run = tmp_path / "s" / "tensorboard" / "trial-00004"
        files.on_trial_start(4, TrialConfig())
        files.on_trial_pause(4)
        assert files._open == {}
        assert scalars(run)["val_accuracy"] == approximately([(1, 0.55)])
        files.on_trial_start(4, TrialConfig())
        journal.record_epoch(4, epoch(2, 0.65))
        files.on_epoch_end(4, epoch(2, 0.65))
        assert scalars(run)["val_accuracy"] == approximately([(1, 0.55), (2, 0.65)])


def test_a_repeated_trial_that_was_never_started_is_a_run_too(tmp_path: Path) -> None:
    with small_study(tmp_path / "s") as journal, closing(TensorBoardCallback(journal, SEARCHED, print)) as files:
        files.on_trial_end(journal.copy_result(0, add(journal, origin="copy of 0")))
        assert len(scalars(tmp_path / "s" / "tensorboard" / "trial-00005")["val_accuracy"]) == 3


def test_a_restart_doubles_nothing_and_repairs_what_a_kill_left(tmp_path: Path) -> None:
    with small_study(tmp_path / "s") as journal:
        folder = tmp_path / "s" / "tensorboard"
        with closing(TensorBoardCallback(journal, SEARCHED, print)) as files:
            files.on_trial_start(4, TrialConfig())
        (tmp_path / "s" / ".tensorboard.abcd1234" / "trial-00000").mkdir(parents=True)
        before = scalars(folder / "trial-00000")
        torn = next((folder / "trial-00000").iterdir())
        torn.write_bytes(torn.read_bytes()[:100])
        with closing(TensorBoardCallback(journal, SEARCHED, print)) as files:
            files.on_trial_start(4, TrialConfig())
            assert scalars(folder / "trial-00000") == before
            assert scalars(folder / "trial-00004")["val_accuracy"] == approximately([(1, 0.55)])
            assert [len(list(run.iterdir())) for run in folder.iterdir()] == [1] * 5
        assert not (tmp_path / "s" / ".tensorboard.abcd1234").exists()


def test_what_cannot_be_written_is_said_once_and_ends_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with small_study(tmp_path / "s") as journal, closing(TensorBoardCallback(journal, SEARCHED, said.append)) as files:
        files.on_trial_start(4, TrialConfig())

        def full(self: object, record: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(module._Run, "add", full)
        files.on_epoch_end(4, epoch(1, 0.55))
        files.on_epoch_end(4, epoch(2, 0.65))
    assert said == [
        f"cannot write {tmp_path}/s/tensorboard: No space left on device; the search continues without event files"
    ]


@pytest.mark.slow
def test_the_program_that_the_docs_name_can_start() -> None:
    subprocess.run([sys.executable, "-c", "import tensorboard.default"], check=True, capture_output=True)
