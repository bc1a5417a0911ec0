"""Damage to a study's journal is one line, or has no effect."""

import itertools
import json
import math
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from core.config import TrialConfig
from core.errors import ConfigError, CorruptionError
from tests.support.assessed_studies import FULL_SPEC, attributes, trial, write_study
from tests.support.corpora import tiny_corpus
from tests.support.epochs import epoch
from tests.support.study_configs import configured, options, plan
from tuning.analysis.best import curve_of
from tuning.analysis.trial_detail import trial_text
from tuning.journal.file import open_journal
from tuning.journal.folder import JOURNAL
from tuning.journal.reader import DATA, SPEC, _local, check_schema, check_trial, read_journal
from tuning.journal.writer import open_study
from tuning.resources.machine import TrialResources
from tuning.run_options import DATA_OPTIONS
from tuning.scheduling.asha import Asha
from tuning.scheduling.study_config import study_spec

DISTRIBUTIONS = {
    "x": FloatDistribution(1e-4, 1, log=True),
    "kind": CategoricalDistribution(["a", "b", None, True]),
    "n": IntDistribution(2, 64, step=2),
}
ENDS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, None)


@pytest.mark.parametrize("rule", ["halving", "x", ""])
def test_an_unknown_stopping_rule_is_a_difference_to_what_the_command_says(rule: str, tmp_path: Path) -> None:
    kept = Asha().to_dict() | {"rule": rule}
    write_study(tmp_path / "s", [trial(0, range(40))], attributes(spec=FULL_SPEC | {"stopping": kept}))
    expected = configured(options(tmp_path)).stopping
    assert isinstance(expected, Asha)
    with (
        pytest.raises(
            ConfigError, match=r'was created with stopping\.rule ".*", this command has "asha"; pass the same'
        ),
        open_study(tmp_path / "s", FULL_SPEC | {"stopping": expected.to_dict()}),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "value"),
    [*itertools.product(("grace", "reduction"), ("x", 0, 2.0, True, [1], {})), ("reduction", None)],
)
def test_a_stopping_rule_without_its_numbers_is_damage(name: str, value: Any, tmp_path: Path) -> None:
    kept = Asha().to_dict() | {name: value}
    write_study(tmp_path / "s", [trial(0, range(40))], attributes(spec=FULL_SPEC | {"stopping": kept}))
    with pytest.raises(CorruptionError, match=rf"study\.spec\.stopping\.{name} is "):
        read_journal(tmp_path / "s" / JOURNAL)


@pytest.mark.parametrize(("value", "shape"), [(1, bool), ("true", bool), (True, int), (True, range(2))])
def test_a_flag_is_true_or_false_and_no_number(value: object, shape: Any) -> None:
    check_schema(True, bool, "x")
    with pytest.raises(ValueError, match=r"^x is "):
        check_schema(value, shape, "x")


@pytest.mark.parametrize("value", [1e308, -1e308, 2.0**53, math.inf, math.nan])
def test_a_time_whose_sum_may_be_infinite_is_damage(value: float) -> None:
    with pytest.raises(ValueError, match=r"trial\.segments\.since is "):
        check_trial({"segments": [{"since": value, "until": 1.0}]})


