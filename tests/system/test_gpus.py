"""Shares of GPUs, packed by Ray. Its GPUs are logical here: trials compute nothing, but are where Ray put them."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tuning.records import read_study

SCRIPT = """
import json, os, sys, time
from pathlib import Path
import ray
from ray import tune
from tests.fakes import tiny_corpus
from tests.tuning.plans import plan
from tests.tuning.fake_ray import Heard
from tuning.gpus import assigned_device
from tuning.ledger import open_ledger
from tuning.resources import Machine, Shares
from tuning.search import Interruption, search

folder, share, gpus, retry = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "retry"
window = 3 if retry else 8

def work(job, corpus, shares):
    began, ids, visible = time.time(), ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")
    (folder / f"begun-{job['number']}").touch()
    until = time.time() + 120
    while not retry and len(list(folder.glob("begun-*"))) < fits and time.time() < until:
        time.sleep(0.05)  # as many as fit are to run at the same time, however slowly workers start
    time.sleep(0.2)
    seen = dict(number=job["number"], began=began, ended=time.time(), gpu=str(ids[0]), ids=len(ids), visible=visible,
                device=assigned_device(ids, visible), share=shares.gpus_per_trial)
    with open(folder / "seen.jsonl", "a") as file:
        file.write(json.dumps(seen) + "\\n")
    if retry and job["number"] in (1, 4) and shares.gpus_per_trial < 1:
        tune.report({"outcome": {"error": "out of GPU memory: asked for 2 GiB", "oom": True}})
    else:
        epoch = dict(epoch=1, train_loss=0.0, val_loss=0.0, val_accuracy=1 / (1 + job["number"]), seconds=0.0)
        tune.report({"epoch_result": epoch})
        tune.report({"outcome": {"n_parameters": 1}})

folder.mkdir()
shares, machine = Shares(gpus_per_trial=share, retry_oom=retry), Machine(cpus=8, gpus=gpus)
fits = shares.fit(machine)
with open_ledger(folder, {}) as ledger:
    search(ledger, plan(n_trials=8, epochs=1, window=window, stopping=None), tiny_corpus(), shares, machine,
           fits, Heard(), Interruption(say=print, lost=print), work)
"""


def seen(folder: Path, share: float, gpus: int, *, retry: bool = False) -> list[dict[str, Any]]:
    """Where each trial ran, and when."""
    command = [sys.executable, "-c", SCRIPT, str(folder), str(share), str(gpus), "retry" if retry else "once"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=Path(__file__).parents[2])
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return [json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines()]


def most_at_once(trials: list[dict[str, Any]]) -> float:
    """The largest sum of shares of trials that ran on one GPU at the same time."""
    moments = sorted([(t["began"], t["share"]) for t in trials] + [(t["ended"], -t["share"]) for t in trials])
    total = most = 0.0
    for _, change in moments:
        total += change
        most = max(most, total)
    return most


@pytest.mark.parametrize(("share", "most", "gpus"), [(0.34, 0.68, 1), (0.6, 0.6, 2)])
def test_no_gpu_gets_more_than_it_has_and_each_worker_sees_its_own(
    tmp_path: Path, share: float, most: float, gpus: int
) -> None:
    trials = seen(tmp_path / "s", share, gpus)
    assert len(trials) == 8
    names = {str(number) for number in range(gpus)}
    assert {t["gpu"] for t in trials} == names
    for gpu in names:
        assert most_at_once([t for t in trials if t["gpu"] == gpu]) == pytest.approx(most)
    assert {(t["ids"], t["device"]) for t in trials} == {(1, "cuda:0")}
    assert [t["visible"] for t in trials] == [t["gpu"] for t in trials]


def test_a_trial_out_of_memory_runs_again_alone_on_a_whole_gpu(tmp_path: Path) -> None:
    trials = seen(tmp_path / "s", 0.5, 1, retry=True)
    records = read_study(tmp_path / "s")[1]
    assert [record.state for record in records] == ["COMPLETE"] * 8
    again = sorted((t for t in trials if t["share"] == 1), key=lambda t: t["began"])
    assert sorted(t["number"] for t in again) == [1, 4]
    assert sorted(t["number"] for t in trials if t["share"] < 1) == list(range(8))
    assert most_at_once(trials) <= 1 + 1e-9
    assert all(first["began"] <= second["began"] for first, second in pairwise(again))
