"""Watching a search: other tools read it, and a closed terminal or reader does not affect it."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.support.cli import exit_code
from tests.support.command import PROGRAM, Command, die_at_checkpoint, without_waits
from tests.support.patience import PATIENCE_SECONDS
from tests.support.ports import held_port
from tests.support.processes import exit_code_of_fork, forked
from tests.support.tensorboard import scalars
from tuning.journal.folder import JOURNAL
from tuning.journal.records import read_study
from tuning.tracking import progress_display


def run(sentences: Path, name: str, *more: str) -> tuple[str, ...]:
    """Trials that are seen while they run."""
    return ("run", str(sentences), "--vectors", "none", "--embedding-dim", "8", "--space", "notebook", "--trials", "4",
            "--epochs", "6", "--parallelism", "3", "--grace", "1", "--set", "hidden_dim=int(32,48)", "--name", name,
            "--workers", "1", *more)  # fmt: skip


@pytest.fixture(scope="module")
def unread(command: Command, sentences: Path) -> str:
    """What a search complained of that had no reader, as after `sentune run | head -1`, and that was killed later."""
    complaints = command.results / "complaints.txt"
    reader, writer = os.pipe()
    os.close(reader)

    def search() -> None:
        die_at_checkpoint(4)
        with os.fdopen(writer, "w") as out, contextlib.redirect_stdout(out):
            command.run_in_fork(complaints, *run(sentences, "watched", "--tensorboard"))

    code = exit_code_of_fork(search)
    os.close(writer)
    assert code == -signal.SIGKILL, complaints.read_text()
    return without_waits(complaints.read_text())


def test_a_reader_that_goes_away_ends_no_search(unread: str) -> None:
    assert unread == ""


@pytest.fixture(scope="module")
def shown(command: Command, sentences: Path, unread: str) -> str:
    """What a terminal was shown when that search was resumed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def search() -> None:
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            os.dup2(theirs, number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", buffering=1, closefd=False))
        os.environ["TERM"] = "xterm"
        with command.here(), patch.object(progress_display, "REFRESH_SECONDS", 0.02):  # trials take a second here
            for variable in ("COLUMNS", "LINES", "JPY_PARENT_PID"):
                os.environ.pop(variable, None)
            sys.exit(exit_code(*run(sentences, "watched", "--tensorboard"), program=PROGRAM))

    with forked(search) as driver:
        os.close(theirs)
        text = all_of(ours)
        driver.join(PATIENCE_SECONDS)
    os.close(ours)
    assert driver.exitcode == 0, text
    return text


@pytest.fixture(scope="module")
def watched(command: Command, shown: str) -> Path:
    """That study."""
    return command.results / "watched"


def test_tensorboard_reads_what_the_journal_says_and_nothing_twice(
    command: Command, sentences: Path, watched: Path
) -> None:
    def check() -> None:
        for record in read_study(watched)[1]:
            found = scalars(watched / "tensorboard" / f"trial-{record.number:05d}")["val_accuracy"]
            assert [step for step, _ in found] == [epoch.epoch for epoch in record.epochs]
            assert [value for _, value in found] == pytest.approx([epoch.val_accuracy for epoch in record.epochs])

    check()
    command.train_here(*run(sentences, "watched", "--tensorboard"))
    check()


@pytest.fixture
def dashboard(watched: Path) -> Iterator[str]:
    """The address of an optuna-dashboard that shows the study."""
    program = Path(sys.executable).with_name("optuna-dashboard")
    with held_port() as port:
        words = [str(program), str(watched / JOURNAL), "--host", "127.0.0.1", "--port", str(port)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                server.terminate()


def asked(url: str, patience: float = PATIENCE_SECONDS) -> Any:
    """What the server at `url` answers, once it does."""
    until = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                return json.load(answer)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def test_optuna_dashboard_opens_the_journal_as_it_is(watched: Path, dashboard: str) -> None:
    before = (watched / JOURNAL).read_bytes()
    (study,) = asked(f"{dashboard}/api/studies")["study_summaries"]
    assert (study["study_name"], study["directions"]) == ("watched", ["maximize"])
    trials = asked(f"{dashboard}/api/studies/{study['study_id']}")["trials"]
    states = {"COMPLETE": "Complete", "PRUNED": "Pruned", "FAIL": "Fail"}
    for trial, record in zip(trials, read_study(watched)[1], strict=True):
        assert (trial["number"], trial["state"]) == (record.number, states[record.state])
        assert trial["values"] == [record.best.val_accuracy if record.best else None]
        shown = [(point["step"], point["value"]) for point in trial["intermediate_values"]]
        assert shown == [(epoch.epoch, epoch.val_accuracy) for epoch in record.epochs]
        assert {p["name"] for p in trial["params"]} == set(record.params)
    assert (watched / JOURNAL).read_bytes() == before


def test_a_terminal_shows_the_block_and_gets_its_cursor_back(shown: str) -> None:
    assert "trial  epoch    now     best   settings" in shown
    assert re.search(r" {4}\d {4}[1-6]/6  0\.\d{4}  0\.\d{4} {3}lr=[\d.e-]+ hidden=", shown)
    assert re.search(r"4/4 trials: \d done, \d stopped, 0 failed, 0 running, 0 paused \| ", shown)
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0  # the cursor was hidden, and is back
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    block = [line for line in plain.replace("\r", "\n").split("\n") if re.match(r" +\d+ +\d/6 ", line)]
    assert max(map(len, block)) <= 80


def all_of(handle: int) -> str:
    """What a terminal is sent until the other side has gone."""
    parts = []
    while select.select([handle], [], [], PATIENCE_SECONDS)[0]:
        try:
            part = os.read(handle, 65536)
        except OSError:  # no one has it open any more
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts).decode()
