"""Effects of a worker on a search: it dies, fails, ends slowly or early, has trained before, or shares a GPU.

Ray's GPUs are logical here: trials only report their devices.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from tests.support.nodes import authenticated
from tests.support.patience import PATIENCE_SECONDS
from tests.support.searches import Searches, searches
from tuning.backend.connect import check_head
from tuning.journal.records import read_study
from tuning.resources.machine import Machine, TrialResources

MACHINE = Machine(cpus=8, gpus=2)


@pytest.fixture(scope="module")
def search() -> Iterator[Searches]:
    with searches(MACHINE) as made:
        yield made


def test_a_trial_that_ends_slower_than_ray_waits_neither_hangs_nor_fails(search: Searches, tmp_path: Path) -> None:
    """Ray gives a stopped trial's thread 2 s; here each takes 2.5 s to leave."""
    search(
        tmp_path / "slow",
        """
        def work(job, corpus, resources):
            try:
                for epoch in (1, 2, 3):
                    score = 1 / (1 + job["number"] + epoch)
                    tune.report({"epoch_result": dict(epoch=epoch, train_loss=0.0, val_loss=0.0,
                                                      val_accuracy=score, score=score, seconds=0.0)})
                tune.report({"result": {"n_parameters": 1}})
            finally:
                time.sleep(2.5)
        """,
        plan="n_trials=3, epochs=3, parallelism=1, stopping=Asha(grace=1, reduction=3)",
    )
    states = [(record.state, len(record.epochs)) for record in read_study(tmp_path / "slow")[1]]
    assert states == [("COMPLETE", 3), ("COMPLETE", 3), ("PRUNED", 1)]


def test_a_storage_that_fails_again_and_again_is_reported_once(search: Searches, tmp_path: Path) -> None:
    said = search(
        tmp_path / "stored",
        """
        def work(job, corpus, resources):
            for _ in range(3):
                tune.report({"storage_problem": "no room"})
            tune.report({"result": {"n_parameters": 1}})
        """,
        plan="n_trials=2, epochs=1",
    )
    assert said == "no room; the search continues, and tries again after each epoch"


def test_three_failures_from_the_start_with_one_cause_end_the_study_and_no_tracker_is_imported(
    search: Searches, tmp_path: Path
) -> None:
    """Ray would import MLflow where it is installed, to count for its telemetry what it is asked to call back."""
    said = search(
        tmp_path / "failing",
        """
        def work(job, corpus, resources):
            tune.report({"result": {"error": f"TrainingError: no luck in step {job['number']}"}})

        class Heard(Heard):
            def on_trial_end(self, record):
                interrupt.say(f"MLflow is loaded: {'mlflow' in sys.modules}")
        """,
    )
    assert "the first trials all failed with one cause, so the study stopped (TrainingError: no luck in step 0)" in said
    assert [record.state for record in read_study(tmp_path / "failing")[1]] == ["FAIL"] * 3
    assert "MLflow is loaded: False" in said
    assert "MLflow is loaded: True" not in said
    assert not (tmp_path / "failing" / ".ray").exists()


def test_a_worker_that_dies_each_time_fails_its_trial_alone_and_with_the_cause(
    search: Searches, tmp_path: Path
) -> None:
    """As the system kills one that takes too much memory, and as one ends itself whose GPU has failed."""
    search(
        tmp_path / "dying",
        """
        def work(job, corpus, resources):
            import os
            if job["number"] == 1:
                (folder / f"dies-{os.getpid()}").touch()
                if len(list(folder.glob("dies-*"))) < 3:
                    os.kill(os.getpid(), 9)
                # As tuning.backend.worker ends, without its import of torch.
                tune.report({"gpu_failure": "CUDA error: an illegal memory access"})
                os._exit(1)
            tune.report({"result": {"n_parameters": 1}})
        """,
        plan="n_trials=3, epochs=1",
    )
    records = read_study(tmp_path / "dying")[1]
    assert [record.state for record in records] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert records[1].error == "its worker died three times (CUDA error: an illegal memory access)"
    assert len(list((tmp_path / "dying").glob("dies-*"))) == 3


