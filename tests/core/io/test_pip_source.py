"""What is said when pip cannot fetch a release; that it can is in tests/system."""

import importlib.util
import sys
from pathlib import Path

import pytest

from core.errors import UserError
from core.io import pip_source
from core.io.pip_source import pip_download


def test_a_python_without_pip_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"this Python has no pip; install it with `python -m ensurepip`"):
        pip_download("x==1", "0" * 64)


@pytest.mark.parametrize(
    ("stderr", "told"),
    [
        ("WARNING: a\\nERROR: Could not find x\\nERROR: No matching distribution found for x==1", "No matching distr"),
        ("ERROR: hashes differ\\n    Expected abc\\n  Got def\\n", "hashes differ"),
        ("Traceback\\nOSError: odd", "OSError: odd"),
        ("", "no reason"),
    ],
)
def test_pips_own_last_line_is_told(monkeypatch: pytest.MonkeyPatch, stderr: str, told: str) -> None:
    code = f"import sys; sys.stderr.write('{stderr}'); sys.exit(1)"
    monkeypatch.setattr(pip_source, "_command", lambda pinned, out: [sys.executable, "-c", code])
    with pytest.raises(UserError, match=rf"^`pip download x==1` failed \({told}[^\n]*\)$"):
        pip_download("x==1", "0" * 64)


def test_a_pip_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip_source, "_TIMEOUT_SECONDS", 0.1)
    sleeper = [sys.executable, "-c", "import time; time.sleep(30)"]
    monkeypatch.setattr(pip_source, "_command", lambda pinned, out: sleeper)
    with pytest.raises(UserError, match=r"`pip download x==1` gave no answer in 0\.1 s"):
        pip_download("x==1", "0" * 64)


def test_the_release_is_pinned_and_its_dependencies_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def ran(command: list[str], requirement: str) -> None:
        out, pinned = (Path(command[command.index(option) + 1]) for option in ("--dest", "--requirement"))
        seen.extend([*command, pinned.read_text(encoding="utf-8")])
        out.mkdir()
        (out / "x-1.tar.gz").write_bytes(b"release")

    monkeypatch.setattr(pip_source, "_run", ran)
    assert pip_download("x==1", "ab" * 32) == ("x-1.tar.gz", b"release")
    assert seen[-1] == f"x==1 --hash=sha256:{'ab' * 32}\n"
    assert {"--no-deps", "--no-binary", "--require-hashes", "--no-input"} <= set(seen)
