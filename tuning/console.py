"""Console output that no closed pipe or full disk can stop; options as Python keywords; signals; niceness; parents."""

import contextlib
import io
import math
import os
import re
import select
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO, cast

from core.config import METRIC_NAMES, PRECISIONS
from core.errors import check_rules
from core.io.text import printable


class PipeSafeStream:
    """A text stream that drops its output, without an error, once its reader is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write as the stream does; text that cannot be written is dropped."""
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush as the stream does."""
        with self._dropping():
            self._stream.flush()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        """After an error, redirect the stream and its buffer to the null device, so that no later flush fails."""
        try:
            yield
        except OSError:
            with contextlib.suppress(AttributeError, OSError):  # a stream of the caller's own may have no descriptor
                number = self._stream.fileno()
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def reader_has_left() -> bool:
    """Return whether standard output is a pipe or a terminal without a reader."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)  # macOS reports no error if nothing is asked for
    return any(event & ~select.POLLOUT for _, event in poll.poll(0))


def prepare_streams() -> None:
    """Open closed standard streams on the null device, and write characters that an encoding lacks as escapes.

    Without the null device, the next files would get the numbers of the closed streams, and their output. With
    PYTHONUNBUFFERED, Python drops what one write to the system leaves out, so these streams get a buffer.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open("r" if name == "stdin" else "w")  # noqa: SIM115  # for good
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
    for name in ("stdout", "stderr"):
        output = getattr(sys, name)
        if isinstance(output, io.TextIOWrapper):
            with contextlib.suppress(OSError):  # it has no descriptor
                os.set_blocking(output.fileno(), True)  # another program at this terminal may have changed it
            if isinstance(output.buffer, io.RawIOBase) and output is getattr(sys, f"__{name}__"):
                output = io.TextIOWrapper(io.BufferedWriter(output.buffer), output.encoding, line_buffering=True)
                setattr(sys, name, output)
            output.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def ignore_broken_output() -> Iterator[None]:
    """Ignore a closed pipe, a lost terminal or a full disk on standard output and error while the block runs."""
    out, err = (cast("TextIO", PipeSafeStream(stream)) for stream in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
            err.flush()


_python_calls: dict[int, str] = {}
"""The present call of the Python API in each thread; empty in a command."""


@contextlib.contextmanager
def called_from_python(call: str) -> Iterator[None]:
    """Let messages name this call instead of a command line while the block runs."""
    thread = threading.get_ident()
    before = _python_calls.get(thread)
    _python_calls[thread] = call
    try:
        yield
    finally:
        if before is None:
            del _python_calls[thread]
        else:
            _python_calls[thread] = before


def _python_call() -> str | None:
    """Return the call of this thread, or of another one: a thread that watches Ray has none. None in a command."""
    return _python_calls.get(threading.get_ident()) or next(iter(list(_python_calls.values())), None)


RENAMED = {"text_column": "text", "label_column": "label"}
"""Options of a command line whose keyword in the Python API has another name."""


_WORDS = "|".join(
    (
        "auto|none|random|portfolio|tpe|gp|cmaes|qmc|fasttext|characters|train[+]val|glove-[0-9]+d|folds:[0-9K]+",
        *PRECISIONS,
        *METRIC_NAMES,
    )
)
_VALUE = rf"'[^']*'|[0-9]+(?:\.[0-9]+)?(?![\w./]*\w)|[A-Z][A-Z:]*\b|(?:{_WORDS})(?![\w-])"
"""A quoted text, a number, a placeholder or a word that is a value of an option."""
_OPTION = re.compile(rf"`[^`]*`|(?<![\w-])--([a-z][a-z-]*[a-z])(?: ({_VALUE})( (?=--))?)?")


def with_keywords(text: str) -> str:
    """Return a text with keywords of the Python API in place of options, except in backquotes.

    `--lag 2.5` becomes `lag=2.5`, and `--sampler random` becomes `sampler="random"`. An option before another word is
    the keyword alone, because that word may belong to the sentence.
    """

    def keyword(found: re.Match[str]) -> str:
        option, value, more = found.groups()
        if option is None:
            return found[0]
        name = option.replace("-", "_")
        if value is not None:
            value = f'"{value}"' if value[0].islower() else f"[{value}]" if name == "set" else value
        return RENAMED.get(name, name) + (f"={value}" if value else "") + (", " if more else "")

    return _OPTION.sub(keyword, text)


def program_name() -> str:
    """Return `sentune`, its path if the shell would not find it, or `python -m tuning`."""
    if _python_call() is not None:
        return "sentune"
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m tuning"
    return called.name if shutil.which(called.name) else shlex.quote(str(called))


def study_command(verb: str, folder: Path, options: str, *, trial: int | None = None) -> str:
    """Return a command on a study, such as `sentune retrain mine --trial 3`.

    In Python it is `study.retrain(trial=3)`, whose other arguments have defaults.
    """
    if _python_call() is not None:
        return f"study.{verb}({'' if trial is None else f'trial={trial}'})"
    number = "" if trial is None else f"--trial {trial}"
    return " ".join(filter(None, (program_name(), verb, study_argument(folder), number, options.strip())))


def cache_option(cache_dir: Path | None) -> str:
    """Return ` --cache-dir DIR` for the end of a command; empty for the default folder."""
    return "" if cache_dir is None else f" --cache-dir {shlex.quote(str(cache_dir))}"


def study_argument(folder: Path) -> str:
    """Return the argument STUDY of a command: the study's name, or its folder if that is elsewhere."""
    usual = folder.parent == Path(os.environ.get("SENTUNE_RESULTS") or "results")
    return path_argument(Path(folder.name) if usual and not folder.name.startswith("-") else folder)