@pytest.mark.parametrize("zone", ["UTC", "CET-1CEST,M3.5.0,M10.5.0/3"])  # the latter: Berlin, without files of zones
def test_a_local_time_is_the_moment_that_was_written(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the hour that comes twice at the end of summer time."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for moment in ("2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"):
            local = _local(moment)
            assert local is not None
            assert local.timestamp() == datetime.fromisoformat(moment).timestamp()
        with pytest.raises(ValueError, match="year"):
            _local("0001-01-01T00:00:00+00:00")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("name", ["trial", "seed", "fold", "folds"])
def test_a_fresh_run_without_whole_numbers_is_damage(name: str, tmp_path: Path) -> None:
    run = {"trial": 0, "seed": 3, "fold": None, "folds": None, name: [3]}
    write_study(tmp_path / "s", [trial(0, range(40))], attributes(spec=FULL_SPEC) | {"confirm:0:3": run})
    with pytest.raises(CorruptionError, match=rf"confirm:0:3\.{name} is '\[3\]'"):
        read_journal(tmp_path / "s" / JOURNAL)


@pytest.mark.parametrize("value", ["x", 0, 2.0, True])
def test_an_epoch_without_a_whole_number_of_sentences_is_damage(value: Any, tmp_path: Path) -> None:
    write_study(tmp_path / "s", [trial(0, range(40))], attributes(spec=FULL_SPEC | {"epoch_sentences": value}))
    with pytest.raises(CorruptionError, match=r"study\.spec\.epoch_sentences is "):
        read_journal(tmp_path / "s" / JOURNAL)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials as a driver writes them: with conditional settings, with each kind of end, and still running."""
    folder = tmp_path_factory.mktemp("journal") / "s"
    spec = {"fingerprint": "f" * 64, "data": {"dataset": "tiny"}, "seed": 42}
    with open_study(folder, spec, {"prior_trials": [1, 2]}) as study_journal:
        for at in range(12):
            params = {"x": 1e-4 * (at + 1), "kind": ["a", "b", None, True][at % 4]} | (
                {"n": 2 + 2 * at} if at % 2 else {}
            )
            study_journal.add_trial(
                params, {name: DISTRIBUTIONS[name] for name in params}, TrialConfig().to_dict(), "sampler"
            )
            for number in (1, 2):
                study_journal.record_epoch(at, epoch(number, at / 12, train_loss=1, val_loss=1 / 3, seconds=1))
            if (state := ENDS[at % 4]) is not None:
                study_journal.finish_trial(at, state, {"n_parameters": at}, 1 + at % 2)
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


@pytest.mark.slow
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
    late = b'{"op_code": 8, "worker_id": "x", "trial_id": 0, "user_attr": {"result": 1}}\n'
    part.write_bytes(journal.read_bytes() + late)
    assert as_we_read(part) == as_optuna_reads(part) == as_we_read(journal)


@pytest.mark.parametrize(
    "damage",
    [
        b"\x00garbage\n",
        b"{}\n",
        b"[1]\n",
        b'{"op_code": 8, "trial_id": 900, "user_attr": {}}\n',
        b'{"op_code": 8, "trial_id": -1, "user_attr": {"result": {"error": "x"}}}\n',
        b'{"op_code": 6, "trial_id": 3, "state": 77}\n',
        b'{"op_code": 6, "trial_id": 3, "state": 1, "datetime_complete": "0001-01-01T00:00:00+14:00"}\n',
        b'{"op_code": 4, "study_id": 0, "user_attrs": {"origin": "sampler"}}\n',
        b'{"op_code": 4, "study_id": 0, "user_attrs": {"origin": "copy of x", "config": {}}}\n',
        b'{"op_code": 4, "study_id": 0, "user_attrs": {"origin": "copy of 12", "config": {}}, "distributions": {}}\n',
        b'{"op_code": 4, "study_id": 1, "user_attrs": {"origin": "sampler", "config": {}}, "distributions": {}}\n',
        b'{"op_code": 1, "study_id": 0}\n',
        b'{"op_code": 8, "trial_id": 3, "user_attr": {"epoch:3": {"epoch": 3}}}\n',
        b'{"op_code": 8, "trial_id": 3, "user_attr": {"result": 7}}\n',
        b'{"op_code": 2, "study_id": 0, "user_attr": {"early_end": {"reason": "target", "n_trials": "x"}}}\n',
        b'{"op_code": 2, "study_id": 0, "user_attr": {"early_end": {"reason": "target", "n_trials": -1}}}\n',
        b'{"op_code": 2, "study_id": 0, "user_attr": {"test_evaluation:0": {}}}\n',
        b'{"op_code": 2, "study_id": 0, "user_attr": {"gpu_share": {"share": 0.5}}}\n',
        b"[" * 100_000 + b"\n",
        b'{"op_code": 2, "study_id": 0, "user_attr": {"x": ' + b"[" * 9000 + b"]" * 9000 + b"}}\n",
    ],
)
def test_damage_is_named_with_its_line(journal: Path, tmp_path: Path, damage: bytes) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    part = tmp_path / "study.journal"
    part.write_bytes(b"".join([*lines, damage]))
    advice = "restore a copy of the journal, remove this line and all later ones "
    with pytest.raises(CorruptionError, match=rf"line {len(lines) + 1} of .*study.journal is damaged .*{advice}"):
        read_journal(part)


@pytest.mark.parametrize(
    ("name", "value"), [("x", 7.0), ("x", 1e308), ("x", "7"), ("x", None), ("n", 66), ("n", 3), ("kind", 4)]
)
def test_a_parameter_outside_its_distribution_is_damage(tmp_path: Path, name: str, value: Any) -> None:
    distributions = {each: distribution_to_json(kind) for each, kind in DISTRIBUTIONS.items()}
    attributes = {"origin": "sampler", "config": {}}
    record = {"op_code": 4, "study_id": 0, "user_attrs": attributes, "distributions": distributions}
    part = tmp_path / "study.journal"
    inside = {"x": 0.5, "n": 64, "kind": 1}
    part.write_text(json.dumps(record | {"params": inside}) + "\n")
    assert read_journal(part)[1][0].params == inside | {"kind": "b"}
    part.write_text(json.dumps(record | {"params": inside | {name: value}}) + "\n")
    with pytest.raises(CorruptionError, match=r"line 1 of .*study\.journal is damaged"):
        read_journal(part)


def test_a_setting_with_the_name_of_no_metric_is_damage(tmp_path: Path) -> None:
    config = trial(0, ()).config | {"metric": "f2"}
    trials = [trial(number, range(40), config=config, origin="random") for number in range(2)]
    write_study(tmp_path / "s", trials, attributes())
    for read in (lambda: trial_text(tmp_path / "s", 0, "table"), lambda: curve_of(tmp_path / "s", "table")):
        with pytest.raises(CorruptionError, match=r"study\.journal is damaged \(trial\.config\.metric is 'f2'\)"):
            read()


def test_a_line_of_many_brackets_is_damage_to_who_continues_the_study(journal: Path, tmp_path: Path) -> None:
    part = tmp_path / "study.journal"
    part.write_bytes(journal.read_bytes() + b"[" * 100_000 + b"\n")
    with pytest.raises(CorruptionError, match=r"study\.journal is damaged \(it is no record of a study\); restore a"):
        open_journal(part)


def test_each_key_of_a_spec_and_each_option_of_the_data_has_a_shape() -> None:
    keys = study_spec(plan(), tiny_corpus(), {}, TrialResources()).keys() | {"retry_oom"}
    assert {name.rstrip("?") for name in SPEC} == keys - {"format"}  # check_format refuses another one
    assert {name.rstrip("?") for name in DATA} == set(DATA_OPTIONS)
