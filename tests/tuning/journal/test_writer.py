"""tuning.journal.writer: the content of the journal survives any end of the process."""

import errno
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState

from core.errors import ConfigError, CorruptionError, UserError
from tests.support.epochs import epoch
from tests.support.journals import SPEC, add, two_trials
from tuning.journal.folder import JOURNAL
from tuning.journal.records import evaluations_on_test, read_study, study_attributes
from tuning.journal.writer import StudyJournal, open_study, spec_differences


def test_an_attribute_that_the_study_lacks_is_a_damaged_journal(tmp_path: Path) -> None:
    """Not a KeyError: another program may have removed its record."""
    with open_study(tmp_path / "s", SPEC) as study_journal:
        assert study_journal.attributes.get("inputs") is None
        with pytest.raises(CorruptionError, match="'inputs' is missing"):
            study_journal.attributes["inputs"]


@pytest.mark.parametrize("write", ["set_trial_intermediate_value", "set_trial_user_attr"])
def test_an_epoch_that_was_half_written_when_the_process_died_is_written_whole_when_it_is_reported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    """The sampler looks at the one half, the table at the other."""

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with open_study(tmp_path / "s", SPEC) as study_journal:
        number = add(study_journal)
        monkeypatch.setattr(study_journal._storage, write, dies)
        with pytest.raises(KeyboardInterrupt):
            study_journal.record_epoch(number, epoch(1, 0.5))
    with open_study(tmp_path / "s", SPEC) as study_journal:
        study_journal.record_epoch(number, epoch(1, 0.5))
    with open_study(tmp_path / "s", SPEC) as study_journal:
        assert study_journal.trials()[number].intermediate_values == {1: 0.5}
        assert study_journal.records()[number].epochs == (epoch(1, 0.5),)


def test_a_journal_that_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_trials(tmp_path / "s")
    monkeypatch.setattr("tuning.journal.reader.read_regular", lambda path: os.open("/", os.O_WRONLY))
    with pytest.raises(
        UserError, match=r"^cannot read .*study.journal \(Is a directory\); make it a regular file that you may read"
    ):
        read_study(tmp_path / "s")


def test_an_epoch_reported_again_changes_nothing(tmp_path: Path) -> None:
    with open_study(tmp_path / "s", SPEC) as study_journal:
        number = add(study_journal)
        study_journal.record_epoch(number, epoch(1, 0.5))
        size = (tmp_path / "s" / JOURNAL).stat().st_size
        study_journal.record_epoch(number, epoch(1, 0.5))
        assert (tmp_path / "s" / JOURNAL).stat().st_size == size


@pytest.mark.slow
def test_a_journal_cut_at_any_byte_opens_and_takes_new_records(tmp_path: Path) -> None:
    """A killed driver may leave any part of its last records."""
    two_trials(tmp_path / "whole")
    whole = (tmp_path / "whole" / JOURNAL).read_bytes()
    last_records = whole[: whole.rindex(b"\n", 0, len(whole) - 400) + 1]
    for length in range(len(last_records), len(whole), 7):
        folder = tmp_path / f"cut{length}"
        folder.mkdir()
        (folder / JOURNAL).write_bytes(whole[:length])
        with open_study(folder, SPEC) as study_journal:
            kept = study_journal.records()
            assert [record.number for record in kept] == [0, 1]
            number = add(study_journal)
        assert [record.number for record in read_study(folder)[1]] == [0, 1, number]


def test_a_journal_cut_inside_its_first_record_is_a_new_study(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / JOURNAL).write_bytes(b'{"op_code":0,"wor')
    with open_study(tmp_path / "s", SPEC) as study_journal:
        assert study_journal.records() == []
    assert read_study(tmp_path / "s")[0]["spec"] == SPEC


