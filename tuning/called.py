"""How this program was called, and the lines beside its output that say what to run next."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import typer


def program() -> str:
    """`sentune`, its path where the shell would not find it, or `python -m tuning`."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m tuning"
    return called.name if shutil.which(called.name) else str(called)


def typed() -> str:
    """The command as it was typed."""
    return f"{program()} {shlex.join(sys.argv[1:])}"


def note(line: str) -> None:
    """Say something beside the output."""
    print(line, file=sys.stderr, flush=True)


def interrupted() -> NoReturn:
    """End with 130, and with the command that goes on."""
    note(f"interrupted; the same command goes on: {typed()}")
    raise typer.Exit(130)
