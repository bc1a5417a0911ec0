"""What a process that was killed while it wrote a folder left beside it: half a folder under a hidden name."""

import re
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from core.io.checked_folder import SUMS

FORSAKEN_SECONDS = 60
"""A save takes a second or two: what nobody has touched for so long, nobody will finish."""


def remove_leftovers(target: Path, files: Collection[str]) -> None:
    """Remove the hidden folders that `write_sealed` made beside `target` and did not live to rename.

    A folder goes only if it has a name that `core.io.atomic.new_folder` gives, holds nothing but these files, and has been
    left alone for a minute: another process may be saving there at this moment.
    """
    name = re.compile(rf"\.{re.escape(target.name)}\.(old\.)?[a-z0-9_]{{8}}")
    if not target.parent.is_dir():
        return
    for folder in target.parent.iterdir():
        if name.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink() and _forsaken(folder, files):
            shutil.rmtree(folder, ignore_errors=True)


def _forsaken(folder: Path, files: Collection[str]) -> bool:
    try:
        held = list(folder.iterdir())
        newest = max(path.stat().st_mtime for path in (folder, *held))
    except FileNotFoundError:  # somebody renames it at this moment
        return False
    return {path.name for path in held} <= {*files, SUMS} and time.time() - newest > FORSAKEN_SECONDS
