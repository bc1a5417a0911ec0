"""Run the commands of README.md and write their output below them.

    python -m benchmarks.quick_start    some five minutes on two idle cores

The script runs each block of commands that a block of output follows, in an empty folder with an empty home directory.
In the output, a line `...` marks lines that are left out. The number of lines before and after it stays the same.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
COLUMNS = 130
"""Width of the terminal: each trial of the table has two lines."""
LINES = r"(?:(?!```).*\n)*"
PAIR = re.compile(rf"^```sh\n(?P<commands>{LINES})```\n\n```text\n(?P<output>{LINES})```\n", re.MULTILINE)
"""A block of commands, and the block of their output."""


WAITING = re.compile(r".* \.\.\.|tokenising: .*")
"""Lines that only a slow machine prints."""


def shortened(output: str, shown: str) -> str:
    """Return the output with lines left out where the block `shown` has the line `...`."""
    lines = [line for line in output.splitlines() if not WAITING.fullmatch(line)]
    before = shown.splitlines()
    if "..." not in before:
        return "\n".join(lines) + "\n"
    first = before.index("...")
    last = len(before) - first - 1
    return "\n".join([*lines[:first], "...", *lines[len(lines) - last :]]) + "\n"


def run(commands: str, folder: Path) -> str:
    """Return the standard output of shell commands in a folder."""
    variables = {"HOME": str(folder), "COLUMNS": str(COLUMNS), "PYTHONPATH": str(README.parent)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SENTUNE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    ended = subprocess.run(
        ["sh", "-ec", commands],
        cwd=folder,
        env={**kept, **variables, "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return ended.stdout


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:

        def current(pair: re.Match[str]) -> str:
            output = shortened(run(pair["commands"], Path(folder)), pair["output"])
            return f"```sh\n{pair['commands']}```\n\n```text\n{output}```\n"

        README.write_text(PAIR.sub(current, README.read_text()))


if __name__ == "__main__":
    main()
