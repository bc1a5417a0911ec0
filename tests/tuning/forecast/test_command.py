"""tuning.forecast.command: the text of a forecast, and its warnings."""

import base64
import dataclasses
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from core.config import TrialConfig
from core.data.corpus import TRAIN
from core.data.load import load_corpus
from core.log_odds import round_log_odds
from core.nn.model_size import max_checkpoint_bytes
from core.plain_baseline import max_fit_bytes
from tests.support.small_study import add
from tests.support.studies import write_sentences
from tests.support.study_configs import options, plan
from tests.support.trial_records import record
from tuning.forecast.command import (
    ForecastReport,
    ValidationOutputs,
    ending_of,
    make_forecast,
    round_up,
    share_text,
    trained_scores,
)
from tuning.forecast.probe import Probe
from tuning.forecast.simulation import EpochCosts, Forecast, Range, forecast
from tuning.journal.predictions import pack_labels
from tuning.journal.probabilities import pack_log_odds
from tuning.journal.writer import open_study
from tuning.planned_search import plan_search
from tuning.resources.gpu import GIB, Gpu
from tuning.resources.machine import Machine
from tuning.scheduling.asha import FAILED
from tuning.scheduling.budget import Budget
from tuning.scheduling.schedule import GOAL

COSTS = EpochCosts(own=(5.0,) * 8, others=(4.0, 6.0), start=4.0)


@cache
def usual_forecast() -> Forecast:
    return forecast(plan(n_trials=16, epochs=8, parallelism=8), COSTS, 2)


def outlook(seconds: float | None = None, worker_bytes: int = 700_000_000, **changes: Any) -> ForecastReport:
    settings: dict[str, Any] = {
        "name": "snippets-quick",
        "plan": plan(n_trials=16, epochs=8, parallelism=8, budget=Budget(seconds=seconds)),
        "done": 0,
        "started": 0,
        "workers": 2,
        "share": share_text(1, 0.0),
        "forecast": usual_forecast(),
        "probe": Probe(costs=COSTS, peak_bytes=worker_bytes - 100_000_000, seconds=25.0),
        "memory_bytes": 24_000_000_000,
        "checkpoint_bytes": 10_000_000,
        "outputs": ValidationOutputs(sentences=1_000, classes=2),
        "shared_bytes": 300_000_000,
    }
    return ForecastReport(**(settings | changes))


def test_the_text_says_trials_rungs_epochs_time_memory_and_disk() -> None:
    lines = str(outlook()).splitlines()
    assert (
        lines[0] == "study snippets-quick: 16 trials of up to 8 epochs, 2 in parallel with 1 core each, parallelism 8"
    )
    assert lines[1] == "stopping: asha pauses trials after epochs 2 and 6, 1 in 3 continues"
    assert re.fullmatch(r"epochs: at most 128, about \d+ \(\d+ to \d+\) expected", lines[2])
    assert re.fullmatch(r"time: about \d+m\d*s? \(.* to .*\), by a probe of 10 configurations in 25 s", lines[3])
    assert lines[4] == "memory: at most 0.70 GB per worker, 2.20 GB in total of 24.00 GB"
    assert lines[5].startswith("disk: 480.4 MB while it runs, 0.4 MB afterwards")
    assert len(lines) == 6


def test_epochs_that_are_no_whole_pass_are_named() -> None:
    report = outlook(plan=plan(n_trials=16, epochs=9, epoch_sentences=100_000))
    assert "16 trials of up to 9 epochs of 100,000 sentences, 2 in parallel" in str(report)
    assert (report.to_dict()["epochs_per_trial"], report.to_dict()["epoch_sentences"]) == (9, 100_000)


def test_the_disk_has_room_for_the_checkpoints_of_running_trials_and_of_the_best_paused_ones() -> None:
    """Two workers, and 4 paused trials per virtual worker at the one rung, but not more than all 16 trials."""
    one_rung = forecast(plan(), EpochCosts(own=(1.0,) * 12, others=(), start=4.0), 2)
    for parallelism, trials in ((1, 2 + 4), (3, 2 + 12), (8, 16)):
        report = outlook(plan=plan(n_trials=16, parallelism=parallelism), forecast=one_rung)
        assert report.disk_bytes - report.study_bytes == trials * 3 * 10_000_000


