"""Effects of a worker on a search: it dies, fails, ends slowly, has trained before, or shares a GPU.

Ray's GPUs are logical here: trials only report their devices.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.config import TrialConfig
from core.errors import UserError
from tests.support.corpora import tiny_corpus
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


@pytest.fixture(scope="module")
def slow(search: Searches, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study whose storage fails after each epoch, and what it said.

    Ray gives a stopped trial's thread 2 s; here those of trials 0 and 2 take 2.5 s to leave.
    """
    folder = tmp_path_factory.mktemp("slow")
    said = search(
        folder,
        """
        def work(job, corpus, resources):
            try:
                for epoch in (1, 2, 3):
                    score = 1 / (1 + job["number"] + epoch)
                    tune.report({"storage_problem": "no room"})
                    tune.report({"epoch_result": dict(epoch=epoch, train_loss=0.0, val_loss=0.0,
                                                      val_accuracy=score, score=score, seconds=0.0)})
                tune.report({"result": {"n_parameters": 1}})
            finally:
                time.sleep(2.5 * (job["number"] != 1))
        """,
        plan="n_trials=3, epochs=3, parallelism=1, stopping=Asha(grace=1, reduction=3)",
    )
    return folder, said


def test_a_trial_that_ends_slower_than_ray_waits_neither_hangs_nor_fails(slow: tuple[Path, str]) -> None:
    states = [(record.state, len(record.epochs)) for record in read_study(slow[0])[1]]
    assert states == [("COMPLETE", 3), ("COMPLETE", 3), ("PRUNED", 1)]


def test_a_storage_that_fails_again_and_again_is_reported_once(slow: tuple[Path, str]) -> None:
    assert slow[1] == "no room; the search continues, and tries again after each epoch"


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
    assert (
        "the first 3 trials all failed with one cause, so the study stopped (TrainingError: no luck in step 0)" in said
    )
    assert [record.state for record in read_study(tmp_path / "failing")[1]] == ["FAIL"] * 3
    assert "MLflow is loaded: False" in said
    assert "MLflow is loaded: True" not in said
    assert not (tmp_path / "failing" / ".ray").exists()


