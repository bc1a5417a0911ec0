"""The study's journal file: locked by one driver, truncated to its last complete line, opened by Optuna."""

import contextlib
import json
import os
import socket
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from core.errors import UserError
from core.io.atomic import atomic_write, os_errors_as_user_errors, read_regular
from core.io.text import printable
from tuning.journal.predictions import DAMAGE, journal_damage


@contextlib.contextmanager
def study_lock(folder: Path, searches: bool = False) -> Iterator[None]:
    """Lock the study in `folder` while the block runs; the system releases it when the process dies.

    Args:
        folder: Folder of the study.
        searches: Whether this process trains the study's trials, as `is_searched` says.

    Raises:
        UserError: Another process has the lock (the message names its number and host), or the folder cannot be
            written or has no locks.
    """
    lock = FileLock(folder / "study.lock", timeout=0, fallback_to_soft=False)  # as in core.io.cache
    holder = folder / "driver.json"
    try:
        with os_errors_as_user_errors(folder):
            lock.acquire()
    except Timeout:
        who = _driver(folder) or {"pid": "?", "host": "?"}  # the other process has just ended
        raise UserError(
            f"study {folder.name!r} is run by process {who['pid']} on {who['host']}; wait until it ends, or stop it"
        ) from None
    try:
        who = {"pid": os.getpid(), "host": socket.gethostname(), "started": _start_ticks(os.getpid())}
        holder.unlink(missing_ok=True)  # a study from elsewhere may have a link, which would be followed
        atomic_write(holder, json.dumps({**who, "searches": searches}).encode())
        yield
    finally:
        if (now := _driver(folder)) is None or now["pid"] == os.getpid():  # else another study has replaced this one
            holder.unlink(missing_ok=True)
        lock.release()


def is_searched(folder: Path) -> bool:
    """Return whether a process trains the trials of the study in `folder`, as far as this host can determine.

    It reads the driver's file and does not request the lock. Otherwise a driver that starts at this time would fail.
    """
    who = _driver(folder)
    if who is None or not who["searches"]:
        return False
    if who["host"] != socket.gethostname():
        return True
    try:
        with contextlib.suppress(PermissionError):  # another user's
            os.kill(who["pid"], 0)
    except ProcessLookupError:
        return False
    started = _start_ticks(who["pid"])  # after a kill, another process can have the same number
    return started is None or who["started"] in (None, started)


def remote_driver(folder: Path) -> str | None:
    """Return "process PID on HOST" if that is the study's driver and on another host, so that it may be dead."""
    who = _driver(folder)
    if who is None or who["host"] == socket.gethostname():
        return None
    return f"process {who['pid']} on {printable(who['host'])}"


def _start_ticks(pid: int) -> int | None:
    """Return the start of a process in clock ticks since the boot; None if the system has no /proc/PID/stat.

    It is -1 for a process that has ended and is still listed, because its parent has not awaited it.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        state, *fields = stat.rpartition(")")[2].split()  # from field 3; the name in parentheses may contain spaces
        return -1 if state == "Z" else int(fields[18])  # field 22
    except (OSError, LookupError, ValueError):
        return None


def _driver(folder: Path) -> dict[str, Any] | None:
    """Return the content of `driver.json`; None if the file is missing or damaged."""
    try:
        who = json.loads(read_regular(folder / "driver.json"))
        pid = int(who["pid"])
        found = {"pid": pid, "host": str(who["host"]), "started": who["started"], "searches": who["searches"]}
        return found if 0 < pid < 2**31 else None
    except (OSError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError):
        return None


def truncate_partial_line(journal: Path) -> None:
    """Truncate the file to its last complete line: Optuna would append its next record to a partial one."""
    if not journal.is_file():
        return
    with journal.open("r+b") as file:
        records = file.read()
        if partial := len(records) - (records.rfind(b"\n") + 1):
            file.truncate(len(records) - partial)
            os.fsync(file.fileno())


def parse_lines(lines: Sequence[bytes]) -> list[Any]:
    """Return the JSON value of each line.

    The lines are parsed in one call, in which equal names become one object. This takes half the time and memory.

    Raises:
        ValueError: A line does not contain exactly one value.
    """
    values: list[Any] = json.loads(b"[" + b",".join(lines) + b"]")
    if len(values) != len(lines):
        raise ValueError("a line has more than one value, or none")
    return values


class _JournalFile(JournalFileBackend):
    """Reads the new lines of the file in one call."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), JournalFileOpenLock(str(path)))  # Optuna's usual lock needs symbolic links
        self._path = path
        self._n_read, self._offset = 0, 0  # number of lines read, and offset of the next one in bytes
        self._head = b""  # the first line, which has a random number of the process that created the study

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records as Optuna's method does, but raise OSError also if its lock cannot be removed."""
        try:
            super().append_logs(logs)
        except RuntimeError as error:  # Optuna's, which hides the error of the disk
            raise (error.__context__ or error) from None

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield records as Optuna's method does; raise UserError if the file cannot be read."""
        if log_number_from < self._n_read:
            self._n_read, self._offset = 0, 0
        try:
            with self._path.open("rb") as file:
                head = file.readline()
                other = self._head not in (b"", head)
                if other or file.seek(0, os.SEEK_END) < self._offset:  # its lock went with its folder
                    raise UserError(f"{self._path} was replaced while the study ran; run the same command again")
                file.seek(self._offset)
                lines = file.read().split(b"\n")[:-1]
                self._head = head if lines else self._head
        except OSError as error:
            reason = f"cannot read {self._path} ({error.strerror})"
            raise UserError(f"{reason}; fix this and run the same command again") from error
        first = log_number_from - self._n_read
        self._n_read += len(lines)
        self._offset += sum(map(len, lines)) + len(lines)
        yield from parse_lines(lines[first:])


def open_journal(journal: Path) -> JournalStorage:
    """Open the journal as Optuna's storage.

    Raises:
        CorruptionError: The journal is damaged before its last line.
        UserError: It cannot be read.
    """
    try:
        return JournalStorage(_JournalFile(journal))
    except (*DAMAGE, AssertionError) as error:
        raise journal_damage(str(journal), error) from error
