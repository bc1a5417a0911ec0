"""Download files: large ones resume after an interruption, source releases come through pip."""

import http.client
import importlib.metadata
import importlib.util
import shlex
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import DataError, UserError
from core.io.atomic import os_errors_as_user_errors
from core.io.text import Notify, printable

_BLOCK = 1 << 18
_NOTIFY_SECONDS = 2.0
_PAUSES = (1.0, 3.0)
"""Seconds before each further attempt; an attempt that received bytes restarts the count."""
_TIMEOUT_SECONDS = 30.0
_PIP_TIMEOUT_SECONDS = 600
_NO_URL = (ValueError, http.client.InvalidURL)
"""What urllib raises for an address, or a proxy in the environment, that is no URL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """A file on the web that never changes."""

    url: str
    size_bytes: int

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def download(remote: RemoteFile, partial_dir: Path, purpose: str, hint: str, notify: Notify | None = None) -> Path:
    """Download `remote` into the folder `partial_dir`; resume the download of an earlier call.

    Args:
        remote: The file to download.
        partial_dir: Folder of unfinished downloads; only one caller at a time may download the same file.
        purpose: First part of an error message: what cannot be done.
        hint: Last part of an error message: what the user can do.
        notify: Called with the progress every two seconds.

    Returns:
        The whole file. Move it away, or delete it if its content turns out to be wrong.

    Raises:
        UserError: No network, the server refuses, or the disk is full; the received part is kept.
        DataError: The server offers a file of another size.
    """
    part = partial_dir / f"{remote.name}.part"
    with os_errors_as_user_errors(partial_dir):
        partial_dir.mkdir(parents=True, exist_ok=True)
    failures = 0
    while (have := _size(part)) != remote.size_bytes:
        try:
            _fetch_rest(remote, part, have, notify)
        except DataError as change:  # another file, so another attempt is useless
            raise DataError(f"{purpose}: {remote.url}: {change}; {hint}") from None
        except (
            *(urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError),
            *_NO_URL,
        ) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            failures = 0 if _size(part) > have else failures + 1
            if failures > len(_PAUSES) or _is_final(error):
                kept = _size(part)
                raise UserError(
                    f"{purpose}: {remote.url} ({_reason(error)}; {kept:,} of {remote.size_bytes:,} bytes are kept); "
                    f"run the same command again to resume, or {hint}"
                ) from None
            if notify:
                notify(f"{remote.name}: {_reason(error)}; trying again")
            time.sleep(_PAUSES[max(failures - 1, 0)])
    return part


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _fetch_rest(remote: RemoteFile, part: Path, have: int, notify: Notify | None) -> None:
    """Request the bytes from `have` on, and write each block at once."""
    request = urllib.request.Request(remote.url, headers={"User-Agent": "sentune"})
    if 0 < have < remote.size_bytes:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
        start = _check_answer(answer, remote, part, have)
        with os_errors_as_user_errors(part), part.open("r+b" if start else "wb") as file:
            file.seek(start)
            reported, size = time.monotonic(), start
            while block := _read(answer, remote.size_bytes - size):
                file.write(block)
                size += len(block)
                if notify and time.monotonic() - reported > _NOTIFY_SECONDS:
                    reported = time.monotonic()
                    notify(f"{remote.name}: {size >> 20:,} of {remote.size_bytes >> 20:,} MiB")
            if size < remote.size_bytes:
                raise http.client.HTTPException("the connection was cut")


def _read(answer: Any, left: int) -> bytes:
    if left <= 0:
        return b""
    try:
        return bytes(answer.read1(min(_BLOCK, left)))
    except OSError as error:
        # The caller's `with` would report an OSError as an error of the disk.
        raise http.client.HTTPException(str(error) or type(error).__name__) from error


def _check_answer(answer: Any, remote: RemoteFile, part: Path, have: int) -> int:
    """Return the first byte of this answer: `have`, or 0 from a server that cannot resume."""
    if answer.status == http.client.PARTIAL_CONTENT:
        expected = f"bytes {have}-{remote.size_bytes - 1}/{remote.size_bytes}"
        if (got := answer.headers.get("Content-Range", "")) != expected:
            part.unlink(missing_ok=True)  # the file itself has changed; the answer below may be a login page
            raise DataError(f"the server offers {got!r}, {expected!r} is expected")
        return have
    length = answer.headers.get("Content-Length")
    if length is not None and length != str(remote.size_bytes):
        raise DataError(f"the server offers {length} bytes, {remote.size_bytes} are expected")
    return 0


def _is_final(error: Exception) -> bool:
    """Return whether trying again is useless: no URL, and all client errors but "request timeout" and "too many"."""
    if isinstance(error, _NO_URL):
        return True
    return isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 429)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {printable(str(error.reason), 100)}"
    if isinstance(error, urllib.error.URLError):
        return printable(str(getattr(error.reason, "strerror", None) or error.reason), 200)
    if isinstance(error, _NO_URL):
        return "this address, or a proxy in the environment, is no URL"  # the error may have the proxy's password
    return printable(str(error), 200) or "the connection was cut"


def pip_download(requirement: str, sha256: str) -> tuple[str, bytes]:
    """Return name and bytes of the source release `requirement` (`name==version`), checked by pip against `sha256`.

    Raises:
        UserError: This Python has no pip, or pip cannot fetch the release; the message has pip's last line.
    """
    if importlib.util.find_spec("pip") is None:
        raise UserError(f"this Python has no pip; run {shlex.quote(sys.executable)} -m ensurepip")
    with tempfile.TemporaryDirectory(prefix="sentune-pip-") as name:
        folder = Path(name)
        pinned = folder / "requirements.txt"  # pip takes hashes from a file only
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        _run(_command(pinned, folder / "out"), requirement)
        (release,) = (folder / "out").iterdir()
        return release.name, release.read_bytes()


def _command(pinned: Path, out: Path) -> list[str]:
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", ":all:", "--require-hashes", "--retries", "1"]
    found = next(iter(importlib.metadata.distributions(name="setuptools")), None)
    if found is not None and int(found.version.split(".")[0]) >= 71:  # older ones also need the package wheel
        command.append("--no-build-isolation")  # otherwise pip fetches setuptools to read the metadata
    return [*command, "--dest", str(out), "--requirement", str(pinned)]


def _run(command: list[str], requirement: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PIP_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"`pip download {requirement}` did not end within {_PIP_TIMEOUT_SECONDS} s") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]
        reason = (errors or lines or ["no reason"])[-1]
        raise UserError(f"`pip download {requirement}` failed ({printable(reason.removeprefix('ERROR: '), 200)})")
