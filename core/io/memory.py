"""The memory that this process may use, and whether a file of texts can be prepared in it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from core.errors import DataError

FIXED_BYTES = 300_000_000
"""Memory in bytes that data preparation takes for a file of any size: libraries and word vectors."""
BYTES_A_BYTE = 6
"""Memory in bytes per byte of a file: 5.1 for a million English sentences (results/reference/large.md). The
peak is when the audit counts copies."""
OWN_GROUPS, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
"""Where Linux lists the control groups of this process, and where their limits are."""
UNPACKED = 3
"""Minimum ratio of the unpacked to the packed size of a file of texts."""


def available_memory() -> int:
    """Return the bytes of memory that this process may use, by the machine and the control group of its container."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in control_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # no limit is "max"
                limits.append(int((folder / name).read_text()))
    return min(limits)


def control_groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups, of version 1 or 2, and of the groups around them.

    Args:
        controller: `memory` or `cpu`.
    """
    try:
        groups = [line.split(":", 2) for line in OWN_GROUPS.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in groups:
        if not controllers or controller in controllers.split(","):
            root = GROUPS / controller if controllers else GROUPS
            folder = root / path.lstrip("/")
            yield from (each for each in (folder, *folder.parents) if each.is_relative_to(root))


def check_texts_fit(path: Path, size: int) -> None:
    """Check by an estimate that the texts of a file can be read, split and tokenised in this machine's memory.

    Args:
        path: The file; its name says whether it is packed.
        size: Bytes on disk of the part that is read.

    Raises:
        DataError: The memory does not suffice; the message has the need and the memory.
    """
    packed = path.name.lower().endswith((".gz", ".parquet"))
    need, memory = FIXED_BYTES + BYTES_A_BYTE * size * (UNPACKED if packed else 1), available_memory()
    if need > memory:
        raise DataError(
            f"{path}: preparing its texts needs about {need / 1e9:.1f} GB of memory and this machine has "
            f"{memory / 1e9:.1f} GB; use a part of the file, or a larger machine"
        )
