"""The processes of this machine, as Linux shows them; and a copy of this one."""

import contextlib
import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_SECONDS


def marked(variable: str) -> Iterator[tuple[int, str]]:
    """Yield number and command line, its words ended by NUL, of each process with `NAME=VALUE` in its environment."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if variable.encode() in (process / "environ").read_bytes():
                yield int(process.name), (process / "cmdline").read_bytes().decode(errors="replace")


@contextlib.contextmanager
def forked(work: Callable[[], object]) -> Iterator[BaseProcess]:
    """Call `work` in a fork of this process, which has imported all that a new one would import in seconds.

    The test is skipped where torch sees a GPU: after a training, also on the CPU, it trains in no fork.

    Yields:
        The process, which is killed after the block.
    """
    if "torch" in sys.modules and sys.modules["torch"].cuda.device_count():
        pytest.skip("torch trains in no fork of a process that sees a GPU; set CUDA_VISIBLE_DEVICES= for this file")
    process = multiprocessing.get_context("fork").Process(target=work)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, which the fork has not
        process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def exit_code_of_fork(work: Callable[[], object]) -> int | None:
    """Return the exit code of a fork that calls `work`: less than 0 after a signal, None if it hangs."""
    with forked(work) as process:
        process.join(PATIENCE_SECONDS)
        return process.exitcode