def test_json_has_the_same_figures() -> None:
    content = json.loads(json.dumps(outlook(done=4).to_dict()))
    assert (content["trials"], content["trials_done"], content["rungs"]) == (16, 4, [2, 6])
    assert content["parallelism"] == 8
    assert content["seconds"]["low"] < content["seconds"]["middle"] < content["seconds"]["high"]
    assert content["memory_bytes"] == {"worker": 700_088_000, "all": 2_200_176_000, "machine": 24_000_000_000}
    assert content["disk_bytes"]["running"] > 400e6 > 1e6 > content["disk_bytes"]["afterwards"]
    assert content["warnings"] == []


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 7, 300])
def test_what_an_epoch_stores_has_no_more_bytes_than_foreseen(classes: int) -> None:
    """The worst case for packing: as many sentences of each class, in random order."""
    n, draw = 20_000, np.random.default_rng(0)
    outputs = ValidationOutputs(sentences=n, classes=classes)
    packed = len(json.dumps(pack_labels(draw.integers(0, classes, n))))
    assert 0.65 * outputs.packed_bytes <= packed <= outputs.packed_bytes
    log_odds = round_log_odds(draw.normal(0, 5, (n, classes)))
    stored = len(base64.b64decode(pack_log_odds(log_odds)))
    assert 0.6 * outputs.probability_bytes <= stored <= outputs.probability_bytes + 1_000
    assert outputs.checkpoint_bytes(8) == 8 * n * (1 if classes < 256 else 4) + log_odds.nbytes


def test_a_worker_needs_memory_for_the_outputs_of_many_classes() -> None:
    """10,000 validation sentences and 1,000 classes: 40 MB of outputs, ten times as much while they are rounded."""
    few, many = (outlook(outputs=ValidationOutputs(sentences=10_000, classes=count)) for count in (2, 1_000))
    assert few.worker_bytes < 701_000_000
    assert 1_130_000_000 < many.worker_bytes < 1_150_000_000


def test_a_million_sentences_need_disk_for_their_predictions() -> None:
    """100,000 validation sentences: 23 kB of predictions and 200 kB of probabilities an epoch."""
    report = outlook(outputs=ValidationOutputs(sentences=100_000, classes=2))
    assert 0.9 * 29e6 <= report.study_bytes <= 1.1 * 29e6


def test_a_budget_that_is_too_small_is_warned_of_with_what_would_fit() -> None:
    (warning,) = outlook(seconds=150.0).warnings()
    assert re.fullmatch(r"the search may not fit --time-budget 2m30s; pass --trials \d+, or --time-budget \S+", warning)
    trials = int(re.findall(r"--trials (\d+)", warning)[0])
    assert 1 <= trials < 16
    (hopeless,) = outlook(seconds=5.0).warnings()
    assert "not even one trial fits --time-budget 5s; pass --time-budget " in hopeless
    assert outlook(seconds=36000.0).warnings() == []


def test_no_budget_is_advised_that_run_refuses() -> None:
    months = dataclasses.replace(usual_forecast(), seconds=Range(low=3e6, middle=4e6, high=5e6))
    (warning,) = outlook(seconds=3.6e6, forecast=months).warnings()
    assert warning == "the search may not fit --time-budget 1000h; pass --trials 11, or no --time-budget"


def test_trials_that_are_done_are_not_counted_as_what_the_budget_must_hold() -> None:
    """Half of the time of the last six trials is too short for more than three of them."""
    the_plan = plan(n_trials=16, epochs=8, parallelism=8)
    rest = forecast(the_plan, COSTS, 2, dict.fromkeys(range(10), [0.5] * 8))
    (warning,) = outlook(seconds=0.51 * rest.seconds.high, done=10, forecast=rest).warnings()
    assert "pass --trials 13, or" in warning
    (hopeless,) = outlook(seconds=5.0, done=10, forecast=rest).warnings()
    assert "not even one more trial fits --time-budget 5s; pass --time-budget " in hopeless
    # A study that has 14 trials completes all of them: 13 are no advice.
    (warning,) = outlook(seconds=0.51 * rest.seconds.high, done=10, started=14, forecast=rest).warnings()
    assert re.fullmatch(r"the search may not fit --time-budget \S+; pass --time-budget \S+", warning)