def test_a_worker_that_cannot_load_or_begin_a_trial_ends_the_search_and_the_same_command_continues(
    search: Searches, tmp_path: Path
) -> None:
    """As after an upgrade of the installation; the trial does not fail."""
    fails = """
        def work(job, corpus, resources):
            raise ImportError("cannot import name 'x' from 'torch'")
        """
    said = search(tmp_path / "s", fails, plan="n_trials=3, epochs=1")
    assert said == (
        "a worker cannot train (ImportError: cannot import name 'x' from 'torch'); repair the machine or the "
        "installation, and run the same command again"
    )
    unloadable = """
        import os

        def load(driver):
            if os.getpid() != driver:
                raise ImportError("no module of this name")
            return Work()

        class Work:
            def __call__(self, *_): ...

            def __reduce__(self):
                return load, (os.getpid(),)

        work = Work()
        """
    said = search(tmp_path / "s", unloadable, plan="n_trials=3, epochs=1")
    assert said.startswith("a worker cannot train (ImportError: no module of this name); repair the machine or the ")
    assert [record.state for record in read_study(tmp_path / "s")[1]] == ["RUNNING"]
    search(tmp_path / "s", 'def work(*_): tune.report({"result": {"n_parameters": 1}})', plan="n_trials=3, epochs=1")
    assert [record.state for record in read_study(tmp_path / "s")[1]] == ["COMPLETE"] * 3


def test_a_worker_that_dies_while_it_takes_a_trial_over_costs_it_one_death(search: Searches, tmp_path: Path) -> None:
    """Ray starts no trial again that dies before it runs on a worker that another trial had."""
    search(
        tmp_path / "taking-over",
        """
        def work(job, corpus, resources):
            import os
            from ray.tune.trainable.function_trainable import get_session
            get_session().finish = lambda timeout=None: os.kill(os.getpid(), 9)  # which a worker's reset asks first
            tune.report({"result": {"n_parameters": 1}})
        """,
        plan="n_trials=2, epochs=1",
    )
    assert [record.state for record in read_study(tmp_path / "taking-over")[1]] == ["COMPLETE"] * 2


def test_running_trials_end_their_epoch_and_keep_their_checkpoints(search: Searches, tmp_path: Path) -> None:
    """As after Ctrl-C; here the time is up when the third epoch is reported."""
    search(
        tmp_path / "s",
        """
        from tuning.scheduling.budget import Budget

        class Heard(Heard):
            def on_epoch_end(self, number, result):
                super().on_epoch_end(number, result)
                if len([event for event in self.events if event.startswith("epoch")]) == 3:
                    interrupt.end_study(Budget(seconds=60).timed_out)
        """,
        plan="n_trials=6, epochs=50, stopping=None",
        workers=2,
    )
    records = read_study(tmp_path / "s")[1]
    assert {record.state for record in records} == {"RUNNING"}
    assert 3 <= sum(len(record.epochs) for record in records) < 20
    for record in records:
        if record.epochs:
            checkpoints = tmp_path / "s" / "checkpoints" / f"{record.number:05d}"
            assert (checkpoints / f"epoch-{len(record.epochs):05d}").is_dir()


FRESH = """
import json, os, sys
from core import TrialConfig, train
from tests.support.corpora import tiny_corpus
corpus = tiny_corpus()
for config in json.load(sys.stdin):
    if not os.fork():  # a process in which nothing was trained before
        result = train(TrialConfig.from_dict(config), corpus)
        print([(e.train_loss, e.val_loss, e.val_accuracy) for e in result.epochs], flush=True)
        os._exit(0)
    os.wait()
"""


