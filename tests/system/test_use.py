"""A saved model from the shell: predict and serve."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.command import Command, without_waits
from tests.support.models import mixture, saved
from tests.support.patience import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("saved"), *mixture())


LOADED = """
import sys
from pathlib import Path
from core import load_model
from tuning.cli.app import main
folder = sys.argv[1]
sys.argv[0:2] = ["sentune", "predict", folder]
def no_pickle(event, arguments):
    if event == "pickle.find_class":
        raise AssertionError(arguments)
sys.addaudithook(no_pickle)
try:
    main()
except SystemExit as ended:
    assert ended.code == 0
heavy = "ray optuna pandas sklearn nltk pyarrow scipy core.data.load core.training.loop tuning.run".split()
print(*[name for name in heavy if name in sys.modules])
kept, maps = load_model(folder), Path("/proc/self/maps")
print(maps.exists() and folder in maps.read_text())  # only Linux tells what is mapped
"""


def test_a_model_is_used_without_data_study_ray_or_pickle(model: Path, tmp_path: Path) -> None:
    """And with a home and a cache in which nothing may be written. None of its files is memory-mapped.

    Arguments and a terminal that are not UTF-8 are no error.
    """
    env = os.environ | {"HOME": "/nowhere", "SENTUNE_CACHE": "/nowhere", "XDG_CACHE_HOME": "/nowhere",
                        "PYTHONIOENCODING": "ascii"}  # fmt: skip
    words: list[str | bytes] = [sys.executable, "-c", LOADED, str(model), "good movie", b"na\xefve", "再见"]
    said = subprocess.run(words, capture_output=True, check=True, env=env, cwd=tmp_path).stdout.decode("ascii")
    *labels, loaded, mapped = said.splitlines()
    assert [line.split("\t")[2] for line in labels] == ["good movie", r"na\udcefve", r"\u518d\u89c1"]
    assert (loaded, mapped) == ("", "False")
    assert list(tmp_path.iterdir()) == []


def test_a_server_answers_at_its_rate_and_ctrl_c_ends_it(command: Command, model: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra `serve`")
    with command.start("serve", str(model), "--port", "0", "--rate", "1") as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        address = line.split(" on ")[1].split(" ")[0]
        assert line == f"serving model on {address} (press Ctrl-C to stop)\n"
        with urllib.request.urlopen(f"{address}health", timeout=PATIENCE_SECONDS) as reply:
            assert json.loads(reply.read())["classes"] == ["negative", "positive"]
        # The page counts, /health does not.
        with pytest.raises(urllib.error.HTTPError, match="429"):
            for _ in range(100):  # on a busy machine, a second may pass between two of them
                urllib.request.urlopen(address, timeout=PATIENCE_SECONDS).close()
        os.killpg(server.pid, signal.SIGINT)
        out, err = server.communicate(timeout=PATIENCE_SECONDS)
    assert (server.returncode, out, without_waits(err)) == (0, "", "stopped\n")


def test_a_pipe_is_answered_at_once_and_a_reader_that_has_enough_is_no_error(model: Path) -> None:
    program = [sys.executable, "-m", "tuning", "predict", str(model), "--file", "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for text in (b"good", b"bad"):
            process.stdin.write(text + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\t" + text + b"\n")
        process.stdout.close()  # as `head -2` does
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"good\n" * 5_000)
            process.stdin.close()
        assert without_waits(process.stderr.read().decode()) == ""
        assert process.wait(PATIENCE_SECONDS) == 0
