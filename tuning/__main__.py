"""The program `sentune`, also as `python -m tuning`. It hears signals before its libraries are imported.

It is short, because whatever it imports would come before that.
"""

import os
import signal
from types import FrameType
from typing import NoReturn


def start_program() -> NoReturn:
    """Run the command line."""
    if os.name != "posix":
        os.write(2, b"sentune: needs Linux or macOS; on Windows, use its Subsystem for Linux (WSL)\n")
        os._exit(2)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    os.environ["OMP_PROC_BIND"] = "false"  # else the import of torch may bind this process and its workers to one CPU
    from tuning.cli.app import main

    main()


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """End the process as it is: an exception in the middle of an import could be lost, or become a traceback."""
    try:
        os.write(2, b"interrupted before it began; run the same command again\n")
    finally:  # the terminal may be gone
        os._exit(130)


if __name__ == "__main__":  # a process that multiprocessing spawns imports this file too
    start_program()
