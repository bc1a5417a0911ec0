"""How this program was called, for the lines that say what to run next."""

import shlex
import shutil
import sys
from pathlib import Path


def program() -> str:
    """`sentune`, its path where the shell would not find it, or `python -m tuning`."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m tuning"
    return called.name if shutil.which(called.name) else str(called)


def typed() -> str:
    """The command as it was typed."""
    return f"{program()} {shlex.join(sys.argv[1:])}"