def test_a_study_that_continues_is_not_complete() -> None:
    """More trials, or another target than the one that has ended the study, let `run` train."""
    the_plan = plan(n_trials=3, budget=Budget(target=0.6))
    whole = [record(number, 0.5, 0.6, state="PRUNED", ended=datetime.now(UTC)) for number in range(3)]
    assert ending_of({}, the_plan, []) is None
    assert ending_of({}, the_plan, whole) == "is complete: 3 trials"
    assert ending_of({}, plan(n_trials=1), whole[:1]) == "is complete: 1 trial"
    assert ending_of({}, the_plan, whole[:2]) is None
    assert ending_of({}, the_plan, [*whole[:2], record(2, 0.5, state="PAUSED")]) is None
    ended = {"early_end": {"reason": "target 0.6 reached by trial 1", "n_trials": 2}, GOAL: the_plan.goal}
    assert ending_of(ended, the_plan, [*whole[:2], record(2, 0.5, state="RUNNING")]) == (
        "has ended: target 0.6 reached by trial 1"
    )
    assert ending_of(ended, plan(n_trials=3), whole) is None
    assert ending_of({"early_end": {"reason": "time budget", "n_trials": None}}, the_plan, whole[:2]) is None


def test_stopped_trials_may_continue_when_trials_are_added_or_a_target_is_left_out() -> None:
    """Also if all trials of the study have ended."""
    records = [
        record(0, 0.5, 0.7, 0.6, state="COMPLETE"),
        record(1, 0.5, 0.6, state="PRUNED"),
        record(2, 0.6, state="FAIL"),
        record(3, 0.5, 0.6, state="PAUSED"),
        record(4, 0.5, 0.6, 0.7, state="RUNNING"),
        record(5, 0.5, 0.6, state="PRUNED", origin="copy of 1"),
    ]
    assert trained_scores(records, 8) == {
        0: [0.5] + [0.7] * 7, 1: [0.5, 0.6], 2: [0.6] + [FAILED] * 7, 3: [0.5, 0.6], 4: [0.5, 0.6, 0.7],
        5: [FAILED] * 8,
    }  # fmt: skip


def test_memory_that_is_too_small_is_warned_of_with_what_would_fit() -> None:
    (warning,) = outlook(worker_bytes=15_000_000_000).warnings()
    assert warning == "the search may not fit the machine's memory of 24.00 GB; pass --workers 1"
    assert str(outlook(worker_bytes=15_000_000_000)).splitlines()[-1] == f"warning: {warning}"
    assert outlook(worker_bytes=11_800_000_000).warnings()[0].endswith("; pass --workers 1")  # others need 0.8 GB
    (hopeless,) = outlook(worker_bytes=30_000_000_000).warnings()
    assert "choose smaller settings for a new study, such as --set 'hidden_dim=int(32,128)'" in hopeless
    assert outlook(memory_bytes=0).warnings() == []


def test_without_stopping_there_are_no_rungs() -> None:
    the_plan = plan(stopping=None)
    lone = outlook(plan=the_plan, forecast=forecast(the_plan, EpochCosts(own=(1.0,) * 12, others=(), start=4.0), 2))
    assert "stopping: none" in str(lone)


def test_times_are_round_up_up_to_what_a_forecast_knows() -> None:
    assert [round_up(s) for s in (41.2, 754, 7541)] == ["42s", "12m40s", "2h6m"]


def test_shares_are_said_in_words() -> None:
    assert [share_text(1, 0.0), share_text(2, 0.25)] == ["1 core", "2 cores and 0.25 of a GPU"]


