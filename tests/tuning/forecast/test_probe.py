"""The probed configurations, and the time of their steps."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.errors import UserError
from core.nn.model_size import max_checkpoint_bytes
from tests.support.corpora import in_folds, tiny_corpus
from tests.support.patience import PATIENCE_SECONDS
from tests.support.study_configs import outcomes, plan
from tuning.forecast.probe import MAX_OWN, OTHERS, _peak_bytes, _probe_process, probe, settings_to_try
from tuning.resources.profiling import (
    BATCHES,
    DISK_BYTES_A_SECOND,
    EVALUATION_COST,
    measure_epoch_seconds,
    training_steps,
)
from tuning.space.portfolio import FirstTrials
from tuning.space.space import DEFAULTS


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_the_settings_tried_first_are_the_studys_own(sampler: str) -> None:
    """As many as there are virtual workers start before any result is visible."""
    the_plan = plan(parallelism=5, n_trials=9, sampler=sampler)
    own, others = settings_to_try(the_plan)
    studys = [TrialConfig.from_dict(trial.user_attrs["config"]) for trial in outcomes(the_plan, 5)]
    assert own == studys
    assert len(others) == OTHERS
    assert not [config for config in others if config in own]


def test_the_given_first_trials_are_measured_although_results_are_visible_before_them() -> None:
    given = FirstTrials(source="mine.json", settings=({**DEFAULTS, "hidden_dim": 40}, {**DEFAULTS, "hidden_dim": 41}))
    own, _ = settings_to_try(plan(parallelism=1, n_trials=9, first_trials=given))
    assert [config.hidden_dim for config in own[-2:]] == [40, 41]


def test_a_study_that_is_known_whole_needs_no_others() -> None:
    assert [len(part) for part in settings_to_try(plan(parallelism=8, n_trials=4))] == [4, 0]


def test_of_very_many_parallel_trials_only_the_first_are_measured() -> None:
    """Each takes at least a step, even after the time of the probe."""
    own, others = settings_to_try(plan(parallelism=100, n_trials=100, sampler="random"))
    assert (len(own), len(others)) == (MAX_OWN, OTHERS)


def work_and_disk(corpus: Corpus, config: TrialConfig) -> tuple[float, float]:
    """Return the tokens of an epoch, weighted by their cost, and the seconds in which its checkpoint is written."""
    lengths = corpus.lengths()
    work = lengths[corpus.indices(TRAIN)].sum() + EVALUATION_COST * lengths[corpus.indices(VAL)].sum()
    return work, max_checkpoint_bytes(config, len(corpus.words), corpus.embedding_dim, 2) / DISK_BYTES_A_SECOND


def test_an_epochs_time_is_that_of_its_tokens() -> None:
    """A clock that says a second a step; the warm-up steps are left out."""
    corpus, config = tiny_corpus(), TrialConfig(hidden_dim=4, batch_size=20)
    running = training_steps(config, corpus, "cpu", different=BATCHES)
    tokens = [next(running) for _ in range(BATCHES + 2)]
    assert tokens[:2] == tokens[BATCHES:]
    assert len(set(tokens)) == BATCHES
    found = measure_epoch_seconds(config, corpus, "cpu", BATCHES + 2, clock=itertools.count().__next__)
    work, disk = work_and_disk(corpus, config)
    assert found == pytest.approx(2 / sum(tokens[BATCHES:]) * work + disk)
    half = config.replace(epoch_sentences=len(corpus.indices(TRAIN)) // 2)
    shorter = measure_epoch_seconds(half, corpus, "cpu", BATCHES + 2, clock=itertools.count().__next__)
    assert found - shorter == pytest.approx(
        2 / sum(tokens[BATCHES:]) * corpus.lengths()[corpus.indices(TRAIN)].sum() / 2
    )


@pytest.mark.slow
@pytest.mark.parametrize("epoch_sentences", [None, 30, 250])
def test_a_whole_epoch_is_enough(epoch_sentences: int | None) -> None:
    corpus, config = tiny_corpus(), TrialConfig(hidden_dim=4, batch_size=20, epoch_sentences=epoch_sentences)
    ticks = itertools.count()
    measure_epoch_seconds(config, corpus, "cpu", 1e9, clock=ticks.__next__)
    assert next(ticks) == 1 + config.steps_per_epoch(len(corpus.indices(TRAIN))) + BATCHES


def test_a_step_that_outlasts_the_time_counts_alone() -> None:
    corpus, config = tiny_corpus(), TrialConfig(hidden_dim=4, batch_size=20)
    found = measure_epoch_seconds(config, corpus, "cpu", 0.0, clock=itertools.count().__next__)
    work, disk = work_and_disk(corpus, config)
    assert found == pytest.approx(work / next(training_steps(config, corpus, "cpu", different=BATCHES)) + disk)


def test_the_longest_sentences_come_first_where_memory_is_measured() -> None:
    corpus = tiny_corpus()
    sentences = corpus.indices(TRAIN)
    first = next(training_steps(TrialConfig(hidden_dim=4, batch_size=10), corpus, "cpu", most_memory=True))
    assert first >= 10 * sorted(corpus.lengths()[sentences])[-10] * 0.9
    assert first >= max(itertools.islice(training_steps(TrialConfig(hidden_dim=4, batch_size=10), corpus, "cpu"), 8))


@pytest.mark.slow
def test_a_script_needs_no_guard_against_the_processes_of_the_probe(tmp_path: Path) -> None:
    """A process that is spawned imports the user's script, unless it is hidden."""
    script = tmp_path / "script.py"
    script.write_text(
        "import math, sys\nfrom functools import partial\nfrom tuning.resources.profiling import run_processes\n"
        "main = sys.modules['__main__']\nprint(run_processes([partial(math.sqrt, 4)]))\n"
        "assert sys.modules['__main__'] is main\n"
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("[2.0]\n", "")


@pytest.mark.slow
def test_the_processes_of_the_probe_end_after_a_kill_of_their_parent() -> None:
    work = f"print('started', flush=True); import time; time.sleep({2 * PATIENCE_SECONDS})"
    script = (
        "from functools import partial\nfrom tuning.resources.profiling import run_processes\n"
        f"run_processes([partial(exec, {work!r})])\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        parent.kill()
        assert parent.communicate(timeout=PATIENCE_SECONDS)[0] == ""  # the end of the output: no process has it open


def test_a_process_of_the_probe_that_dies_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = MagicMock()
    pool.return_value.__enter__.return_value.submit.return_value.result.side_effect = BrokenProcessPool("gone")
    monkeypatch.setattr("tuning.resources.profiling.ProcessPoolExecutor", pool)
    with pytest.raises(UserError, match=r"a process of the probe died \(killed, or out of memory\); choose smaller"):
        probe(plan(), [], {}, None, side_by_side=2, threads=1, device="cpu")


def probed(monkeypatch: pytest.MonkeyPatch, folds: int = 0) -> tuple[list[float], float, int]:
    """Two configurations, measured in this process."""
    corpus = in_folds(tiny_corpus(), folds) if folds else tiny_corpus()
    monkeypatch.setattr("tuning.forecast.probe.load_corpus", lambda **options: corpus)
    configs = [TrialConfig(hidden_dim=4), TrialConfig(hidden_dim=4, n_layers=2)]
    an_hour_ago = time.monotonic() - 3600
    return _probe_process(
        configs=configs, heavy=configs[:1], data={}, cache_dir=None, threads=1, device="cpu", began=an_hour_ago
    )


def test_a_process_measures_each_configuration_and_its_own_start(monkeypatch: pytest.MonkeyPatch) -> None:
    costs, start, _ = probed(monkeypatch)
    assert len(costs) == 2
    assert all(cost > 0 for cost in costs)
    assert 3600 <= start <= 3600 + PATIENCE_SECONDS


@pytest.mark.parametrize("folds", [0, 3])
def test_memory_is_measured_with_all_learners_of_a_trial(monkeypatch: pytest.MonkeyPatch, folds: int) -> None:
    """With validation in folds, a trial has one learner for each fold at the same time."""
    alive, counts = list[TrialConfig](), []

    def steps(config: TrialConfig, corpus: Corpus, device: str, *, most_memory: bool) -> Iterator[int]:
        alive.append(config)
        counts.append(len(alive))
        try:
            yield 1
        finally:
            alive.pop()

    monkeypatch.setattr("tuning.forecast.probe.training_steps", steps)
    probed(monkeypatch, folds)
    assert counts == ([1, 2, 3] if folds else [1])
    assert not alive


def test_settings_that_no_gpu_holds_leave_a_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(*_: object, **__: object) -> Iterator[int]:
        raise RuntimeError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        yield 1

    monkeypatch.setattr("tuning.forecast.probe.training_steps", steps)
    assert probed(monkeypatch)[2] > 0


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak is read from /proc")
def test_the_peak_memory_of_a_process_is_that_of_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    def high_water_mark() -> int:
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

    before = high_water_mark()
    _, _, peak = probed(monkeypatch)
    some_pages = 2**20  # the kernel sums the counts of its processors only now and then
    assert before - some_pages <= peak <= high_water_mark() + some_pages


def test_with_folds_an_epoch_takes_the_time_of_all_learners() -> None:
    """Two of three train on each sentence, and the third one is validated on it."""
    corpus, config = in_folds(tiny_corpus(), 3), TrialConfig(hidden_dim=4, batch_size=20)
    found = measure_epoch_seconds(config, corpus, "cpu", 0.0, clock=itertools.count().__next__)
    work = (2 + EVALUATION_COST) * corpus.lengths()[corpus.indices(TRAIN)].sum()
    _, disk = work_and_disk(corpus, config)
    a_step = next(training_steps(config, corpus, "cpu", different=BATCHES))
    assert found == pytest.approx(work / a_step + 3 * disk)


def test_each_cost_is_that_of_its_configuration_with_any_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(calls: Sequence[partial[Any]]) -> list[Any]:
        parts = [[each.learning_rate for each in call.keywords["configs"]] for call in calls]
        return [(costs, at, at) for at, costs in enumerate(parts)]

    monkeypatch.setattr("tuning.forecast.probe.run_processes", run)
    own, others = settings_to_try(plan())
    costs = probe(plan(), [], {}, None, side_by_side=3, threads=1, device="cpu").costs
    assert costs.own == tuple(each.learning_rate for each in own)
    assert costs.others == tuple(each.learning_rate for each in others)
    assert costs.start == 2


def test_configurations_are_measured_with_the_threads_of_a_trial_and_share_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[tuple[int, float]] = []

    def measure(config: TrialConfig, corpus: Corpus, device: str, seconds: float) -> float:
        measured.append((torch.get_num_threads(), seconds))
        return 1.0

    monkeypatch.setattr("tuning.forecast.probe.load_corpus", lambda **options: tiny_corpus())
    monkeypatch.setattr("tuning.forecast.probe.measure_epoch_seconds", measure)
    in_an_hour = time.monotonic() + 3600
    _probe_process(
        configs=[TrialConfig()] * 4, heavy=(), data={}, cache_dir=None, threads=3, device="cpu", began=in_an_hour
    )
    assert {threads for threads, _ in measured} == {3}
    assert 4 * measured[0][1] == pytest.approx(measured[-1][1], rel=0.2)


def test_too_little_memory_of_the_machine_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(*_: object, **__: object) -> Iterator[int]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")
        yield 1

    monkeypatch.setattr("tuning.forecast.probe.training_steps", steps)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        probed(monkeypatch)


@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1), ("linux", 1024)])
def test_the_peak_memory_is_in_bytes_where_proc_lacks_it(
    platform: str, unit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.forecast.probe.Path", lambda _: tmp_path / "none")
    monkeypatch.setattr("tuning.forecast.probe.sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr("resource.getrusage", lambda _: SimpleNamespace(ru_maxrss=5000))
    assert _peak_bytes() == 5000 * unit
