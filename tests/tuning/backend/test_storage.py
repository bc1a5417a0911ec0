"""A checkpoint in the storage is complete or absent; errors are one line."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.errors import ConfigError, UserError
from core.io.checked_folder import CHECKSUMS
from core.training.checkpoint import STATE, TENSORS, Checkpoint, checkpoint_names, load_latest, save
from tuning.backend import storage
from tuning.backend.checkpoint_sync import RemoteCheckpoints
from tuning.backend.storage import check_storage, marker_file, open_storage, prune, remove
from tuning.run_options import RunOptions

TRAINING = {"seed": 1}


def saved(folder: Path, *epochs: int) -> None:
    for epoch in epochs:
        tensors = {"weights": torch.full((3,), float(epoch))}
        save(folder, Checkpoint(epoch=epoch, fingerprint=TRAINING, state={"of": epoch}, tensors=tensors))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A trial's folder in a storage, after epochs 1 to 4 on some node."""
    saved(tmp_path / "node", 1, 2, 3, 4)
    RemoteCheckpoints(str(tmp_path / "storage"), "study/00003", tmp_path / "node").upload_new()
    return tmp_path / "storage" / "study" / "00003"


def fetched(stored: Path, node: Path) -> Checkpoint | None:
    RemoteCheckpoints(str(stored.parents[1]), "study/00003", node).download_latest()
    return load_latest(node, TRAINING)


def test_another_node_resumes_from_the_newest_checkpoint(stored: Path, tmp_path: Path) -> None:
    found = fetched(stored, tmp_path / "other")
    assert found is not None
    assert (found.epoch, found.state, found.tensors["weights"].tolist()) == (4, {"of": 4}, [4.0] * 3)
    assert checkpoint_names(tmp_path / "other") == ["epoch-00004"]


def test_where_nothing_is_stored_nothing_is_fetched(tmp_path: Path) -> None:
    assert fetched(tmp_path / "storage" / "study" / "00003", tmp_path / "other") is None


def test_a_checkpoint_without_its_checksums_does_not_count(stored: Path, tmp_path: Path) -> None:
    """They are written last: the node died before."""
    (stored / "epoch-00004" / CHECKSUMS).unlink()
    found = fetched(stored, tmp_path / "other")
    assert found is not None
    assert found.epoch == 3


@pytest.mark.parametrize("damage", ["changed", "missing"])
@pytest.mark.parametrize("part", [TENSORS, STATE])
def test_a_damaged_checkpoint_is_passed_over_and_later_replaced(
    stored: Path, tmp_path: Path, part: str, damage: str
) -> None:
    file = stored / "epoch-00004" / part
    file.unlink()
    if damage == "changed":
        file.write_bytes(b"torn")
    node = tmp_path / "other"
    mirror = RemoteCheckpoints(str(tmp_path / "storage"), "study/00003", node)
    mirror.download_latest()
    assert checkpoint_names(node) == ["epoch-00003"]
    saved(node, 4)
    mirror.upload_new()
    found = fetched(stored, tmp_path / "third")
    assert found is not None
    assert found.epoch == 4


def test_a_node_that_is_as_far_keeps_its_own(stored: Path, tmp_path: Path) -> None:
    saved(tmp_path / "other", 4)
    inode = (tmp_path / "other" / "epoch-00004").stat().st_ino
    assert fetched(stored, tmp_path / "other") is not None
    assert (tmp_path / "other" / "epoch-00004").stat().st_ino == inode


def test_a_node_whose_own_is_damaged_gets_the_intact_one(stored: Path, tmp_path: Path) -> None:
    saved(tmp_path / "other", 4)
    (tmp_path / "other" / "epoch-00004" / STATE).write_bytes(b"torn")
    found = fetched(stored, tmp_path / "other")
    assert found is not None
    assert found.epoch == 4


def test_a_node_that_is_behind_gets_the_newer_one(stored: Path, tmp_path: Path) -> None:
    saved(tmp_path / "other", 2)
    found = fetched(stored, tmp_path / "other")
    assert found is not None
    assert found.epoch == 4


def test_each_epoch_is_uploaded_once(stored: Path, tmp_path: Path) -> None:
    mirror = RemoteCheckpoints(str(tmp_path / "storage"), "study/00003", tmp_path / "node")
    before = (stored / "epoch-00004" / TENSORS).stat().st_mtime_ns
    mirror.upload_new()
    assert (stored / "epoch-00004" / TENSORS).stat().st_mtime_ns == before


def test_checkpoints_that_a_node_could_not_download_stay(stored: Path, tmp_path: Path) -> None:
    """The node trains the trial from its first epoch; another one can still continue from the fourth."""
    node = tmp_path / "other"
    mirror = RemoteCheckpoints(str(tmp_path / "storage"), "study/00003", node)
    for epoch in (1, 2, 3):
        saved(node, epoch)
        mirror.upload_new()
        assert (stored / "epoch-00004").is_dir()
    saved(node, 4, 5)
    mirror.upload_new()
    assert sorted(path.name for path in stored.iterdir()) == ["epoch-00004", "epoch-00005"]


