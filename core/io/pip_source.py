"""Fetch one pinned source release through pip: the user's own index, proxy and certificates apply."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from core.errors import UserError
from core.io.text import printable

_PIP_TIMEOUT_SECONDS = 600


def pip_download(requirement: str, sha256: str) -> tuple[str, bytes]:
    """Name and bytes of the source release `requirement` (`name==version`), checked by pip against `sha256`.

    Raises:
        UserError: this Python has no pip, or pip cannot fetch the release; with pip's own last line.
    """
    if importlib.util.find_spec("pip") is None:
        raise UserError("this Python has no pip; install it with `python -m ensurepip`")
    with tempfile.TemporaryDirectory(prefix="sentune-pip-") as name:
        folder = Path(name)
        pinned = folder / "requirements.txt"  # pip takes hashes from a file only
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        _run(_command(pinned, folder / "out"), requirement)
        (release,) = (folder / "out").iterdir()
        return release.name, release.read_bytes()


def _command(pinned: Path, out: Path) -> list[str]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", ":all:", "--require-hashes", "--retries", "1"]
    if importlib.util.find_spec("setuptools"):
        command.append("--no-build-isolation")  # else pip fetches a setuptools of its own, to read the metadata
    return [*command, "--dest", str(out), "--requirement", str(pinned)]


def _run(command: list[str], requirement: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PIP_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"`pip download {requirement}` gave no answer in {_PIP_TIMEOUT_SECONDS} s") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        told = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "no reason")
        raise UserError(f"`pip download {requirement}` failed ({printable(told.removeprefix('ERROR: '), 200)})")
