"""A saved model from the shell: predict, export, the exported example, serve; after kills and mistakes, too."""

import csv
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch

from core.config import TrialConfig
from core.data.tokenizer import tokenizer_version
from core.inference.members import LstmMember
from core.inference.predictor import load_model
from core.inference.saved_model import save_model
from core.nn.classifier import SentenceClassifier
from tests.support.command import Command, without_waits
from tests.support.patience import PATIENCE_SECONDS

WORDS = ("<pad>", "<unk>", "good", "bad", "movie", "n't", *(f"w{i}" for i in range(200)))
TEXTS = ["good movie", "", "isn't it BAD?", "再见 🙂", "w1 " * 5000]


def make(path: Path, seed: int = 0) -> Path:
    config = TrialConfig(hidden_dim=16, n_layers=2, seed=seed)
    network = SentenceClassifier(config, len(WORDS), 10, 2)
    network.initialize(torch.Generator().manual_seed(seed))
    save_model(
        path,
        members=[LstmMember(name="model", weight=1.0, config=config, weights=network.state_dict())],
        words=WORDS,
        classes=("negative", "positive"),
        embedding_dim=10,
        tokenizer=tokenizer_version("english"),
        metrics={},
        card="# a card\n",
    )
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
    assert {row["predicted_label"] for row in rows} <= {"negative", "positive"}


LOADED = """
import sys
from tuning.cli.app import main
sys.argv = ["sentune", "predict", sys.argv[1], "good movie"]
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
"""


def test_a_model_is_used_without_data_study_ray_or_pickle(model: Path, tmp_path: Path) -> None:
    """And with a home and a cache in which nothing may be written."""
    env = os.environ | {"HOME": "/nowhere", "SENTUNE_CACHE": "/nowhere", "XDG_CACHE_HOME": "/nowhere"}
    words = [sys.executable, "-c", LOADED, str(model)]
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=env, cwd=tmp_path).stdout
    label, loaded = said.splitlines()
    assert label.endswith("\tgood movie")
    assert loaded == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_weights_are_memory_mapped(model: Path) -> None:
    code = (
        "import sys; from core import load_model; kept = load_model(sys.argv[1]); print(open('/proc/self/maps').read())"
    )
    said = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=True).stdout
    assert f"{model}/model.safetensors" in said


def test_an_export_is_used_by_its_example(command: Command, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra `export`")
    said = command.succeed("export", str(model), "--format", "onnx", "--out", str(tmp_path / "onnx"))
    assert said.startswith(f"onnx model in {tmp_path}/onnx: probabilities differ ")
    example = subprocess.run(
        [sys.executable, str(tmp_path / "onnx" / "example.py"), *TEXTS[:4]], capture_output=True, text=True, check=True
    )
    assert example.stdout == command.succeed("predict", str(model), *TEXTS[:4])


def digests(folder: Path) -> dict[str, str]:
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}


def test_a_killed_export_leaves_the_old_folder_or_the_new_one(command: Command, tmp_path: Path) -> None:
    """tests/core/io/test_atomic.py kills one write at every step; here the whole command is killed."""
    pytest.importorskip("onnxruntime", reason="needs the extra `export`")
    out, whole = tmp_path / "out" / "onnx", {}
    for name, seed in (("old", 1), ("new", 2)):
        make(tmp_path / name, seed)
        command.succeed("export", str(tmp_path / name), "--out", str(tmp_path / f"{name}-onnx"))
        whole[name] = digests(tmp_path / f"{name}-onnx")
    shutil.copytree(tmp_path / "old-onnx", out)
    with command.start("export", str(tmp_path / "new"), "--out", str(out)) as process:
        while process.poll() is None and len(list(out.parent.glob(".onnx.*/*"))) < 6:
            time.sleep(0.001)
        process.kill()
    assert digests(out) in whole.values()


def test_a_server_answers_and_ctrl_c_ends_it(command: Command, model: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra `serve`")
    with command.start("serve", str(model), "--port", "0") as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        address = line.split(" on ")[1].split(" ")[0]
        assert line == f"serving model on {address} (press Ctrl-C to stop)\n"
        with urllib.request.urlopen(f"{address}health", timeout=PATIENCE_SECONDS) as reply:
            assert json.loads(reply.read())["classes"] == ["negative", "positive"]
        taken = command.run_here("serve", str(model), "--port", address.rstrip("/").rpartition(":")[2])
        os.killpg(server.pid, signal.SIGINT)
        out, err = server.communicate(timeout=PATIENCE_SECONDS)
    assert (server.returncode, out, without_waits(err)) == (0, "", "stopped\n")
    assert (taken.returncode, taken.stdout) == (2, "")
    assert "is taken; pass another --port, or 0 for any free one\n" in taken.stderr
    assert without_waits(taken.stderr).count("\n") == 1


def test_a_client_above_its_rate_is_told_so(command: Command, model: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra `serve`")
    with command.start("serve", str(model), "--port", "0", "--rate", "1") as server:
        assert server.stdout is not None
        address = server.stdout.readline().split(" on ")[1].split(" ")[0]
        host, _, port = address.removeprefix("http://").rstrip("/").partition(":")
        statuses = []
        for _ in range(2):
            with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                statuses.append(connection.recv(100).split(b" ")[1])
        os.killpg(server.pid, signal.SIGTERM)
        out, err = server.communicate(timeout=PATIENCE_SECONDS)
    assert statuses == [b"200", b"429"]
    assert (server.returncode, out, without_waits(err)) == (0, "", "stopped\n")


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