def test_a_study_needs_no_symbolic_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drives of notebooks in a browser, and some network disks, have none."""

    def refused(*names: object, **options: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "symlink", refused)
    two_trials(tmp_path / "s")
    assert len(read_study(tmp_path / "s")[1]) == 2


def test_a_journal_that_is_a_link_is_not_cut(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "notes").write_text("no line break")
    (tmp_path / "s" / JOURNAL).symlink_to(tmp_path / "notes")
    with pytest.raises(UserError, match="is a link; replace it by the file"), open_study(tmp_path / "s", SPEC):
        pass
    assert (tmp_path / "notes").read_text() == "no line break"


def test_a_lock_that_a_killed_process_left_does_not_block(tmp_path: Path) -> None:
    two_trials(tmp_path / "s")
    (tmp_path / "s" / f"{JOURNAL}.lock").symlink_to("gone")
    with open_study(tmp_path / "s", SPEC) as study_journal:
        assert add(study_journal) == 2


def test_a_difference_that_follows_from_another_one_is_not_named() -> None:
    old = {"seed": 1, "data": {"seed": 1, "split": "a"}, "fingerprint": "x", "space": {"lr": 1}, "first_trials": {}}
    new = old | {"seed": 2, "data": {"seed": 2, "split": "a"}, "fingerprint": "y"}
    assert spec_differences(old, new) == ["seed 1, this command has 2"]
    new = old | {"data": {"seed": 1, "split": "b"}, "fingerprint": "y"}
    assert spec_differences(old, new) == ['data.split "a", this command has "b"']
    assert spec_differences(old, old | {"\x1b[2J": 1}) == [r"\x1b[2J none, this command has 1"]
    assert spec_differences(old, old | {"fingerprint": "y"}) == ['fingerprint "x", this command has "y"']
    dropout = {"space": {"dimensions": [{"name": "fc_dropout", "high": 0.5}]}}
    wide = {"space": {"dimensions": [{"name": "fc_dropout", "high": 0.6}]}, "threads": 2}
    assert spec_differences(dropout | {"threads": 1}, wide) == [
        "--cpus-per-trial 1, this command has 2",
        "space.dimensions.fc_dropout.high 0.5, this command has 0.6",
    ]
    frames = [
        {"fingerprint": at, "data": {"dataset": f"/{'long' * 20}/frames/frame-{at}.jsonl"}} for at in ("one", "two")
    ]
    assert spec_differences(*frames) == ['data.dataset "frame-one.jsonl", this command has "frame-two.jsonl"']
    fewer = {"first_trials": {"sha256": "z", "trials": 5}}
    assert spec_differences(old, old | fewer | {"space": {"lr": 2}}) == ["space.lr 1, this command has 2"]
    assert spec_differences(old, old | fewer | {"warm_start": "x"}) == ['warm_start none, this command has "x"']


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"seed": 43, "stopping": None},
            r"created with seed 42, this command has 43; stopping \{\"grace\": 2\}, this command has none; pass the "
            "same options and files as before",
        ),
        ({"versions": {"torch": "3"}}, "; install the same versions"),
        (
            {"versions": {"torch": "3"}, "seed": 43},
            "; install the same versions and pass the same options and files as before",
        ),
        (
            {"fingerprint": "e" * 64},
            "; pass the same data and word vectors, with the same versions of sentune, NLTK and regex",
        ),
        ({"fingerprint": "e" * 64, "data": {"dataset": "other"}}, "; pass the same data"),
        (
            {"fingerprint": "e" * 64, "data": {"dataset": "tiny", "split": "70/20/10"}},
            "; pass the same options and files as before",
        ),
    ],
)
def test_another_spec_is_refused_with_each_difference_and_the_advice_that_follows(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    spec = SPEC | {"versions": {"torch": "2"}}
    with open_study(tmp_path / "s", spec):
        pass
    with (
        pytest.raises(ConfigError, match=f"{said}, or choose another --name$"),
        open_study(tmp_path / "s", spec | changes),
    ):
        pass


def test_the_same_data_from_another_path_is_the_same_study(tmp_path: Path) -> None:
    two_trials(tmp_path / "s")
    with open_study(tmp_path / "s", SPEC | {"data": {"dataset": "elsewhere"}}) as study_journal:
        assert len(study_journal.trials()) == 2


@pytest.mark.slow
def test_a_second_driver_is_refused_with_the_first_ones_process_and_host(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from tuning.journal.writer import open_study\n"
        "with open_study(pathlib.Path(sys.argv[1]), {}): print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "s")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == b"open\n"
        with (
            pytest.raises(UserError, match=rf"'s' is run by process {first.pid} on {os.uname().nodename};"),
            open_study(tmp_path / "s", {}),
        ):
            pass
        first.kill()
        first.wait()
        with open_study(tmp_path / "s", {}) as study_journal:  # a killed driver holds nothing
            assert study_journal.trials() == []


def test_a_study_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    two_trials(tmp_path / "mine")
    with pytest.raises(UserError, match=r"no study 'yours' in .*; choose from mine"):
        read_study(tmp_path / "yours")
    with pytest.raises(UserError, match=r"no study 'yours' in .*; the folder has none, run a search first"):
        read_study(tmp_path / "empty" / "yours")


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_study(tmp_path / "s", SPEC) as study_journal:
        number = add(study_journal)
        study_journal.record_epoch(number, epoch(1, 0.5))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(UserError, match=r"cannot write .*study\.journal: the disk is full; free some space"):
                study_journal.record_epoch(number, epoch(2, 0.6))
    with open_study(tmp_path / "s", SPEC) as study_journal:
        study_journal.record_epoch(number, epoch(2, 0.6))
        assert study_journal.records()[0].epochs == (epoch(1, 0.5), epoch(2, 0.6))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_after_a_failed_write_every_write_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The first write may have left a part of its record."""

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    message = rf"study\.journal \({os.strerror(number)}\); check the disk, and run the same command again"
    with open_study(tmp_path / "s", SPEC) as study_journal:
        trial = add(study_journal)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails)
            patch.setattr(os, "rename", fails)  # nor can Optuna remove its lock
            with pytest.raises(UserError, match=message):
                study_journal.record_epoch(trial, epoch(1, 0.5))
        with pytest.raises(UserError, match=message):
            study_journal.record_epoch(trial, epoch(1, 0.5))


