"""Fractions of GPUs, assigned by Ray. Its GPUs are logical here: trials only report their devices."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.searches import Searches, searches
from tuning.journal.records import read_study
from tuning.resources.machine import Machine, TrialResources

WORK = """
import os
import ray
from tuning.resources.gpu import assigned_device

retry, fits = {retry}, {fits}

def work(job, corpus, resources):
    began, ids, visible = time.time(), ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")
    (folder / f"begun-{{job['number']}}").touch()
    until = time.time() + 120
    while not retry and len(list(folder.glob("begun-*"))) < fits and time.time() < until:
        time.sleep(0.05)  # as many as fit are to run at the same time, however slowly workers start
    time.sleep(0.2)
    seen = dict(number=job["number"], began=began, ended=time.time(), gpu=str(ids[0]), ids=len(ids), visible=visible,
                device=assigned_device(ids, visible), share=resources.gpus_per_trial)
    with open(folder / "seen.jsonl", "a") as file:
        file.write(json.dumps(seen) + "\\n")
    if retry and job["number"] in (1, 3) and resources.gpus_per_trial < 1:
        tune.report({{"result": {{"error": "out of GPU memory: asked for 2 GiB", "oom": True}}}})
    else:
        score = 1 / (1 + job["number"])
        epoch = dict(epoch=1, train_loss=0.0, val_loss=0.0, val_accuracy=score, score=score, seconds=0.0)
        tune.report({{"epoch_result": epoch}})
        tune.report({{"result": {{"n_parameters": 1}}}})
"""


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[Machine, Searches]]:
    """A machine with two GPUs, and what runs searches on it."""
    machine = Machine(cpus=8, gpus=2)
    with searches(cpus=machine.cpus, gpus=machine.gpus) as search:
        yield machine, search


def seen(host: tuple[Machine, Searches], folder: Path, share: float, *, retry: bool = False) -> list[dict[str, Any]]:
    """Where each trial ran, and when."""
    machine, search = host
    fits = TrialResources(gpus_per_trial=share).max_parallel(machine)
    search(
        folder,
        WORK.format(retry=retry, fits=fits),
        f"n_trials={5 if retry else 8}, epochs=1, parallelism={3 if retry else 8}, stopping=None",
        workers=fits,
        resources=f"TrialResources(gpus_per_trial={share}, retry_oom={retry})",
    )
    return [json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines()]


def most_at_once(trials: list[dict[str, Any]]) -> float:
    """The largest sum of shares of trials that ran on one GPU at the same time."""
    moments = sorted([(t["began"], t["share"]) for t in trials] + [(t["ended"], -t["share"]) for t in trials])
    total = most = 0.0
    for _, change in moments:
        total += change
        most = max(most, total)
    return most


def test_no_gpu_gets_more_than_it_has_and_each_worker_sees_its_own(
    host: tuple[Machine, Searches], tmp_path: Path
) -> None:
    """Five shares of 0.34 are less than two GPUs, but no GPU has room for a third."""
    trials = seen(host, tmp_path / "s", 0.34)
    assert len(trials) == 8
    names = {str(number) for number in range(host[0].gpus)}
    assert {t["gpu"] for t in trials} == names
    for gpu in names:
        assert most_at_once([t for t in trials if t["gpu"] == gpu]) == pytest.approx(0.68)
    assert {(t["ids"], t["device"]) for t in trials} == {(1, "cuda:0")}
    assert [t["visible"] for t in trials] == [t["gpu"] for t in trials]


def test_a_trial_out_of_memory_runs_again_alone_on_a_whole_gpu(host: tuple[Machine, Searches], tmp_path: Path) -> None:
    trials = seen(host, tmp_path / "s", 0.6, retry=True)
    records = read_study(tmp_path / "s")[1]
    assert [record.state for record in records] == ["COMPLETE"] * 5
    again = sorted((t for t in trials if t["share"] == 1), key=lambda t: t["began"])
    assert sorted(t["number"] for t in again) == [1, 3]
    assert sorted(t["number"] for t in trials if t["share"] < 1) == list(range(5))
    for gpu in ("0", "1"):
        assert most_at_once([t for t in trials if t["gpu"] == gpu]) <= 1 + 1e-9
    assert all(first["began"] <= second["began"] for first, second in pairwise(again))