def test_only_what_is_spared_or_has_just_changed_stays(tmp_path: Path) -> None:
    for name in ("00001", "00002", "00003"):
        (tmp_path / "study" / name / "epoch-00001").mkdir(parents=True)
    for path in (tmp_path / "study").rglob("*"):
        os.utime(path, (0, 0))
    (tmp_path / "study" / "00003" / "epoch-00001" / "state.json").touch()
    prune(str(tmp_path), "study", lambda name: name == "00002")
    prune(str(tmp_path), "no-such", lambda name: False)
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == ["00002", "00003"]
    remove(str(tmp_path), "study")
    remove(str(tmp_path), "study")
    assert list(tmp_path.iterdir()) == []


def test_a_place_is_a_folder_or_a_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RunOptions(storage="shared").storage == str(tmp_path / "shared")
    assert RunOptions(storage="s3://bucket/folder").storage == "s3://bucket/folder"
    assert open_storage(f"file://{tmp_path}/x/").base_path == open_storage("x").base_path == f"{tmp_path}/x/"
    check_storage("x")
    assert list((tmp_path / "x").iterdir()) == []


@pytest.mark.parametrize("where", ["ftp://host/folder", "s3://", "no-such-scheme://x"])
def test_a_uri_of_no_store_is_refused_with_what_can_be_given(where: str) -> None:
    with pytest.raises(ConfigError, match=rf"--storage {where}: .*; pass a folder, file:///FOLDER, s3://BUCKET/FOLDER"):
        check_storage(where)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=rf"^cannot keep checkpoints in {tmp_path}/file/folder \(.*\); pass another "):
        check_storage(str(tmp_path / "file" / "folder"))


@pytest.mark.parametrize("place", ["s4://AKIA:SECRET@bucket/x", "s3://b ucket/x?secret_key=SECRET"])
def test_what_a_store_says_of_a_uri_shows_no_secret_of_it(place: str) -> None:
    with pytest.raises(ConfigError, match=r"--storage s\d://b") as caught:
        open_storage(place)
    assert "SECRET" not in str(caught.value)


def test_a_folder_that_is_not_the_drivers_is_refused(tmp_path: Path) -> None:
    """Each machine has a folder of that name, but not the same one."""
    with marker_file(str(tmp_path / "driver")) as mark:
        check_storage(str(tmp_path / "driver"), mark)
        with pytest.raises(UserError, match=r"^a file of another machine is not visible in .*/node; pass a "):
            check_storage(str(tmp_path / "node"), mark)
    assert [list((tmp_path / name).iterdir()) for name in ("driver", "node")] == [[], []]


class GoogleStore:
    """As pyarrow's: a list lacks folders that only files imply, and the error for an absent folder has no number."""

    base_fs = SimpleNamespace(type_name="gcs")

    def __init__(self, where: str, folder: str = "") -> None:
        self.local = open_storage(where, folder)

    def get_file_info(self, selector: Any) -> list[Any]:
        return [each for each in self.local.get_file_info(selector) if each.is_file]

    def delete_dir(self, path: str) -> None:
        try:
            self.local.delete_dir(path)
        except FileNotFoundError:
            raise OSError(f"No such directory: {path}") from None


def test_googles_store_is_pruned_and_an_absent_folder_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "open_storage", GoogleStore)
    for name in ("00001", "00002"):
        (tmp_path / "study" / name / "epoch-00001").mkdir(parents=True)
        (tmp_path / "study" / name / "epoch-00001" / STATE).touch()
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0))
    prune(str(tmp_path), "study", lambda name: name == "00002")
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["00002"]
    remove(str(tmp_path), "study")
    remove(str(tmp_path), "study")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^no access to .*; run the same command again, or remove file there$"):
        remove(str(tmp_path), "file")


@pytest.mark.parametrize(
    ("where", "asked"),
    [
        ("gs://b/x", "gs://b/x?retry_limit_seconds=30"),
        ("gs://b/x?scheme=http", "gs://b/x?scheme=http&retry_limit_seconds=30"),
        ("gs://b/x?retry_limit_seconds=5", "gs://b/x?retry_limit_seconds=5"),
        ("s3://b/x", "s3://b/x"),
    ],
)
def test_googles_store_repeats_no_request_for_15_minutes(
    where: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    local = open_storage("x").base_fs

    def from_uri(uri: str) -> tuple[Any, str]:
        found.append(uri)
        return local, "b/x"

    monkeypatch.setattr("pyarrow.fs.FileSystem", SimpleNamespace(from_uri=from_uri))
    open_storage(where)
    assert found == [asked]
