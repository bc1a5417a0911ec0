"""The program in this process, called as by the shell."""

import sys

import pytest
import typer

from tuning import console
from tuning.cli import app

COMMAND = typer.main.get_command(app.app)
"""Built once; Typer builds it for each call, which takes more time than most bad commands."""


def sentune(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    monkeypatch.setattr(console, "SLOW_SECONDS", 60)  # on a busy machine each step is slow
    monkeypatch.setattr(sys, "argv", ["sentune", *words])
    monkeypatch.setattr(app, "app", COMMAND)
    monkeypatch.setattr(app, "handle_signals", lambda: None)  # those of the tests stay
    with pytest.raises(SystemExit) as ended:
        app.main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err
