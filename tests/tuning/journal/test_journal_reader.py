"""tuning.journal.journal_reader: the same study as Optuna's own storage reads."""

from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from core.config import TrialConfig
from core.errors import CorruptionError
from core.training.result import EpochResult
from tuning.journal.file import JOURNAL
from tuning.journal.journal_reader import read_journal
from tuning.journal.writer import open_ledger

DISTRIBUTIONS = {
    "x": FloatDistribution(1e-4, 1, log=True),
    "kind": CategoricalDistribution(["a", "b", None, True]),
    "n": IntDistribution(2, 64, step=2),
}
ENDS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, None)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials as the ledger writes them: with conditional settings, with each kind of end, and still running."""
    folder = tmp_path_factory.mktemp("journal") / "s"
    spec = {"fingerprint": "f" * 64, "data": {"dataset": "tiny"}, "seed": 42}
    with open_ledger(folder, spec, {"knowledge": [1, 2]}) as ledger:
        for at in range(12):
            params = {"x": 1e-4 * (at + 1), "kind": ["a", "b", None, True][at % 4]} | (
                {"n": 2 + 2 * at} if at % 2 else {}
            )
            ledger.add(params, {name: DISTRIBUTIONS[name] for name in params}, TrialConfig().to_dict(), "sampler")
            for number in (1, 2):
                ledger.record(
                    at, EpochResult(epoch=number, train_loss=1, val_loss=1 / 3, val_accuracy=at / 12, seconds=1)
                )
            if (state := ENDS[at % 4]) is not None:
                ledger.finish(at, state, {"n_parameters": at})
    return folder / JOURNAL


def as_optuna_reads(path: Path) -> list[Any]:
    storage = JournalStorage(JournalFileBackend(str(path)))
    study = storage.get_all_studies()[0]
    trials = storage.get_all_trials(study._study_id)
    times = ((t.datetime_start, t.datetime_complete) for t in trials)
    return [study.user_attrs, *[(t.number, t.state, t.params, t.user_attrs) for t in trials], *times]


def as_we_read(path: Path) -> list[Any]:
    study, trials = read_journal(path)
    times = ((t.datetime_start, t.datetime_complete) for t in trials)
    return [study, *[(t.number, t.state, dict(t.params), t.user_attrs) for t in trials], *times]


def test_it_is_what_optuna_reads_after_every_record(journal: Path, tmp_path: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    part = tmp_path / "study.journal"
    for count in range(2, len(lines) + 1):
        part.write_bytes(b"".join(lines[:count]))
        assert as_we_read(part) == as_optuna_reads(part)
    assert {trial.state for trial in read_journal(journal)[1]} == {
        TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING,
    }  # fmt: skip


def test_a_torn_last_line_is_left_out(journal: Path, tmp_path: Path) -> None:
    whole = journal.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    part = tmp_path / "study.journal"
    part.write_bytes(whole[:last])
    expected = as_we_read(part)
    for end in range(last, len(whole)):
        part.write_bytes(whole[:end])
        assert as_we_read(part) == expected


def test_nothing_changes_a_finished_trial(journal: Path, tmp_path: Path) -> None:
    part = tmp_path / "study.journal"
    late = b'{"op_code": 8, "worker_id": "x", "trial_id": 0, "user_attr": {"outcome": 1}}\n'
    part.write_bytes(journal.read_bytes() + late)
    assert as_we_read(part) == as_optuna_reads(part) == as_we_read(journal)


@pytest.mark.parametrize(
    "damage",
    [
        b"\x00garbage\n",
        b"{}\n",
        b"[1]\n",
        b'{"op_code": 8, "trial_id": 900, "user_attr": {}}\n',
        b'{"op_code": 6, "trial_id": 3, "state": 77}\n',
        b'{"op_code": 6, "trial_id": 3, "state": 1, "datetime_complete": "0001-01-01T00:00:00+14:00"}\n',
        b'{"op_code": 4, "study_id": 0, "user_attrs": {"origin": "sampler"}}\n',
        b'{"op_code": 4, "study_id": 0, "user_attrs": {"origin": "copy of x", "config": {}}}\n',
        b'{"op_code": 8, "trial_id": 3, "user_attr": {"epoch:3": {"epoch": 3}}}\n',
        b'{"op_code": 8, "trial_id": 3, "user_attr": {"outcome": 7}}\n',
        b'{"op_code": 2, "study_id": 0, "user_attr": {"ended": {"reason": "target", "last": "x"}}}\n',
        b'{"op_code": 2, "study_id": 0, "user_attr": {"readings": [{}]}}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_damage_is_named_with_its_line(journal: Path, tmp_path: Path, damage: bytes) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    part = tmp_path / "study.journal"
    part.write_bytes(b"".join([*lines, damage]))
    with pytest.raises(CorruptionError, match=rf"study.journal is damaged in line {len(lines) + 1} .*put back a copy"):
        read_journal(part)


def test_a_name_that_is_missing_from_the_spec_is_damage(journal: Path) -> None:
    with pytest.raises(CorruptionError, match=r"journal is damaged \('window' is missing\): put back a copy"):
        read_journal(journal)[0]["spec"]["window"]
