"""The Movie Review data and the archives of word vectors, downloaded from a server on this machine."""

import dataclasses
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from core.data.movie_reviews import resolve_mr
from core.data.vectors import GLOVE, VectorArchive, resolve_archived
from core.errors import DataError, UserError
from core.io import cache
from core.io.download import RemoteFile
from tests.support.archives import everything_in, tar_gz
from tests.support.file_server import Server

MR = {"rt-polarity.neg": b"bad film\n" * 3, "rt-polarity.pos": b"good film \xe9\n" * 4}


DIGESTS = {name: hashlib.sha256(data).hexdigest() for name, data in MR.items()}


def test_mr_is_downloaded_once_and_checked_file_by_file(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(tar_gz({f"rt-polaritydata/{name}": data for name, data in MR.items()} | {"README": b"-"}), 50)
    for _ in range(2):
        dataset = resolve_mr(tmp_path, remote=server.remote(), sha256=DIGESTS).read()
        assert dataset.texts == ["bad film"] * 3 + ["good film é"] * 4
        assert dataset.labels.tolist() == [0] * 3 + [1] * 4
    assert len(server.ranges) == 2  # one cut, one rest
    assert everything_in(tmp_path / ".parts") == set()


def test_mr_with_another_file_in_it_is_refused_and_nothing_stays(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(tar_gz(MR | {"rt-polarity.pos": b"bad film\n"}))
    with pytest.raises(DataError, match=r"rt-polarity\.pos is not the published file; choose the dataset snippets"):
        resolve_mr(tmp_path, remote=server.remote(), sha256=DIGESTS).read()
    assert everything_in(tmp_path / "sources") == everything_in(tmp_path / ".parts") == set()


def test_no_network_for_mr_names_both_ways_around(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(b"x", "404")
    with pytest.raises(
        UserError, match=r"^cannot get the dataset mr: http.*404.*or choose the dataset snippets .*mr:PATH$"
    ):
        resolve_mr(tmp_path, remote=server.remote(), sha256=DIGESTS).read()


def glove(remote: RemoteFile) -> VectorArchive:
    return dataclasses.replace(GLOVE, remote=remote)


def glove_zip(path: Path) -> bytes:
    """An archive of GloVe's form, with the words good and bad; the numbers of good are the width."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for width in (50, 100, 200, 300):
            rows = (" ".join([word, *[str(value)] * width]) for word, value in (("good", width), ("bad", -width)))
            archive.writestr(f"glove.6B.{width}d.txt", "\n".join(rows) + "\n")
    return path.read_bytes()


def test_glove_is_downloaded_once_for_all_widths(serve: Callable[..., Server], tmp_path: Path) -> None:
    data = glove_zip(tmp_path / "source.zip")
    server = serve(data, 500)
    digests = set()
    for width in (100, 200, 300, 100):
        located = resolve_archived(f"glove-{width}d", glove(server.remote("glove.6B.zip")), tmp_path)
        places, table = located.read(["good", "absent"], 0)
        assert places == {"good": 0}
        assert table.tolist() == [[width] * width]
        assert located.inputs["member"] == f"glove.6B.{width}d.txt"
        assert "PDDL" in located.licence
        digests.add(located.inputs["sha256"])
    assert digests == {hashlib.sha256(data).hexdigest()}
    assert server.ranges == [None, "bytes=500-"]  # one cut, one rest
    assert len(cache.entries(tmp_path)) == 1
    assert everything_in(tmp_path / ".parts") == set()


def test_an_archive_is_not_downloaded_again_after_a_kill_before_its_cache_entry_is_complete(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(glove_zip(tmp_path / "source.zip"))
    archive = glove(server.remote("glove.6B.zip"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cache, "_manifest_bytes", Mock(side_effect=KeyboardInterrupt))
        resolve_archived("glove-100d", archive, tmp_path)
    assert resolve_archived("glove-100d", archive, tmp_path).read(["good"], 0)[0] == {"good": 0}
    assert server.ranges == [None]
    assert everything_in(tmp_path / ".parts") == set()


def test_an_archive_is_moved_to_another_disk(serve: Callable[..., Server], tmp_path: Path) -> None:
    """The folder of the large files may be a link to a larger disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as disk:
        if Path(disk).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is one disk")
        (tmp_path / "sources").symlink_to(disk)
        server = serve(glove_zip(tmp_path / "source.zip"))
        located = resolve_archived("glove-100d", glove(server.remote("glove.6B.zip")), tmp_path)
        assert located.read(["good"], 0)[0] == {"good": 0}
        assert everything_in(tmp_path / ".parts") == set()


def damaged(data: bytes) -> bytes:
    """The archive with another number in its first file, whose checksum then differs."""
    packed = zipfile.ZipFile(io.BytesIO(data)).read("glove.6B.50d.txt")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for width in (50, 100, 200, 300):
            archive.writestr(f"glove.6B.{width}d.txt", packed)
    return out.getvalue().replace(b"good 50 50", b"good 50 51", 1)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: bytes(len(data)), "not a whole .zip archive"),
        (lambda data: data[:-40] + bytes(40), "not a whole .zip archive"),
        (damaged, r"glove\.6B\.50d\.txt is truncated or damaged \(Bad CRC-32.*\)"),
        (lambda data: data.replace(b"glove.6B.300d", b"glove.7B.300d"), r"does not contain glove\.6B\.300d\.txt"),
    ],
)
def test_another_archive_of_vectors_is_refused_and_not_kept(
    serve: Callable[..., Server], tmp_path: Path, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    server = serve(spoil(glove_zip(tmp_path / "source.zip")))
    with pytest.raises(DataError, match=f"^http.*{reason}.*; choose --vectors glove-50d, or pass the path"):
        resolve_archived("glove-100d", glove(server.remote("glove.6B.zip")), tmp_path)
    assert everything_in(tmp_path / "sources") == everything_in(tmp_path / ".parts") == set()


def test_an_archive_of_vectors_of_another_size_is_refused(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(glove_zip(tmp_path / "source.zip"))
    remote = server.remote("glove.6B.zip", size=len(server.data) + 1)
    with pytest.raises(
        DataError, match=r"^cannot get the vectors glove-300d: .* are expected; choose --vectors glove-50d"
    ):
        resolve_archived("glove-300d", glove(remote), tmp_path)
