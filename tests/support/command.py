"""Runs the command line in a new process, in a fork or in this process, and finds the processes that it left behind."""

import contextlib
import io
import itertools
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import tuning
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.processes import exit_code_of_fork, marked
from tuning.journal.folder import JOURNAL
from tuning.journal.records import read_study

HERE = ("best", "list", "data", "predict", "report", "retrain", "distill", "export")
"""Verbs that start no process."""
PROGRAM = str(Path(tuning.__path__[0]) / "__main__.py")
PYTHONPATH = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
"""With this checkout, for scripts that lie elsewhere."""


def without_waits(text: str) -> str:
    """Return the text without the lines that only a slow machine says, such as `loading torch ...`."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.endswith(" ...\n"))


def die_at_checkpoint(number: int) -> None:
    """Let this process kill itself as soon as it has written a number of checkpoints."""
    from core.training import loop
    from core.training.checkpoint import save

    numbers = itertools.count(1)

    def saved(*arguments: Any) -> None:
        save(*arguments)
        if next(numbers) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    patch.object(loop, "save", saved).start()


def output_of(ended: "subprocess.CompletedProcess[str]") -> str:
    """Return the standard output of a command that must have exited with 0."""
    assert ended.returncode == 0, f"{ended.args} exited with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


class Started(subprocess.Popen[str]):
    """A process that a failed assertion ends: otherwise leaving the block would wait for it."""

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        """Kill it after an exception; wait for its end."""
        if kind is not None:
            self.kill()
        super().__exit__(kind, *rest)


class Command:
    """`sentune` with its studies in `results`; every process that it starts carries a mark."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.mark = uuid.uuid4().hex
        self._last: subprocess.Popen[str] | None = None

    def start(
        self,
        *words: str,
        program: Sequence[str] = ("-m", "tuning"),
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> "subprocess.Popen[str]":
        """Start a verb, or a Python script, and do not wait."""
        marks = {"SENTUNE_RESULTS": str(self.results), "SENTUNE_TEST_MARK": self.mark, "COLUMNS": "80"}
        env = {**os.environ, **marks, "PYTHONPATH": PYTHONPATH, **(env or {})}
        self._last = Started(
            [sys.executable, *program, *words],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.results,
            start_new_session=True,
            **options,
        )
        return self._last

    def run(self, *words: str, stdin: str | None = None, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run a verb to its end."""
        with self.start(*words, stdin=subprocess.PIPE, **options) as process:
            out, err = process.communicate(stdin, timeout=PATIENCE_SECONDS)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def succeed(self, *words: str, stdin: str | None = None) -> str:
        """Run a verb that must exit with 0; returns its standard output."""
        return output_of(self.run_here(*words, stdin=stdin) if words[0] in HERE else self.run(*words, stdin=stdin))

    def kill_at_checkpoint(self, number: int, *words: str) -> None:
        """Run a verb, without Ray, that is killed as soon as it has written a number of checkpoints."""
        self.kill_here(lambda: die_at_checkpoint(number), *words)

    def kill_here(self, prepare: Callable[[], None], *words: str) -> None:
        """Run a verb, without Ray, in a fork of this process, which `prepare` lets kill itself at some moment."""

        def work() -> None:
            prepare()
            print(self.run_here(*words), file=sys.stderr)

        assert exit_code_of_fork(work) == -signal.SIGKILL, words

    def train_here(self, *words: str) -> str:
        """Run a verb that must exit with 0 in this process, its trials too; returns its standard output."""
        return output_of(self.run_here(*words))

    def run_here(self, *words: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a verb to its end in this process, which has torch loaded already, and without Ray."""
        from tests.support.cli import exit_code

        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with (
            self.here(),
            patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO((stdin or "").encode()), encoding="utf-8")),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = exit_code(*words, program=PROGRAM)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read())
        return subprocess.CompletedProcess(words, code, *texts)

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """Let verbs that are called in this process use this command's results folder, and no Ray."""
        from tests.support.local_backend import without_ray

        environment = {"SENTUNE_RESULTS": str(self.results), "COLUMNS": "80"}
        with without_ray(), contextlib.chdir(self.results), patch.dict(os.environ, environment):
            yield

    def run_in_fork(self, errors: Path, *words: str) -> None:
        """Run a verb, without Ray, in a fork, which it may end; its standard error goes into a file."""
        from tests.support.cli import exit_code

        with self.here(), errors.open("w", buffering=1) as err, contextlib.redirect_stderr(err):
            exit_code(*words, program=PROGRAM)

    def processes(self, name: str) -> list[int]:
        """Marked processes whose command line begins with a path or a title that ends in `name`."""
        return [pid for pid, line in self._marked() if line.split("\0")[0].rpartition("/")[2] == name]

    def workers(self) -> list[int]:
        """Marked processes that train a trial."""
        return [pid for pid, line in self._marked() if "ray::ImplicitFunc" in line]

    def wait_for_journal(self, study: str, records: int) -> None:
        """Wait until a study's journal has a number of records about its trials."""
        journal = self.results / study / JOURNAL

        def reached() -> bool:
            lines = journal.read_bytes().splitlines() if journal.is_file() else []
            return sum(b'"op_code":2,' not in line for line in lines) >= records

        self._wait(reached, f"{journal} did not reach {records} records")

    def wait_for_epoch(self, study: str) -> None:
        """Until a study's journal has an epoch: its trials train, and Ray has started."""
        journal = self.results / study / JOURNAL
        self._wait(lambda: journal.is_file() and b'"epoch:' in journal.read_bytes(), f"{journal} has no epoch yet")

    def _wait(self, reached: Callable[[], bool], what: str) -> None:
        """Wait, but not longer than the command that was started last runs; then show what it has printed."""
        last = self._last
        wait_until(lambda: reached() or (last is not None and last.poll() is not None), what)
        if not reached() and last is not None:
            raise AssertionError(f"{what}; the command exited with {last.returncode}: {last.communicate()}")

    def content(self, study: str) -> list[Any]:
        """A study's trials without their times."""
        return [
            (
                r.number,
                r.state,
                r.params,
                r.config,
                r.error,
                [(e.train_loss, e.val_loss, e.val_accuracy) for e in r.epochs],
                r.val_predictions,
            )
            for r in read_study(self.results / study)[1]
        ]

    def left_behind(self, patience: float = PATIENCE_SECONDS) -> list[str]:
        """Command lines of marked processes that are still there after some patience.

        Where Ray was killed, its agents try for a minute to tell it.
        """
        until = time.monotonic() + patience
        while (found := self._marked()) and time.monotonic() < until:
            time.sleep(0.2)
        return [line.replace("\0", " ")[:200] for _, line in found]

    def _marked(self) -> list[tuple[int, str]]:
        return list(marked(f"SENTUNE_TEST_MARK={self.mark}"))