def test_a_study_that_is_removed_while_it_runs_is_one_line_and_is_not_made_again(tmp_path: Path) -> None:
    """Nor is an error of a network disk a traceback of Ray."""
    message = r"^cannot read .*study\.journal \(No such file or directory\); fix this and run the same command again$"
    with open_study(tmp_path / "s", SPEC) as study_journal:
        number = add(study_journal)
        shutil.rmtree(tmp_path / "s")
        with pytest.raises(UserError, match=message):
            study_journal.record_epoch(number, epoch(1, 0.5))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("created", ["a", "abc"])
def test_a_study_that_is_replaced_by_a_longer_one_writes_nothing_into_it(tmp_path: Path, created: str) -> None:
    """Whether or not a line of the new journal begins where the old one ended."""
    with open_study(tmp_path / "s", SPEC, {"command": "a"}) as old:
        number = add(old)
        shutil.rmtree(tmp_path / "s")
        with open_study(tmp_path / "s", SPEC, {"command": created}) as new:
            new.record_epoch(add(new), epoch(1, 0.5))
            written = (tmp_path / "s" / JOURNAL).read_bytes()
            with pytest.raises(UserError, match=r"study\.journal was replaced while the study ran"):
                old.record_epoch(number, epoch(2, 0.5))
            assert (tmp_path / "s" / JOURNAL).read_bytes() == written


def test_a_study_that_is_replaced_while_it_runs_writes_nothing_into_the_new_one(tmp_path: Path) -> None:
    """Its lock was removed with its folder."""
    with open_study(tmp_path / "s", SPEC) as study_journal:
        number = add(study_journal)
        shutil.rmtree(tmp_path / "s")
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / JOURNAL).write_bytes(b"")
        with pytest.raises(UserError, match=r"study\.journal was replaced while the study ran; run the same command"):
            study_journal.record_epoch(number, epoch(1, 0.5))
        assert os.listdir(tmp_path / "s") == [JOURNAL]