@pytest.mark.parametrize(
    ("changes", "how", "models"),
    [
        ({"gpus_per_trial": "0.5", "cpus_per_trial": 2}, [2, 2, "cuda:0", 4], 1),  # the probe uses one of two GPUs
        ({"workers": 3}, [3, 1, "cpu", 3], 1),
        ({"validation": "folds:3"}, [5, 1, "cpu", 5], 3),
    ],
)
def test_the_probe_shares_a_machine_as_trials_do_and_a_checkpoint_has_the_models_of_all_folds(
    changes: dict[str, Any], how: list[Any], models: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five trials on eight cores and two GPUs."""
    gpus = (Gpu(name="A", bytes=int(24 * GIB)),) * 2
    machine = Machine(cpus=8, gpus=2, gpu_list=gpus, memory_bytes=64_000_000_000)
    asked: list[Any] = []

    def probed(_: object, heavy: Sequence[TrialConfig], *__: object, **given: Any) -> Any:
        asked.extend((heavy, given["side_by_side"], given["threads"], given["device"]))
        return SimpleNamespace(costs=None)

    monkeypatch.setattr(Machine, "here", lambda **_: machine)
    monkeypatch.setattr("tuning.forecast.command.probe", probed)
    monkeypatch.setattr("tuning.forecast.command.forecast", lambda _, __, workers, ___: asked.append(workers))
    data = {"dataset": str(write_sentences(tmp_path / "t.csv")), "vectors": "none", "embedding_dim": 8}
    here = options(tmp_path, trials=5, cache_dir=tmp_path / "cache", **data, **changes)
    report = make_forecast(here, lambda line: None)
    assert isinstance(report, ForecastReport)
    assert asked[1:] == how
    corpus = load_corpus(**here.data, cache_dir=tmp_path / "cache")
    largest = max(max_checkpoint_bytes(config, len(corpus.words), 8, 2) for config in asked[0])
    tokens = int(corpus.lengths()[corpus.indices(TRAIN)].sum())
    assert report.shared_bytes == corpus.n_bytes + max_fit_bytes(tokens, report.outputs.sentences, 2)
    assert report.memory_bytes == machine.memory_bytes
    assert report.checkpoint_bytes - report.outputs.checkpoint_bytes(4) == models * largest


def test_open_trials_are_not_done_and_another_search_takes_nothing_from_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(cpus=8, gpus=0)
    monkeypatch.setattr(Machine, "here", lambda **_: machine)
    monkeypatch.setattr("tuning.forecast.command.probe", lambda *_, **__: SimpleNamespace(costs=None))
    monkeypatch.setattr("tuning.forecast.command.forecast", lambda *_: None)
    data = {"dataset": str(write_sentences(tmp_path / "t.csv")), "vectors": "none", "embedding_dim": 8}
    here = options(tmp_path, trials=5, parallelism=3, cache_dir=tmp_path / "cache", **data)
    with open_study(here.folder, plan_search(here, machine, 8, {}, lambda line: None).spec) as journal:
        journal.finish_trial(add(journal, 0.6), TrialState.COMPLETE, {}, 4)
        add(journal, 0.5)
    for seed, expected in ((1, (1, 2, 3)), (2, (0, 0, 8))):
        report = make_forecast(dataclasses.replace(here, parallelism=None, seed=seed), lambda line: None)
        assert isinstance(report, ForecastReport)
        assert (report.done, report.started, report.plan.parallelism) == expected


def test_epochs_behind_a_target_that_is_left_out_need_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run` counts them again. With the same target, they do not count."""
    known: list[Any] = []
    monkeypatch.setattr(Machine, "here", lambda **_: Machine(cpus=8, gpus=0))
    monkeypatch.setattr("tuning.forecast.command.probe", lambda *_, **__: SimpleNamespace(costs=None))
    monkeypatch.setattr("tuning.forecast.command.forecast", lambda *given: known.append(given[3]))
    data = {"dataset": str(write_sentences(tmp_path / "t.csv")), "vectors": "none", "embedding_dim": 8}
    here = options(tmp_path, trials=5, target=0.6, cache_dir=tmp_path / "cache", **data)
    search = plan_search(here, Machine(cpus=8, gpus=0), 8, {}, lambda line: None)
    with open_study(here.folder, search.spec) as journal:
        journal.set_study_attr(GOAL, search.config.goal)
        journal.finish_trial(add(journal, 0.5, 0.6, 0.7), TrialState.PRUNED, None, 1)
    for target in (0.6, None):
        make_forecast(dataclasses.replace(here, target=target), lambda line: None)
    assert known == [{0: [0.5]}, {0: [0.5, 0.6, 0.7]}]
