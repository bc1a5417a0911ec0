"""Downloads from a real server on this machine that interrupts, refuses and sends wrong data."""

import dataclasses
import hashlib
import http.server
import importlib.util
import io
import random
import socket
import ssl
import sys
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import core.io.download
import core.io.streams
from core.data.movie_reviews import resolve_mr
from core.data.vectors import ARCHIVES, FASTTEXT, GLOVE, VectorArchive, resolve_archived
from core.errors import DataError, UserError
from core.io import cache
from core.io.download import RemoteFile, download, pip_download
from tests.support.archives import everything_in, tar_gz, zipped

DATA = random.Random(0).randbytes(700_000)


@dataclass
class Server:
    """Serves `data` at any path; each request first takes the next of `faults`."""

    data: bytes
    faults: list[Any] = field(default_factory=list)
    """An int: cut after that many bytes of the body. "norange": answer 200 to a range. "lie": a wrong range.
    "login": a page of 18 bytes. A str of
    digits: that status."""
    ranges: list[str | None] = field(default_factory=list)
    port: int = 0

    def remote(self, name: str = "file.bin", size: int | None = None) -> RemoteFile:
        return RemoteFile(
            url=f"http://127.0.0.1:{self.port}/{name}", size_bytes=len(self.data) if size is None else size
        )

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, str) and fault.isdigit():
            handler.send_error(int(fault))
            return
        if fault == "login":
            handler.send_response(200)
            handler.send_header("Content-Length", "18")
            handler.end_headers()
            handler.wfile.write(b"<html>log in</html>"[:18])
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and fault != "norange" else 0
        body = self.data[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        if start:
            lie = 1 if fault == "lie" else 0
            handler.send_header("Content-Range", f"bytes {start + lie}-{len(self.data) - 1}/{len(self.data)}")
        handler.end_headers()
        handler.wfile.write(body[:fault] if isinstance(fault, int) else body)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(core.io.download, "_PAUSES", (0.0, 0.0))
    running = []

    def start(data: bytes, *faults: Any) -> Server:
        server = Server(data, list(faults))

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.port = http_server.server_address[1]
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((http_server, thread))
        return server

    yield start
    for http_server, thread in running:
        http_server.shutdown()
        http_server.server_close()
        thread.join()


def fetch(remote: RemoteFile, folder: Path, reported: list[str] | None = None) -> bytes:
    notify = reported.append if reported is not None else None
    return download(remote, folder, "cannot get x", "pass y", notify).read_bytes()


def test_a_whole_file_comes_at_once(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA)
    assert fetch(server.remote(), tmp_path) == DATA
    assert server.ranges == [None]


def test_a_cut_download_goes_on_where_it_was_cut(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA, 300_000, 200_000)
    reported: list[str] = []
    assert fetch(server.remote(), tmp_path, reported) == DATA
    assert server.ranges == [None, "bytes=300000-", "bytes=500000-"]
    assert reported == ["file.bin: the connection was cut; trying again"] * 2


def test_progress_is_told_in_mebibytes(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.io.download, "_NOTIFY_SECONDS", -1.0)
    reported: list[str] = []
    fetch(serve(bytes(3 << 20)).remote(), tmp_path, reported)
    assert reported[-1] == "file.bin: 3 of 3 MiB"


def test_the_next_call_goes_on_too(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA, 400_000, "404")
    with pytest.raises(
        UserError,
        match=r"cannot get x: http.*404 Not Found; 400,000 of 700,000 bytes are kept\); run .* to resume, or pass y",
    ):
        fetch(server.remote(), tmp_path)
    assert fetch(server.remote(), tmp_path) == DATA
    assert server.ranges[-1] == "bytes=400000-"


def test_a_whole_part_is_not_asked_for_again(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA)
    fetch(server.remote(), tmp_path)
    fetch(server.remote(), tmp_path)
    assert len(server.ranges) == 1


def test_a_server_that_cannot_resume_sends_all_again(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA, 300_000, "norange")
    assert fetch(server.remote(), tmp_path) == DATA


def test_a_part_that_is_too_long_is_begun_again(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA)
    (tmp_path / "file.bin.part").write_bytes(bytes(800_000))
    assert fetch(server.remote(), tmp_path) == DATA


def test_a_file_of_another_size_is_refused(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA)
    with pytest.raises(DataError, match=r"cannot get x: .*offers 700000 bytes, 699999 are expected; pass y"):
        fetch(server.remote(size=699_999), tmp_path)
    assert everything_in(tmp_path) == set()


def test_a_login_page_in_its_place_costs_nothing_that_came(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA, 300_000, "login")
    with pytest.raises(DataError, match=r"offers 18 bytes, 700000 are expected"):
        fetch(server.remote(), tmp_path)
    assert fetch(server.remote(), tmp_path) == DATA
    assert server.ranges[-1] == "bytes=300000-"


def test_a_wrong_range_is_refused_and_what_came_is_dropped(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA, 300_000, "lie")
    with pytest.raises(
        DataError, match="offers 'bytes 300001-699999/700000', 'bytes 300000-699999/700000' is expected"
    ):
        fetch(server.remote(), tmp_path)
    assert everything_in(tmp_path) == set()


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_a_busy_server_is_asked_three_times(serve: Callable[..., Server], tmp_path: Path, status: str) -> None:
    server = serve(DATA, status, status)
    assert fetch(server.remote(), tmp_path) == DATA
    server.faults = [status] * 3
    (tmp_path / "file.bin.part").unlink()
    with pytest.raises(UserError, match=f"the server answers {status} .*; 0 of 700,000 bytes"):
        fetch(server.remote(), tmp_path)


@pytest.mark.parametrize("status", ["403", "404"])
def test_a_refusal_is_final(serve: Callable[..., Server], tmp_path: Path, status: str) -> None:
    server = serve(DATA, status)
    with pytest.raises(UserError, match=f"the server answers {status}"):
        fetch(server.remote(), tmp_path)
    assert len(server.ranges) == 1


def test_a_connection_that_brings_nothing_ends(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA, 0, 0, 0, 0, 0)
    with pytest.raises(UserError, match="the connection was cut"):
        fetch(server.remote(), tmp_path)
    assert len(server.ranges) == 3


def test_a_secure_connection_that_breaks_before_the_answer_is_tried_again(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, faults = urllib.request.urlopen, [ssl.SSLEOFError(8, "EOF occurred in violation of protocol")]

    def broken(*arguments: Any, **options: Any) -> Any:
        if faults:
            raise faults.pop()  # as from `getresponse`, whose errors urllib does not wrap
        return real(*arguments, **options)

    monkeypatch.setattr(urllib.request, "urlopen", broken)
    assert fetch(serve(DATA).remote(), tmp_path) == DATA


@pytest.mark.usefixtures("serve")
def test_no_network_is_one_line_with_the_ways_around(tmp_path: Path) -> None:
    message = r"^cannot get x: http://127.0.0.1:\d+/a \(Connection refused; 0 of .* again to resume, or pass y$"
    with socket.socket() as bound:  # a port on which nothing listens, and which no other process can take
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=message):
            fetch(RemoteFile(url=f"http://127.0.0.1:{bound.getsockname()[1]}/a", size_bytes=5), tmp_path)


def test_a_folder_that_cannot_be_made_is_one_line(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot write .*: a part of the path is a file, not a folder"):
        fetch(server.remote(), tmp_path / "file" / "parts")


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


def glove_zip(path: Path, widths: Sequence[int] = (50, 100, 200, 300)) -> bytes:
    """An archive of GloVe's form, with the words good and bad; the numbers of good are the width."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for width in widths:
            rows = (" ".join([word, *[str(value)] * width]) for word, value in (("good", width), ("bad", -width)))
            archive.writestr(f"glove.6B.{width}d.txt", "\n".join(rows) + "\n")
    return path.read_bytes()


def test_glove_is_downloaded_once_for_all_widths(serve: Callable[..., Server], tmp_path: Path) -> None:
    data = glove_zip(tmp_path / "source.zip")
    server = serve(data, 500)
    digests = set()
    for width in (100, 200, 300, 100):
        located = resolve_archived(f"glove-{width}d", tmp_path, archive=glove(server.remote("glove.6B.zip")))
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
        resolve_archived("glove-100d", tmp_path, archive=archive)
    assert resolve_archived("glove-100d", tmp_path, archive=archive).read(["good"], 0)[0] == {"good": 0}
    assert server.ranges == [None]
    assert everything_in(tmp_path / ".parts") == set()


def test_an_archive_is_moved_to_another_disk(serve: Callable[..., Server], tmp_path: Path) -> None:
    """The folder of the large files may be a link to a larger disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as disk:
        if Path(disk).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is one disk")
        (tmp_path / "sources").symlink_to(disk)
        server = serve(glove_zip(tmp_path / "source.zip"))
        located = resolve_archived("glove-100d", tmp_path, archive=glove(server.remote("glove.6B.zip")))
        assert located.read(["good"], 0)[0] == {"good": 0}
        assert everything_in(tmp_path / ".parts") == set()


def test_fasttext_is_read_out_of_its_zip(serve: Callable[..., Server], tmp_path: Path) -> None:
    archive = zipped(tmp_path / "source.zip", v=b"2 2\ngood 1 2\nbad 3 4\n").read_bytes()
    server = serve(archive.replace(b"inner/v.vec", b"crawl-3.vec"))
    remote = dataclasses.replace(FASTTEXT, remote=server.remote("crawl.zip"), members={"fasttext": "crawl-3.vec"})
    places, table = resolve_archived("fasttext", tmp_path, archive=remote).read(["bad"], 0)
    assert table[places["bad"]].tolist() == [3, 4]


def test_the_published_archives_are_of_the_known_size() -> None:
    assert {name: (each.remote.name, each.remote.size_bytes) for name, each in ARCHIVES.items()} == {
        "glove-100d": ("glove.6B.zip", 862_182_613),
        "glove-200d": ("glove.6B.zip", 862_182_613),
        "glove-300d": ("glove.6B.zip", 862_182_613),
        "fasttext": ("crawl-300d-2M.vec.zip", 1_523_785_255),
    }


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
        resolve_archived("glove-100d", tmp_path, archive=glove(server.remote("glove.6B.zip")))
    assert everything_in(tmp_path / "sources") == everything_in(tmp_path / ".parts") == set()


def test_an_archive_of_vectors_that_unpacks_without_end_is_refused(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.io.streams, "FREE_BYTES", 1000)
    server = serve(glove_zip(tmp_path / "source.zip", [50, 100, 200, 300, 8000]))
    monkeypatch.setattr(core.io.streams, "MAX_RATIO", 10)
    with pytest.raises(DataError, match="unpacks to more than 10 times its size"):
        resolve_archived("glove-100d", tmp_path, archive=glove(server.remote("glove.6B.zip")))
    assert everything_in(tmp_path / ".parts") == set()


def test_an_archive_of_vectors_of_another_size_is_refused(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(glove_zip(tmp_path / "source.zip"))
    remote = server.remote("glove.6B.zip", size=len(server.data) + 1)
    with pytest.raises(
        DataError, match=r"^cannot get the vectors glove-300d: .* are expected; choose --vectors glove-50d"
    ):
        resolve_archived("glove-300d", tmp_path, archive=glove(remote))


def test_a_python_without_pip_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"this Python has no pip; run python -m ensurepip"):
        pip_download("x==1", "0" * 64)


@pytest.mark.parametrize(
    ("stderr", "reported"),
    [
        ("WARNING: a\\nERROR: Could not find x\\nERROR: No matching distribution found for x==1", "No matching distr"),
        ("ERROR: hashes differ\\n    Expected abc\\n  Got def\\n", "hashes differ"),
        ("Traceback\\nOSError: odd", "OSError: odd"),
        ("", "no reason"),
    ],
)
def test_pips_own_last_line_is_told(monkeypatch: pytest.MonkeyPatch, stderr: str, reported: str) -> None:
    code = f"import sys; sys.stderr.write('{stderr}'); sys.exit(1)"
    monkeypatch.setattr("core.io.download._command", lambda pinned, out: [sys.executable, "-c", code])
    with pytest.raises(UserError, match=rf"^`pip download x==1` failed \({reported}[^\n]*\)$"):
        pip_download("x==1", "0" * 64)


def test_a_pip_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.io.download._PIP_TIMEOUT_SECONDS", 0.1)
    sleeper = [sys.executable, "-c", "import time; time.sleep(30)"]
    monkeypatch.setattr("core.io.download._command", lambda pinned, out: sleeper)
    with pytest.raises(UserError, match=r"`pip download x==1` did not end within 0\.1 s"):
        pip_download("x==1", "0" * 64)


def test_the_release_is_pinned_and_its_dependencies_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def ran(command: list[str], requirement: str) -> None:
        out, pinned = (Path(command[command.index(option) + 1]) for option in ("--dest", "--requirement"))
        seen.extend([*command, pinned.read_text(encoding="utf-8")])
        out.mkdir()
        (out / "x-1.tar.gz").write_bytes(b"release")

    monkeypatch.setattr("core.io.download._run", ran)
    assert pip_download("x==1", "ab" * 32) == ("x-1.tar.gz", b"release")
    assert seen[-1] == f"x==1 --hash=sha256:{'ab' * 32}\n"
    assert {"--no-deps", "--no-binary", "--require-hashes", "--no-input"} <= set(seen)
