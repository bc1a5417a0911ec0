"""tuning.console: a closed output is ignored; messages name a call from Python."""

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.metrics import METRICS
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tuning import console
from tuning.console import (
    called_from_python,
    command_line,
    ignore_broken_output,
    is_terminal,
    print_note,
    program_name,
    say_if_slow,
    study_command,
    with_keywords,
)
from tuning.scheduling.samplers import SAMPLERS

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from tuning.console import ignore_broken_output
with ignore_broken_output():
    print("first", flush=True)
    sys.stdin.readline()  # until the reader is gone
    for _ in range(3):
        print("second", flush=True)
        print("third", file=sys.stderr, flush=True)
    print("held back until the end")
print("after it")
open(sys.argv[1], "w").write("the end was reached")
"""


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "end")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"first\n"
        process.stdout.close()
        process.stdin.write(b"go on\n")
        process.stdin.flush()
        said = process.stderr.read()
    assert process.returncode == 0
    assert said == b"third\n" * 3
    assert (tmp_path / "end").read_text() == "the end was reached"


IN_A_TERMINAL = """
import fcntl, signal, sys, termios, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it
from tuning.__main__ import start_program
if sys.argv.pop(1) == "early":
    sys.meta_path.insert(0, type("Waiting", (), {"find_spec": lambda *_: (print(flush=True), time.sleep(60))}))
else:
    import tuning.cli.app
    tuning.cli.app.app = lambda **_: (print(flush=True), time.sleep(60))
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
start_program()
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["early", "late"])
def test_the_end_of_the_terminal_interrupts(moment: str) -> None:
    """The system sends SIGHUP, which would kill the process at once."""
    terminal, end = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, moment],
        stdout=subprocess.PIPE,
        stderr=end,
        cwd=ROOT,
        start_new_session=True,
    ) as process:
        os.close(end)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        os.close(terminal)
        assert process.wait(PATIENCE_SECONDS) == 130


def test_a_full_disk_is_no_error() -> None:
    script = (
        "from tuning.console import ignore_broken_output\nwith ignore_broken_output(): print('x' * 100_000)\nprint('y')"
    )
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
        )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("full", [False, True])
def test_a_note_that_cannot_be_written_ends_no_command(full: bool) -> None:
    """As in `sentune predict model --file texts 2>&1 >labels | grep -q unknown`."""
    reading, writing = os.pipe()
    os.close(reading)
    script = "from tuning.console import print_note; print_note('one'); print_note('two'); print('the result')"
    with Path("/dev/full").open("w") as disk:
        ended = subprocess.run(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=disk if full else writing,
            text=True,
            cwd=ROOT,
            check=False,
        )
    os.close(writing)
    assert (ended.returncode, ended.stdout) == (0, "the result\n")


@pytest.mark.parametrize("base", [object, io.TextIOBase])
def test_a_broken_stream_without_a_descriptor_is_no_error(base: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without `fileno`, and one whose `fileno` raises OSError."""

    def write(self: object, text: str) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", type("Tee", (base,), {"write": write, "flush": lambda self: None})())
    with ignore_broken_output():
        print("x")


def test_what_the_encoding_lacks_is_escaped() -> None:
    script = "from tuning.console import prepare_streams; prepare_streams(); print('na\\u00efve \\u2713')"
    env = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env, cwd=ROOT)
    assert said.stdout == "na\\xefve \\u2713\n"


def test_what_a_closed_stream_would_say_comes_into_no_file(tmp_path: Path) -> None:
    """The first file that is opened gets the lowest free number: that of standard input, output or error."""
    script = (
        "import os, sys; os.closerange(0, 3); "
        "os.execv(sys.executable, [sys.executable, '-c', 'from tuning.console import *; prepare_streams(); "
        'file = open(sys.argv[1], "w"); print("out"); print("err", file=sys.stderr); os.write(2, b"native"); '
        'file.write(sys.stdin.read() + "kept")\', sys.argv[1]])'
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "file")], cwd=ROOT, check=False)
    assert ended.returncode == 0
    assert (tmp_path / "file").read_text() == "kept"


def test_a_replaced_or_closed_stream_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the loggers that take the place of standard output in scripts."""
    assert not is_terminal(None)
    assert not is_terminal(SimpleNamespace(write=print, flush=print))
    monkeypatch.setattr("sys.stderr", None)
    print_note("without a reader")


def test_the_path_of_a_program_that_the_shell_would_not_find_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.argv", ["/home/a b/bin/sentune", "run", "c d.csv"])
    assert shlex.split(command_line()) == ["/home/a b/bin/sentune", "run", "c d.csv"]


def test_a_call_that_ends_in_another_thread_leaves_that_of_this_one() -> None:
    began, over = threading.Event(), threading.Event()

    def other() -> None:
        with called_from_python("study.table()"):
            began.set()
            over.wait(PATIENCE_SECONDS)

    thread = threading.Thread(target=other)
    thread.start()
    assert began.wait(PATIENCE_SECONDS)
    with called_from_python("search('data.csv')"):
        assert command_line() == "search('data.csv')"
        over.set()
        thread.join()
        assert command_line() == "search('data.csv')"


def test_a_python_call_takes_the_place_of_the_command_line() -> None:
    before = command_line()
    with called_from_python("search('data.csv')"):
        assert command_line() == "search('data.csv')"
        assert study_command("ensemble", Path("results/mine"), "--out DIR") == "study.ensemble()"
        assert study_command("retrain", Path("results/mine"), "--out DIR", trial=3) == "study.retrain(trial=3)"
        assert program_name() == "sentune"
    assert command_line() == before
    assert study_command("ensemble", Path("results/mine"), "--out DIR").endswith(" ensemble mine --out DIR")
    assert study_command("retrain", Path("results/mine"), "--out DIR", trial=3).endswith(" mine --trial 3 --out DIR")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a study with --sampler random --first-trials random", 'a study with sampler="random", first_trials="random"'),
        ("no field --where 'lr', --sort 'x y'; choose", "no field where='lr', sort='x y'; choose"),
        ("pass --vectors glove-300d (862 MB) or --vectors FILE", 'pass vectors="glove-300d" (862 MB) or vectors=FILE'),
        ("--gpus-per-trial 0.5 is too small; pass --workers 2.", "gpus_per_trial=0.5 is too small; pass workers=2."),
        ("small data  --validation folds:5 evaluates", 'small data  validation="folds:5" evaluates'),
        ("pass --set 'a=[1, 2]'", "pass set=['a=[1, 2]']"),
        ("pass --tokenizer characters if", 'pass tokenizer="characters" if'),
        ("--label-column 'y' has one class", "label='y' has one class"),
        ("--seeds must be 1 with --on train+val, which", 'seeds must be 1 with on="train+val", which'),
        ("--grace must be left out with --stopping none", 'grace must be left out with stopping="none"'),
        ("--warm-start old cannot be used", "warm_start old cannot be used"),
        ("--time-budget 30m, --split 80/10/10, --on randomly", "time_budget 30m, split 80/10/10, on randomly"),
        ("run `x --trials 4`; my--data --none", "run `x --trials 4`; my--data none"),
    ],
)  # fmt: skip
def test_in_python_an_option_with_a_value_is_a_keyword_argument(text: str, said: str) -> None:
    assert with_keywords(text).startswith(said)