def path_argument(path: Path) -> str:
    """Return a path as an argument of a command. With `./`, one that begins with a dash is no option."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def command_line() -> str:
    """Return the user's command line, or the call of the Python API."""
    return _python_call() or f"{program_name()} {shlex.join(sys.argv[1:])}"


def in_callers_terms(text: str) -> str:
    """Return a text with options for a command, and with keywords for a call of the Python API."""
    return text if _python_call() is None else with_keywords(text)


def is_terminal(stream: object) -> bool:
    """Return whether a stream is a terminal; a program may have closed or replaced standard output."""
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and bool(isatty())


def print_note(line: str) -> None:
    """Print a line to standard error; drop it if the program has closed that, or if it cannot be written."""
    if sys.stderr is None:
        return
    stream, line = PipeSafeStream(sys.stderr), in_callers_terms(line)
    stream.write(f"{line}\n")  # at once: a signal between `print`'s two calls would leave the line without its end
    stream.flush()


def for_terminal(text: str) -> str:
    """Return text such as CSV, in which control characters become escapes if standard output is a terminal."""
    return "\n".join(map(printable, text.split("\n"))) if is_terminal(sys.stdout) else text


READING_DATA = "reading the data ..."
ASSESSING = "assessing the trials ..."
SLOW_SECONDS = 1.0
"""Time in seconds after which a step prints what it does."""


@contextlib.contextmanager
def say_if_slow(line: str, say: Callable[[str], None] = print_note) -> Iterator[None]:
    """Print a line if the block takes longer than SLOW_SECONDS."""
    timer = call_later(SLOW_SECONDS, say, line)
    try:
        yield
    finally:
        timer.cancel()


def call_later(seconds: float, call: Callable[..., object], *arguments: Any) -> threading.Timer:
    """Call a function in another thread after this time, unless the timer is cancelled or the process ends before."""
    timer = threading.Timer(seconds, call, arguments)
    timer.daemon = True
    timer.start()
    return timer


LATER_SECONDS = 0.02
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command: Ctrl-C, a request of the system, and the end of the terminal."""


def handle_signals() -> None:
    """Let the ENDING signals raise KeyboardInterrupt from now on, unless they are ignored, as SIGHUP under nohup."""
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _not_in_forks(_interrupt))


def end_with_parent(parent: int) -> None:
    """End this process soon after its parent, the process number `parent`, has ended, even if it was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def worker_niceness() -> int:
    """Return the niceness of Ray's workers: 15, unless Ray's own variable sets it.

    At least 0: only root may set less, which Ray ignores for others.

    Raises:
        ConfigError: The variable is no such number. Ray's import would end the process without a message.
    """
    text = os.environ.get("RAY_worker_niceness", "15")  # noqa: SIM112 - Ray's spelling
    whole = re.fullmatch(r"-?\d{1,2}", text) is not None
    check_rules(
        {"RAY_worker_niceness in the environment": (text, "a whole number of at most two digits, such as 0", whole)}
    )
    return max(0, int(text))


@contextlib.contextmanager
def signals_handled_by(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Handle the ENDING signals, unless they are ignored; Python allows this only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # None is a handler of C, which Python could not restore.
    numbers = [number for number in ENDING if signal.getsignal(number) not in (None, signal.SIG_IGN)]
    before = {number: signal.signal(number, _not_in_forks(handler)) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _not_in_forks(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
    """Return a handler that lets a signal end a fork of this process, which has yet to start its own program."""
    own = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            handler(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    return handle


def _interrupt(number: int, frame: FrameType | None) -> None:
    if time.monotonic() - _interrupted < AGAIN_SECONDS:
        return
    if is_importing(frame):
        send_later(number)
        return
    say_interrupted()
    raise KeyboardInterrupt


def is_importing(frame: FrameType | None) -> bool:
    """Return whether a signal met Python's own code for imports: an exception there would not release its locks."""
    return frame is not None and frame.f_code.co_filename.startswith("<frozen importlib")


def send_later(number: int) -> None:
    """Send this process a signal again."""
    call_later(LATER_SECONDS, os.kill, os.getpid(), number)


AGAIN_SECONDS = 3.0
"""Time in which further signals change nothing: an impatient user must not disturb the end."""
RESUMED = {"run", "confirm", "retrain", "ensemble", "distill"}
"""Verbs that keep what they have trained when they are interrupted."""
_interrupted = -math.inf
"""When the program was interrupted, by time.monotonic."""


def say_interrupted() -> None:
    """Print once what an interruption means, as soon as it is certain; nothing for a call from Python."""
    global _interrupted
    if math.isinf(_interrupted) and _python_call() is None:
        _interrupted = time.monotonic()
        try:
            resume = f"; run the same command again to resume: {command_line()}"
            print_note("interrupted" + (resume if RESUMED.intersection(sys.argv[1:2]) else ""))
        except RuntimeError:  # the signal met another print; leave_interrupted says it
            _interrupted = -math.inf


def leave_interrupted() -> NoReturn:
    """End the process with exit code 130.

    At once: Python's usual exit takes time, in which another signal would be a traceback. It even ends by SIGINT if
    the KeyboardInterrupt met a call of `exec`.
    """
    say_interrupted()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(130)


STARTS_RAY = "ray starts"
"""Name of the thread that starts Ray. If Ray hangs, this thread never ends."""


def leave(code: int) -> NoReturn:
    """End the process, at once if a start of Ray hangs: Python's usual exit would wait for it, or crash."""
    try:
        sys.stdout.flush()
    except OSError:  # Python's exit would flush again, print the error and return 120
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if any(thread.name == STARTS_RAY for thread in threading.enumerate()):
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)
    ignore_signals()
    sys.exit(code)


def ignore_signals() -> None:
    """Ignore the signals of ENDING: during Python's exit, one would be a traceback, or change the exit code."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
