"""A saved model from the shell: predict, export, the exported example, serve; after mistakes, too."""

import csv
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch

from core.config import TrialConfig
from core.data.tokenizer import tokenizer_version
from core.data.vocabulary import Vocabulary
from core.inference.members import LstmMember
from core.inference.predictor import load_model
from core.inference.saved_model import ModelParts, save_model
from core.nn.classifier import SentenceClassifier
from tests.support.command import Command, without_waits
from tests.support.patience import PATIENCE_SECONDS

WORDS = ("<pad>", "<unk>", "good", "bad", "movie", "n't", *(f"w{i}" for i in range(200)))
TEXTS = ["good movie", "", "isn't it BAD?", "再见 🙂", "w1 " * 5000]


def make(path: Path, seed: int = 0) -> Path:
    config = TrialConfig(hidden_dim=16, n_layers=2, seed=seed)
    network = SentenceClassifier(config, len(WORDS), 10, 2)
    network.initialize(torch.Generator().manual_seed(seed))
    parts = ModelParts(
        members=[LstmMember(name="model", weight=1.0, config=config, weights=network.state_dict())],
        vocabulary=Vocabulary(WORDS),
        classes=("negative", "positive"),
        embedding_dim=10,
        tokenizer=tokenizer_version("english"),
    )
    save_model(path, parts, metrics={}, card="# a card\n")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("saved") / "model")


def test_lines_in_are_lines_out(command: Command, model: Path) -> None:
    said = command.succeed("predict", str(model), "--file", "-", "--format", "json", stdin="\n".join(TEXTS) + "\n")
    rows = [json.loads(line) for line in said.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    assert [row["label"] for row in rows] == [guess.label for guess in load_model(model).predict(TEXTS)]


def test_a_reader_that_has_enough_is_no_error(model: Path) -> None:
    program = f"{sys.executable} -m tuning predict {model} --file - | head -1"
    ended = subprocess.run(program, shell=True, input=b"good\n" * 5_000, capture_output=True, check=True)
    assert ended.stdout.endswith(b"\tgood\n")
    assert without_waits(ended.stderr.decode()) == ""


def test_arguments_and_terminals_that_are_not_utf8_are_no_error(model: Path) -> None:
    program = [sys.executable, "-m", "tuning", "predict", str(model), b"na\xefve", "再见"]
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    said = subprocess.run(program, capture_output=True, check=True, env=env).stdout.decode("ascii")
    assert [line.split("\t")[2] for line in said.splitlines()] == [r"na\udcefve", r"\u518d\u89c1"]


def test_a_table_in_is_a_table_out(command: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,text\n1,good movie\n2,bad\n")
    options = ("--file", str(tmp_path / "x.csv"), "--text-column", "text", "--out", str(tmp_path / "y.csv"))
    assert command.succeed("predict", str(model), *options) == ""
    with (tmp_path / "y.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["text"]) for row in rows] == [("1", "good movie"), ("2", "bad")]
    guesses = load_model(model).predict([row["text"] for row in rows])
    assert [row["predicted_label"] for row in rows] == [guess.label for guess in guesses]


LOADED = """
import sys
from pathlib import Path
from core import load_model
from tuning.cli.app import main
folder = sys.argv[1]
sys.argv = ["sentune", "predict", folder, "good movie"]
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
    """And with a home and a cache in which nothing may be written. None of its files is memory-mapped."""
    env = os.environ | {"HOME": "/nowhere", "SENTUNE_CACHE": "/nowhere", "XDG_CACHE_HOME": "/nowhere"}
    words = [sys.executable, "-c", LOADED, str(model)]
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=env, cwd=tmp_path).stdout
    label, loaded, mapped = said.splitlines()
    assert label.endswith("\tgood movie")
    assert (loaded, mapped) == ("", "False")
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_used_by_its_example(command: Command, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra `export`")
    said = command.succeed("export", str(model), "--format", "onnx", "--out", str(tmp_path / "onnx"))
    assert said.startswith(f"onnx model in {tmp_path}/onnx: probabilities differ ")
    example = subprocess.run(
        [sys.executable, str(tmp_path / "onnx" / "example.py"), *TEXTS[:4]], capture_output=True, text=True, check=True
    )
    assert example.stdout == command.succeed("predict", str(model), *TEXTS[:4])


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
        taken = command.run_here("serve", str(model), "--port", address.rstrip("/").rpartition(":")[2])
        os.killpg(server.pid, signal.SIGINT)
        out, err = server.communicate(timeout=PATIENCE_SECONDS)
    assert (server.returncode, out, without_waits(err)) == (0, "", "stopped\n")
    assert (taken.returncode, taken.stdout) == (2, "")
    assert "is taken; pass another --port, or 0 for any free one\n" in taken.stderr
    assert without_waits(taken.stderr).count("\n") == 1


def test_endless_input_is_refused_at_once_and_a_pipe_is_answered_at_once(command: Command, model: Path) -> None:
    program = [sys.executable, "-m", "tuning", "predict", str(model), "--file", "-"]
    with Path("/dev/zero").open("rb") as zero:
        ended = subprocess.run(program, stdin=zero, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "sentune: --file -, line 1: has more than 1,048,576 characters; write one sentence per line\n"
    )
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in (b"good", b"bad"):
            process.stdin.write(text + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\t" + text + b"\n")
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0


THREADS = """
import sys, torch
from tuning.cli.app import main
for options in ([], ["--threads", "3"]):
    sys.argv += options
    try:
        main()
    except SystemExit:
        print(torch.get_num_threads())
"""


def test_predict_uses_one_thread_unless_more_are_asked_for(model: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    words = [sys.executable, "-c", THREADS, "predict", str(model), "good"]
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout
    assert said.splitlines()[1::2] == ["1", "3"]