def test_in_python_each_sampler_and_metric_is_a_text() -> None:
    """The samplers are written out there: SAMPLERS imports Optuna."""
    for option, names in (("sampler", SAMPLERS), ("metric", METRICS)):
        for name in names:
            assert with_keywords(f"pass --{option} {name}") == f'pass {option}="{name}"'


def test_a_study_has_its_name_only_in_the_results_folder_of_the_next_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTUNE_RESULTS", "other")
    assert study_command("best", Path("other/mine"), "--all").endswith(" best mine --all")
    assert study_command("best", Path("results/mine"), "--all").endswith(" best results/mine --all")
    assert study_command("best", Path("other/-x"), "").endswith(" best other/-x")
    assert study_command("best", Path("-x/mine"), "").endswith(" best ./-x/mine")


def test_a_slow_step_says_what_it_does_and_a_fast_one_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "SLOW_SECONDS", 0.05)
    said: list[str] = []
    with say_if_slow("reading ...", said.append):
        wait_until(lambda: said, "the slow step has said nothing")
    monkeypatch.setattr(console, "SLOW_SECONDS", 60)
    with say_if_slow("writing ...", said.append):
        pass
    assert said == ["reading ..."]


@pytest.mark.slow
def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_everything() -> None:
    script = (
        "import os; os.set_blocking(1, False)\nfrom tuning.console import *\nprepare_streams()\n"
        "with ignore_broken_output(): print('x' * 1_000_000)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"x"
        time.sleep(0.2)  # the pipe is full, if the process is as fast
        assert len(process.stdout.read()) == 1_000_000


@pytest.mark.slow
def test_openmp_binds_no_process_to_a_processor() -> None:
    """As job scripts request it: the import of torch would leave one CPU to this process and its workers."""
    script = (
        "import os, tuning.cli.app\nfrom tuning.__main__ import start_program\n"
        "tuning.cli.app.app = lambda **_: print(os.environ['OMP_PROC_BIND'])\nstart_program()"
    )
    env = os.environ | {"OMP_PROC_BIND": "spread", "OMP_PLACES": "cores"}
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env, cwd=ROOT)
    assert said.stdout == "false\n"


def test_windows_is_refused_in_one_line() -> None:
    script = "import os, tuning.__main__ as program; os.name = 'nt'; program.start_program()"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 2
    assert re.fullmatch(r"sentune: needs Linux or macOS; .*\n", ended.stderr)


def test_a_signal_while_python_exits_changes_neither_the_output_nor_the_exit_code() -> None:
    """It would be a traceback of an atexit function."""
    script = (
        "import atexit, os, signal; from tuning.console import handle_signals, leave; handle_signals(); "
        "atexit.register(os.kill, os.getpid(), signal.SIGINT); leave(0)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_signal_ends_a_fork_that_has_yet_to_start_its_own_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler would print a second line, and Python a traceback."""
    sent: list[tuple[int, int]] = []
    with console.signals_handled_by(lambda number, frame: pytest.fail("it is for the parent")):
        with monkeypatch.context() as patch:  # as in a fork
            patch.setattr("os.getpid", lambda: -5)
            patch.setattr("os.kill", lambda process, number: sent.append((process, number)))
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert sent == [(-5, signal.SIGTERM)]
