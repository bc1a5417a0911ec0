"""A trial that continues on another node has the same result, and a failing storage does not stop it."""

import os
import stat
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.config import TrialConfig
from core.errors import UserError
from tests.support.corpora import tiny_corpus
from tuning.backend import worker
from tuning.backend.checkpoint_sync import CheckpointStore, RemoteCheckpoints
from tuning.backend.cluster import Cluster, node_info
from tuning.backend.cluster import Node as ClusterNode
from tuning.backend.storage import node_root
from tuning.resources.machine import Machine, TrialResources
from tuning.scheduling.study_config import study_id

CONFIG = TrialConfig(hidden_dim=4, n_layers=1, epochs=3, batch_size=32).to_dict()


class Node:
    """A machine with a temporary folder of its own, on which trials run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        folder.mkdir()

    def run(self, keeping: CheckpointStore, number: int = 3, dies_after: int | None = None) -> list[dict[str, Any]]:
        """What a trial reports; its worker may die when it has reported an epoch."""
        reports: list[dict[str, Any]] = []

        def report(metrics: dict[str, Any]) -> None:
            reports.append(metrics)
            if dies_after and metrics.get("epoch_result", {}).get("epoch") == dies_after:
                raise KeyboardInterrupt

        self.monkeypatch.setattr(tempfile, "tempdir", str(self.folder))
        self.monkeypatch.setattr(worker, "tune", SimpleNamespace(report=report))
        job = {
            "number": number,
            "config": CONFIG,
            "checkpoint_dir": str(self.folder / "own"),
            "kept": f"1 {number}",
            "first": 1,
        }
        try:
            keeping.run_trial(job, tiny_corpus(), TrialResources())
        except KeyboardInterrupt:
            assert dies_after
        return reports

    def kept(self) -> list[str]:
        """The checkpoints on it, with their trial's number and without its digest."""
        return sorted(f"{p.parts[-2][:5]}/{p.name}" for p in self.folder.rglob("epoch-*"))


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Node]:
    return [Node(tmp_path / name, monkeypatch) for name in ("first", "second", "third")]


def figures(reports: list[dict[str, Any]]) -> list[Any]:
    """Everything but the time."""
    epochs = [{**r["epoch_result"], "seconds": 0} for r in reports if "epoch_result" in r]
    return [epochs, [r["result"]["weights_sha256"] for r in reports if "result" in r]]


def test_a_trial_resumes_from_the_storage_on_another_node(nodes: list[Node], tmp_path: Path) -> None:
    first, second, third = nodes
    whole = third.run(CheckpointStore(study="whole", on_node=True, storage=None))
    keeping = CheckpointStore(study="s", on_node=True, storage=str(tmp_path / "storage"))
    first.run(keeping, dies_after=2)
    trained: list[int] = []
    real = worker.train

    def train(config: Any, corpus: Any, **options: Any) -> Any:
        from core.training.checkpoint import checkpoint_names

        trained.extend(int(name[-5:]) for name in checkpoint_names(options["checkpoint_dir"]))
        return real(config, corpus, **options)

    second.monkeypatch.setattr(worker, "train", train)
    assert figures(second.run(keeping)) == figures(whole)
    assert trained == [2], "it began with the checkpoint of epoch 2"


def test_without_a_storage_it_begins_again_with_the_same_result(nodes: list[Node]) -> None:
    first, second, _ = nodes
    keeping = CheckpointStore(study="s", on_node=True, storage=None)
    lost = first.run(keeping, dies_after=2)
    again = figures(second.run(keeping))
    assert figures(lost)[0] == again[0][:2]
    assert len(again[0]) == 3


def test_in_the_studys_own_folder_nothing_is_put_on_the_node(nodes: list[Node]) -> None:
    first = nodes[0]
    first.run(CheckpointStore(study="s", on_node=False, storage=None))
    assert [path.name for path in first.folder.iterdir()] == ["own"]


def test_a_storage_that_fails_is_reported_and_costs_nothing_else(nodes: list[Node], tmp_path: Path) -> None:
    first, second, _ = nodes
    (tmp_path / "file").write_text("in the way")
    reports = first.run(CheckpointStore(study="s", on_node=True, storage=str(tmp_path / "file" / "storage")))
    assert all(f"checkpoints in {tmp_path}/file/storage (" in report["storage_problem"] for report in reports[:3])
    assert figures(reports) == figures(second.run(CheckpointStore(study="s", on_node=True, storage=None)))


def test_a_download_that_fails_once_is_tried_again(nodes: list[Node], tmp_path: Path) -> None:
    first, second, _ = nodes
    keeping = CheckpointStore(study="s", on_node=True, storage=str(tmp_path / "storage"))
    first.run(keeping, dies_after=2)
    real, calls = RemoteCheckpoints.download_latest, list[Path]()

    def download(mirror: RemoteCheckpoints) -> None:
        calls.append(mirror.local)
        if len(calls) == 1:
            raise UserError("cannot keep checkpoints in storage (timeout)")
        real(mirror)

    second.monkeypatch.setattr(RemoteCheckpoints, "download_latest", download)
    reports = second.run(keeping)
    assert len(calls) == 2
    assert not any("storage_problem" in report for report in reports)
    assert reports[0]["epoch_result"]["epoch"] == 1, "the epochs of the checkpoint are reported again"
    assert second.kept() == ["00003/epoch-00002", "00003/epoch-00003"]