@pytest.mark.parametrize(
    ("state", "result", "reason"),
    [
        (TrialState.FAIL, None, "trial has no 'result'"),
        (TrialState.FAIL, {}, "trial.result has no 'error'"),
        (TrialState.COMPLETE, None, "trial has no 'result'"),
    ],
)
def test_a_closed_trial_without_the_result_that_its_state_needs_is_damage(
    tmp_path: Path, state: TrialState, result: dict[str, Any] | None, reason: str
) -> None:
    with open_study(tmp_path / "s", SPEC) as study_journal:
        study_journal.finish_trial(add(study_journal), state, result, 2)
    with (
        pytest.raises(CorruptionError, match=rf"study\.journal is damaged \({reason}\); restore a copy"),
        open_study(tmp_path / "s", SPEC),
    ):
        pass


def test_a_new_trial_has_no_checkpoints(tmp_path: Path) -> None:
    """Those of a study whose journal was deleted belong to another training; other files in the folder stay."""
    left, other = tmp_path / "s" / "checkpoints" / "00000", tmp_path / "s" / "checkpoints" / "mine"
    left.mkdir(parents=True)
    other.mkdir()
    with open_study(tmp_path / "s", SPEC) as study_journal:
        add(study_journal)
    assert (left.exists(), other.exists()) == (False, True)


def test_a_driver_that_is_killed_when_it_has_closed_a_trial_leaves_no_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No later command would remove them, because the trial is closed."""
    with open_study(tmp_path / "s", SPEC) as study_journal:
        number = add(study_journal)
        study_journal.checkpoint_dir("00000").mkdir(parents=True)
        close = study_journal._storage.set_trial_state_values

        def killed(*arguments: Any) -> None:
            close(*arguments)
            raise KeyboardInterrupt

        monkeypatch.setattr(study_journal._storage, "set_trial_state_values", killed)
        with pytest.raises(KeyboardInterrupt):
            study_journal.finish_trial(number, TrialState.COMPLETE, {}, 4)
        assert study_journal.trials()[number].state == TrialState.COMPLETE
        assert not study_journal.checkpoint_dir("00000").exists()


def read(study_journal: StudyJournal, verb: str = "retrain", **changes: Any) -> int:
    figures = {"val_accuracy": 0.75, "test_accuracy": 0.7, "test_sentences": 100, **changes}
    study_journal.log_test_evaluation(figures, verb=verb, trial=1, seed=7, on="train", split="80/10/10")
    return len(study_journal.test_evaluations)


def test_readings_add_up_over_processes_with_what_was_read_and_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    monkeypatch.setattr("tuning.journal.writer.datetime", SimpleNamespace(now=now.astimezone))
    two_trials(tmp_path)
    with open_study(tmp_path, SPEC) as study_journal:
        assert [read(study_journal), read(study_journal)] == [1, 2]
    with open_study(tmp_path, SPEC) as study_journal:
        assert read(study_journal, verb="confirm", val_accuracy=None) == 3
    readings = evaluations_on_test(study_attributes(tmp_path))
    assert [reading["verb"] for reading in readings] == ["retrain", "retrain", "confirm"]
    assert readings[0]["test_accuracy"] == 0.7
    assert readings[2]["time"] == "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    ("metric", "figures", "expected"),
    [
        ("macro_f1", {"test_macro_f1": 0.5}, {"test_metric": 0.5}),
        ("accuracy", {}, {}),
        ("roc_auc", {"test_roc_auc": float("nan")}, {}),
        ("log_loss", {}, {}),
    ],
)
def test_an_evaluation_on_test_keeps_the_metric_if_it_is_another_one_and_defined(
    tmp_path: Path, metric: str, figures: dict[str, float], expected: dict[str, float]
) -> None:
    with open_study(tmp_path, {**SPEC, "metric": metric}) as study_journal:
        read(study_journal, **figures)
        [entry] = study_journal.test_evaluations
    assert {name: value for name, value in entry.items() if name == "test_metric"} == expected


def test_figures_without_a_test_split_are_not_logged(tmp_path: Path) -> None:
    with open_study(tmp_path, SPEC) as study_journal:
        study_journal.log_test_evaluation(
            {"val_accuracy": 0.75}, verb="retrain", trial=1, seed=7, on="train", split="80/10"
        )
        assert study_journal.test_evaluations == []
