"""The processes of this machine, as Linux shows them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


def marked(variable: str) -> Iterator[tuple[int, str]]:
    """Yield number and command line, its words ended by NUL, of each process with `NAME=VALUE` in its environment."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if variable.encode() in (process / "environ").read_bytes():
                yield int(process.name), (process / "cmdline").read_bytes().decode(errors="replace")


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found
