"""Runs one input in this process, and says what is wrong with how the program took it."""

import contextlib
import io
import os
import re
import signal
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from unittest.mock import patch

from core.errors import UserError
from tests.fuzz.place import Place, Stamp, stamps
from tests.fuzz.stubs import ReachedWorkError, stubbed

MAX_MESSAGE = 2000
"""Characters of a message that someone can still read."""
INTERNAL = re.compile(
    r"Traceback|\w+Warning: |object has no attribute|NoneType|unexpected keyword|positional argument|object at 0x|"
    r"list index|not subscriptable|not iterable|\bError\(|unsupported operand|too many values to unpack|KeyError"
)
"""What only a programmer understands."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a case ended."""

    outcome: str
    """accepted, refused, or work: the stub of Ray or of a long training was reached."""
    fault: str | None
    """What is wrong; None if nothing is."""
    message: str


class HungError(BaseException):
    """A case took too long; the product catches no BaseException for good."""


WAIT_FACTOR = 10
"""A case that only waits hangs after this many times the limit: a busy machine lets a working one wait too."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise HungError in the block after some seconds of processor time, or WAIT_FACTOR times as many of wall time."""

    def stop(_: int, frame: FrameType | None) -> None:
        raise HungError("".join(traceback.format_stack(frame)[-3:]))

    timers = {
        signal.ITIMER_PROF: (signal.SIGPROF, seconds),
        signal.ITIMER_REAL: (signal.SIGALRM, WAIT_FACTOR * seconds),
    }
    before = {number: signal.signal(number, stop) for number, _ in timers.values()}
    for timer, (_, limit) in timers.items():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for timer in timers:
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def run_command(words: list[str], stdin: bytes, place: Place, seconds: float) -> Ended:
    """Run a command line with standard input; its working directory is the place."""
    from tests.support.cli import exit_code

    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=each) for each in ("strict", "backslashreplace")
    )

    def call() -> int:
        with (
            patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                return exit_code(*words)
            finally:
                out.flush()
                err.flush()

    written = _written(words)
    code, fault = _observed(call, place, seconds, written)
    text, said = (stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err))  # type: ignore[attr-defined]
    if fault is None and code is not None:
        fault = _fault_of_command(code, text, said, words)
    outcome = "accepted" if code in (0, 1) else "work" if str(ReachedWorkError()) in said else "refused"
    return Ended(outcome, fault, said)


def run_call(call: Callable[[], object], place: Place, seconds: float, written: tuple[str, ...] = ()) -> Ended:
    """Run a call of the Python API, which must return or raise a UserError; `written` are the paths that it names."""
    message = ""

    def guarded() -> int:
        nonlocal message
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                call()
            except UserError as error:
                message = str(error)
                return 2
        return 0

    code, fault = _observed(guarded, place, seconds, written)
    if fault is None and code == 2:
        fault = _fault_of_line(message)
    outcome = "accepted" if code == 0 else "work" if message == str(ReachedWorkError()) else "refused"
    return Ended(outcome, fault, message)


def _observed(
    call: Callable[[], int], place: Place, seconds: float, written: tuple[str, ...]
) -> tuple[int | None, str | None]:
    """Return what a call returns, and a fault: it raised, hung, or changed a file that is not among its outputs."""
    before, here = stamps(place.folder), Path.cwd()
    os.chdir(place.folder)
    environment = {"SENTUNE_CACHE": str(place.folder / "cache"), "SENTUNE_RESULTS": str(place.folder / "results")}
    code, fault = None, None
    try:
        with patch.dict(os.environ, environment), stubbed(), limited(seconds):
            code = call()
    except HungError as hung:
        fault = f"hangs: {hung}"
    except BaseException as error:
        fault = "traceback: " + "".join(traceback.format_exception(error)[-3:]).strip()
    finally:
        os.chdir(here)
    after = stamps(place.folder)
    changed = [
        path
        for path, stamp in before.items()
        if after.get(path) != stamp and not _may_change(path, stamp, after.get(path), code, written)
    ]
    if fault is None and changed:
        fault = f"overwritten: {', '.join(changed[:3])}"
    return code, fault


def _may_change(path: str, old: Stamp, new: Stamp | None, code: int | None, written: tuple[str, ...]) -> bool:
    """Return whether a command that ended so may change a file that was there."""
    if path.endswith("study.journal") and new is not None and new[0] >= old[0]:  # verbs add what they did
        return True
    names = [Path(os.path.normpath(name)) for name in written]
    return code in (0, 1) and any(Path(path) == name or name in Path(path).parents for name in names)


def _written(words: list[str]) -> tuple[str, ...]:
    """Return the paths that a command line names as its output."""
    named = [words[at + 1] for at, word in enumerate(words[:-1]) if word in ("--out", "--images")]
    named += [word.partition("=")[2] for word in words if word.startswith(("--out=", "--images="))]
    return (*named, "results/good/model") if words[0] == "retrain" else tuple(named)


def _fault_of_command(code: int, out: str, err: str, words: list[str]) -> str | None:
    if code not in (0, 2) and not (code == 1 and "--strict" in words):
        return f"exit code {code}: {err}"
    for text in (err,) if words[0] == "predict" else (out, err):  # what `predict` writes to a file is as it was
        if control := next((c for c in text if c not in "\n\t\r" and unicodedata.category(c) in ("Cc", "Cf")), None):
            return f"control character {control!r} in the output"
    lines = [line for line in err.splitlines() if line.startswith("sentune: ")]
    if code == 2:
        if len(lines) != 1 or not err.endswith(f"{lines[0]}\n"):
            return f"exit code 2 with {len(lines)} lines that begin with `sentune: `: {err}"
        return _fault_of_line(lines[0]) or _fault_of_text(err)
    return _fault_of_text(err)


def _fault_of_line(line: str) -> str | None:
    if "\n" in line or not line.strip():
        return f"a message of {line.count(chr(10)) + 1} lines: {line}"
    if len(line) > MAX_MESSAGE:
        return f"a message of {len(line)} characters: {line[:300]}"
    return _fault_of_text(line)


def _fault_of_text(text: str) -> str | None:
    found = INTERNAL.search(text)
    return None if found is None else f"internals {found[0]!r} in a message: {text}"