def test_a_trial_whose_workers_die_fails_alone_and_with_the_last_cause(search: Searches, tmp_path: Path) -> None:
    """The first dies while it takes the trial over from another one: Ray starts no such trial again.

    Then the system kills one, as if it took too much memory, and one whose GPU has failed ends itself.
    """
    search(
        tmp_path / "dying",
        """
        def work(job, corpus, resources):
            import os
            from ray.tune.trainable.function_trainable import get_session
            if job["number"] == 0:
                get_session().finish = lambda timeout=None: os.kill(os.getpid(), 9)  # a worker's reset asks it first
            if job["number"] == 1:
                (folder / f"dies-{os.getpid()}").touch()
                if len(list(folder.glob("dies-*"))) < 2:
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
    assert len(list((tmp_path / "dying").glob("dies-*"))) == 2, "the death at the start counts once"


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


def test_eight_trials_of_one_worker_are_bit_identical_to_those_of_a_process_with_another_past(
    search: Searches, tmp_path: Path
) -> None:
    """Trials of all sorts, one after the other in the worker, and here in the reverse order.

    What they report has its reader import no torch.
    """
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
    assert len(records) == 8
    from core.training.loop import train

    for record in reversed(records):
        result = train(TrialConfig.from_dict(record.config), tiny_corpus())
        here, there = ([(e.train_loss, e.val_loss, e.val_accuracy) for e in r.epochs] for r in (result, record))
        assert here == there


ON_GPUS = """
import os
import ray
from tuning.resources.gpu import assigned_device

def work(job, corpus, resources):
    began, ids, visible = time.time(), ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")
    (folder / f"begun-{{job['number']}}").touch()
    until = time.time() + {patience}
    while len(list(folder.glob("begun-*"))) < {fits} and time.time() < until:
        time.sleep(0.05)  # as many as fit are to run at the same time, however slowly workers start
    time.sleep(0.2)
    seen = dict(number=job["number"], began=began, ended=time.time(), gpu=str(ids[0]), ids=len(ids), visible=visible,
                device=assigned_device(ids, visible), share=resources.gpus_per_trial)
    with open(folder / "seen.jsonl", "a") as file:
        file.write(json.dumps(seen) + "\\n")
    if job["number"] == 1 and resources.gpus_per_trial < 1:
        tune.report({{"result": {{"error": "out of GPU memory: asked for 2 GiB", "oom": True}}}})
    else:
        score = 1 / (1 + job["number"])
        epoch = dict(epoch=1, train_loss=0.0, val_loss=0.0, val_accuracy=score, score=score, seconds=0.0)
        tune.report({{"epoch_result": epoch}})
        tune.report({{"result": {{"n_parameters": 1}}}})
"""


@pytest.fixture(scope="module")
def on_gpus(search: Searches, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Where each trial of a complete study ran, and when. One of them runs out of memory on its share of a GPU."""
    folder, share = tmp_path_factory.mktemp("gpus"), 0.34
    fits = TrialResources(gpus_per_trial=share).max_parallel(MACHINE)
    search(
        folder,
        ON_GPUS.format(fits=fits, patience=PATIENCE_SECONDS),
        "n_trials=8, epochs=1, parallelism=8, stopping=None",
        workers=fits,
        resources=f"TrialResources(gpus_per_trial={share}, retry_oom=True)",
    )
    assert [record.state for record in read_study(folder)[1]] == ["COMPLETE"] * 8
    return [json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines()]


def most_at_once(trials: list[dict[str, Any]]) -> float:
    """The largest sum of shares of trials that ran on one GPU at the same time."""
    moments = sorted([(t["began"], t["share"]) for t in trials] + [(t["ended"], -t["share"]) for t in trials])
    total = most = 0.0
    for _, change in moments:
        total += change
        most = max(most, total)
    return most


def test_no_gpu_gets_more_than_it_has_and_each_worker_sees_its_own(on_gpus: list[dict[str, Any]]) -> None:
    """Five shares of 0.34 are less than two GPUs, but no GPU has room for a third."""
    trials = [t for t in on_gpus if t["share"] < 1]
    names = {str(number) for number in range(MACHINE.gpus)}
    assert {t["gpu"] for t in trials} == names
    for gpu in names:
        assert most_at_once([t for t in trials if t["gpu"] == gpu]) == pytest.approx(0.68)
    assert {(t["ids"], t["device"]) for t in trials} == {(1, "cuda:0")}
    assert [t["visible"] for t in trials] == [t["gpu"] for t in trials]


def test_a_trial_out_of_memory_runs_again_alone_on_a_whole_gpu(on_gpus: list[dict[str, Any]]) -> None:
    assert [t["number"] for t in on_gpus if t["share"] == 1] == [1]
    assert sorted(t["number"] for t in on_gpus if t["share"] < 1) == list(range(8))
    for gpu in ("0", "1"):
        assert most_at_once([t for t in on_gpus if t["gpu"] == gpu]) <= 1 + 1e-9


def test_other_users_cannot_enter_rays_folder(search: Searches) -> None:
    """Else they could replace its sockets: Ray lets everyone write into its session."""
    session = Path(search.execute("interrupt.say(ray._private.worker._global_node.get_session_dir_path())"))
    assert session.parents[1].stat().st_mode & 0o077 == 0, session


def test_ray_does_not_record_the_command_line(search: Searches) -> None:
    """It may have the keys of a storage."""
    assert search.execute("interrupt.say(*{job['Entrypoint'] for job in ray._private.state.jobs()})") == "sentune"


def test_a_program_without_the_token_cannot_use_the_ray_of_a_search(search: Searches) -> None:
    """Else anyone who connects to its ports could run code."""
    address = search.execute("interrupt.say(ray.get_runtime_context().gcs_address)")
    other = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}
    with authenticated(other), pytest.raises(UserError, match="requires its token"):
        check_head(address)
