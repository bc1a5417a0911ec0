"""The program in this process, called as by the shell."""

import sys
from unittest.mock import patch

import pytest
import typer

from tuning import console
from tuning.cli import app

COMMAND = typer.main.get_command(app.app)
"""Built once; Typer builds it for each call, which takes more time than most bad commands."""


def exit_code(*words: str, program: str = "sentune") -> int:
    """Call the program with these words; return its exit code."""
    with (
        patch.object(sys, "argv", [program, *words]),
        patch.object(app, "app", COMMAND),
        patch.object(console, "ignore_signals"),  # those of the tests stay
        patch.object(console, "SLOW_SECONDS", 600),  # on a busy machine each step is slow
        pytest.raises(SystemExit) as ended,
    ):
        app.main()
    return int(ended.value.code or 0)


def sentune(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    monkeypatch.setattr(app, "handle_signals", lambda: None)  # those of the tests stay
    code = exit_code(*words)
    return code, *capsys.readouterr()
