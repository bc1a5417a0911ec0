"""Runs the real command line in processes of its own, and knows which processes it left behind."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from tuning.records import read_study


class Command:
    """`sentune` with its studies in `results`; every process that it starts carries a mark."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.mark = uuid.uuid4().hex

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a verb and do not wait."""
        env = {**os.environ, "SENTUNE_RESULTS": str(self.results), "SENTUNE_TEST_MARK": self.mark, "COLUMNS": "80"}
        return subprocess.Popen(
            [sys.executable, "-m", "tuning", *words],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.results,
            start_new_session=True,
            **options,
        )

    def run(self, *words: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a verb to its end."""
        with self.start(*words, stdin=subprocess.PIPE) as process:
            out, err = process.communicate(stdin, timeout=300)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def succeed(self, *words: str, stdin: str | None = None) -> str:
        """Run a verb that must exit with 0; returns its standard output."""
        ended = self.run(*words, stdin=stdin)
        assert ended.returncode == 0, f"{words} exited with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

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
            )
            for r in read_study(self.results / study)[1]
        ]

    def left_behind(self, patience: float = 20.0) -> list[str]:
        """Command lines of marked processes that are still there after some patience."""
        until = time.monotonic() + patience
        while (found := self._marked()) and time.monotonic() < until:
            time.sleep(0.2)
        return found

    def _marked(self) -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"SENTUNE_TEST_MARK={self.mark}".encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200])
            except OSError:  # it ended meanwhile
                continue
        return found
