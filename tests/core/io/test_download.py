"""Downloads from a real server on this machine that interrupts, refuses and sends wrong data."""

import http.client
import importlib.util
import random
import socket
import ssl
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import core.io.download
from core.errors import DataError, UserError
from core.io.download import RemoteFile, download, pip_download
from tests.support.archives import everything_in
from tests.support.file_server import Server

DATA = random.Random(0).randbytes(700_000)


def fetch(remote: RemoteFile, folder: Path, reported: list[str] | None = None) -> bytes:
    notify = reported.append if reported is not None else None
    return download(remote, folder, "cannot get x", "pass y", notify).read_bytes()


def test_a_cut_download_resumes_where_it_was_cut(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA, 300_000, 200_000, 100_000, 50_000)  # more often than a server that sends nothing is asked
    reported: list[str] = []
    assert fetch(server.remote(), tmp_path, reported) == DATA
    assert server.ranges == [None, *(f"bytes={start}000-" for start in (300, 500, 600, 650))]
    assert reported == ["file.bin: the connection was cut; trying again"] * 4


def test_progress_is_reported_in_mebibytes(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.io.download, "_NOTIFY_SECONDS", -1.0)
    reported: list[str] = []
    fetch(serve(bytes(3 << 20)).remote(), tmp_path, reported)
    assert reported[-1] == "file.bin: 3 of 3 MiB"


def test_the_next_call_resumes_as_well(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA, 400_000, 0, 0, 0)
    with pytest.raises(
        UserError,
        match=r"cannot get x: http.*was cut; 400,000 of 700,000 bytes are kept\); run .* to resume, or pass y",
    ):
        fetch(server.remote(), tmp_path)
    assert fetch(server.remote(), tmp_path) == DATA
    assert server.ranges[-1] == "bytes=400000-"


def test_a_whole_part_is_not_asked_for_again(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(DATA)
    assert fetch(server.remote(), tmp_path) == DATA
    assert fetch(server.remote(), tmp_path) == DATA
    assert server.ranges == [None]


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


@pytest.mark.parametrize("proxy", ["http:/me:secret@proxy:3128", "proxy..example:3128", "http://proxy:31x8"])
def test_a_proxy_that_is_no_url_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setattr(urllib.request, "_opener", None)  # urlopen keeps the proxies of its first call
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(
        UserError, match=r"^cannot get x: http://x.invalid/f .this address, or a proxy .* is no URL; 0 "
    ) as said:
        fetch(RemoteFile(url="http://x.invalid/f", size_bytes=5), tmp_path)
    assert "secret" not in str(said.value)


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


def test_a_secure_connection_that_breaks_before_the_answer_is_tried_again(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, faults = urllib.request.urlopen, [ssl.SSLEOFError(8, "EOF occurred in violation of protocol")]

    def broken(*arguments: Any, **options: Any) -> Any:
        assert options["timeout"] == 30  # else a server that sends nothing is waited for without end
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


def test_a_python_without_pip_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "executable", "/my tools/python")
    with pytest.raises(UserError, match=r"this Python has no pip; run '/my tools/python' -m ensurepip"):
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
def test_pips_own_last_line_is_reported(monkeypatch: pytest.MonkeyPatch, stderr: str, reported: str) -> None:
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


def test_a_secure_connection_that_breaks_within_the_file_is_tried_again(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error has the number of "permission denied"."""
    real, faults = http.client.HTTPResponse.read1, [ssl.SSLError(1, "bad record mac")]

    def broken(answer: http.client.HTTPResponse, size: int) -> bytes:
        if faults:
            raise faults.pop()
        return real(answer, size)

    monkeypatch.setattr(http.client.HTTPResponse, "read1", broken)
    assert fetch(serve(DATA).remote(), tmp_path) == DATA
