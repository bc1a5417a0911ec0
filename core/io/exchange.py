"""Two folders change names in one step, so that at no moment one of the names is free."""

import ctypes
import os
import sys
from pathlib import Path

_HERE = -100
"""AT_FDCWD: a path is looked up from the working directory."""
_EXCHANGE = 2
"""RENAME_EXCHANGE of Linux's renameat2, and RENAME_SWAP of macOS's renamex_np."""


def exchange(one: Path, other: Path) -> bool:
    """Let two existing paths of one file system change names.

    Returns:
        False where system or file system cannot do it; then nothing has changed.
    """
    libc = ctypes.CDLL(None)
    first, second = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "darwin":
            failed = libc.renamex_np(first, second, ctypes.c_uint(_EXCHANGE))
        else:
            failed = libc.renameat2(_HERE, first, _HERE, second, ctypes.c_uint(_EXCHANGE))
    except AttributeError:  # an older C library
        return False
    return bool(failed == 0)