def test_what_finished_trials_have_left_goes_when_the_next_one_begins(nodes: list[Node], tmp_path: Path) -> None:
    """Trial 3 begins when 1 is still open; 4 may have begun since then."""
    first = nodes[0]
    keeping = CheckpointStore(study="s", on_node=True, storage=str(tmp_path / "storage"))
    for number in (4, 1):
        first.run(keeping, number)
    reports = first.run(CheckpointStore(study="other", on_node=True, storage=keeping.storage), 2)
    assert not any("storage_problem" in report for report in reports)
    first.run(keeping, 2)
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0))
    first.run(keeping, 3)
    for place in (first.folder / f"sentune-{os.getuid()}" / "s", tmp_path / "storage" / "s"):
        assert sorted(path.name[:5] for path in place.iterdir()) == ["00001", "00003", "00004"]
    assert (tmp_path / "storage" / "other").is_dir(), "another study's are not touched"


def test_a_complete_study_leaves_nothing_in_the_storage(nodes: list[Node], tmp_path: Path) -> None:
    keeping = CheckpointStore(study="s", on_node=True, storage=str(tmp_path / "storage"))
    nodes[0].run(keeping)
    said: list[str] = []
    keeping.remove_all(Machine(cpus=1, gpus=0), said.append)
    assert (list((tmp_path / "storage").iterdir()), said) == ([], [])


def test_a_storage_that_cannot_be_emptied_is_said_and_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("in the way")
    said: list[str] = []
    CheckpointStore(study="s", on_node=True, storage=str(tmp_path)).remove_all(Machine(cpus=1, gpus=0), said.append)
    (line,) = said
    assert line.startswith("the study has ended, but its checkpoints were not removed: no access to ")
    assert line.endswith("; run the same command again, or remove s there")


def test_the_folder_on_a_node_belongs_to_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user of the node, who made it first, could change the checkpoints."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root = node_root()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    message = f"^{root} is no folder of this user alone; remove it, or set TMPDIR to another folder$"
    root.chmod(0o777)
    with pytest.raises(UserError, match=message):
        node_root()
    root.rename(tmp_path / "elsewhere")
    root.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o700)
    with pytest.raises(UserError, match=message):
        node_root()
    assert node_info(None, None)["problem"].startswith(f"{root} is no folder")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UserError, match="sentune-12345 is no folder of this user alone"):
        node_root()


def test_a_node_that_came_later_and_has_no_folder_ends_the_search_with_the_reason(nodes: list[Node]) -> None:
    """A trial that failed for this reason would change decisions: tuning.backend.tuner reports what is raised."""
    root = nodes[0].folder / f"sentune-{os.getuid()}"
    root.write_text("in the way")
    with pytest.raises(UserError, match=str(root)):
        nodes[0].run(CheckpointStore(study="s", on_node=True, storage=None))


def test_studies_of_one_name_do_not_meet() -> None:
    attributes = {"spec": {"seed": 1}, "id": "a"}
    assert study_id("s", attributes) == study_id("s", dict(attributes))
    assert study_id("s", attributes) != study_id("s", attributes | {"spec": {"seed": 2}})
    assert study_id("s", attributes) != study_id("s", attributes | {"id": "b"})
    assert study_id("s", attributes).startswith("s-")


def test_a_study_that_has_ended_asks_the_nodes_that_are_there_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node of the start is lost, and has come back as another one."""
    facts = {"Resources": {"CPU": 1.0}, "NodeManagerAddress": "10.0.0.1"}
    nodes = [{"NodeID": "old", "Alive": False, **facts}, {"NodeID": "new", "Alive": True, **facts}]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    asked: list[str] = []

    def ask(cluster: Cluster, *_: object, **__: object) -> list[None]:
        asked.extend(node.node_id for node in cluster.nodes)
        return [None] * len(cluster.nodes)

    monkeypatch.setattr(Cluster, "run_on_each_node", ask)
    CheckpointStore(study="s", on_node=True, storage=None).remove_all(Cluster(address="", raylet="", nodes=()), print)
    assert asked == ["new"]


def test_a_node_that_keeps_its_checkpoints_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    node = ClusterNode(node_id="a", address="10.0.0.2", machine=Machine(cpus=1, gpus=0))
    joined, said = Cluster(address="", raylet="", nodes=(node,)), list[str]()
    monkeypatch.setattr(Cluster, "with_present_nodes", lambda cluster: cluster)
    monkeypatch.setattr(Cluster, "run_on_each_node", lambda *_, **__: [UserError("no access to /tmp/x")])
    CheckpointStore(study="s", on_node=True, storage=None).remove_all(joined, said.append)
    assert said == ["the study has ended, but its checkpoints on 10.0.0.2 remain: no access to /tmp/x"]