def test_eight_trials_of_one_worker_are_bit_identical_to_those_of_eight_fresh_processes(
    search: Searches, tmp_path: Path
) -> None:
    """Trials of all sorts, one after the other in the worker. What they report has its reader import no torch."""
    said = search(
        tmp_path / "many",
        """
        class Heard(Heard):
            def on_trial_end(self, record):
                interrupt.say(f"torch is loaded: {'torch' in sys.modules}")
        """,
        plan="n_trials=8, epochs=1, stopping=None",
    )
    assert "torch is loaded: False" in said
    assert "torch is loaded: True" not in said
    records = read_study(tmp_path / "many")[1]
    fresh = subprocess.run(
        [sys.executable, "-c", FRESH],
        input=json.dumps([dict(record.config) for record in records]),
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout.splitlines()
    assert len(fresh) == 8
    assert fresh == [str([(e.train_loss, e.val_loss, e.val_accuracy) for e in r.epochs]) for r in records]


ON_GPUS = """
import os
import ray
from tuning.resources.gpu import assigned_device

retry, fits = {retry}, {fits}

def work(job, corpus, resources):
    began, ids, visible = time.time(), ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")
    (folder / f"begun-{{job['number']}}").touch()
    until = time.time() + {patience}
    while not retry and len(list(folder.glob("begun-*"))) < fits and time.time() < until:
        time.sleep(0.05)  # as many as fit are to run at the same time, however slowly workers start
    time.sleep(0.2)
    seen = dict(number=job["number"], began=began, ended=time.time(), gpu=str(ids[0]), ids=len(ids), visible=visible,
                device=assigned_device(ids, visible), share=resources.gpus_per_trial)
    with open(folder / "seen.jsonl", "a") as file:
        file.write(json.dumps(seen) + "\\n")
    if retry and job["number"] == 1 and resources.gpus_per_trial < 1:
        tune.report({{"result": {{"error": "out of GPU memory: asked for 2 GiB", "oom": True}}}})
    else:
        score = 1 / (1 + job["number"])
        epoch = dict(epoch=1, train_loss=0.0, val_loss=0.0, val_accuracy=score, score=score, seconds=0.0)
        tune.report({{"epoch_result": epoch}})
        tune.report({{"result": {{"n_parameters": 1}}}})
"""


def seen(search: Searches, folder: Path, share: float, *, retry: bool = False) -> list[dict[str, Any]]:
    """Where each trial ran, and when."""
    fits = TrialResources(gpus_per_trial=share).max_parallel(MACHINE)
    search(
        folder,
        ON_GPUS.format(retry=retry, fits=fits, patience=PATIENCE_SECONDS),
        f"n_trials={4 if retry else 8}, epochs=1, parallelism={3 if retry else 8}, stopping=None",
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


def test_no_gpu_gets_more_than_it_has_and_each_worker_sees_its_own(search: Searches, tmp_path: Path) -> None:
    """Five shares of 0.34 are less than two GPUs, but no GPU has room for a third."""
    trials = seen(search, tmp_path / "s", 0.34)
    assert len(trials) == 8
    names = {str(number) for number in range(MACHINE.gpus)}
    assert {t["gpu"] for t in trials} == names
    for gpu in names:
        assert most_at_once([t for t in trials if t["gpu"] == gpu]) == pytest.approx(0.68)
    assert {(t["ids"], t["device"]) for t in trials} == {(1, "cuda:0")}
    assert [t["visible"] for t in trials] == [t["gpu"] for t in trials]


def test_a_trial_out_of_memory_runs_again_alone_on_a_whole_gpu(search: Searches, tmp_path: Path) -> None:
    trials = seen(search, tmp_path / "s", 0.6, retry=True)
    records = read_study(tmp_path / "s")[1]
    assert [record.state for record in records] == ["COMPLETE"] * 4
    assert [t["number"] for t in trials if t["share"] == 1] == [1]
    assert sorted(t["number"] for t in trials if t["share"] < 1) == list(range(4))
    for gpu in ("0", "1"):
        assert most_at_once([t for t in trials if t["gpu"] == gpu]) <= 1 + 1e-9


def test_other_users_cannot_enter_rays_folder(search: Searches) -> None:
    """Else they could replace its sockets: Ray lets everyone write into its session."""
    session = Path(search.execute("interrupt.say(ray._private.worker._global_node.get_session_dir_path())"))
    assert session.parents[1].stat().st_mode & 0o077 == 0, session


@pytest.mark.parametrize("variables", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "f" * 64}])
def test_a_program_without_the_token_cannot_use_the_ray_of_a_search(
    search: Searches, variables: dict[str, str]
) -> None:
    """Else anyone who connects to its ports could run code."""
    address = search.execute("interrupt.say(ray.get_runtime_context().gcs_address)")
    with authenticated({"RAY_AUTH_MODE": "token"} | variables), pytest.raises(UserError, match="requires its token"):
        check_head(address)
