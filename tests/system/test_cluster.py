"""A study on a Ray cluster of several nodes has the same result as on one machine, also after losses of nodes."""

import json
import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import UserError
from tests.support.command import Command
from tests.support.nodes import Nodes
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tuning.backend import connect
from tuning.journal.file import JOURNAL
from tuning.journal.records import study_attributes
from tuning.scheduling.study_config import study_id

BUCKET = "studies"
KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
DISABLED = {"RAY_AUTH_MODE": "disabled"}
CHECK = "import sys; from tuning.backend.connect import check_head; check_head(sys.argv[1])"
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}


def run(sentences: Path, name: str, *more: str) -> tuple[str, ...]:
    """Enough for every node to take part."""
    return ("run", str(sentences), "--vectors", "none", "--embedding-dim", "16", "--space", "notebook",
            "--trials", "6", "--epochs", "6", "--parallelism", "4", "--grace", "3", "--set", "hidden_dim=int(48,96)",
            "--set", "learning_rate=log(0.05,1)", "--precision", "fp32", "--name", name, *more)  # fmt: skip


@pytest.fixture(scope="module")
def whole(command: Command, sentences: Path) -> str:
    """The study without Ray."""
    command.train_here(*run(sentences, "whole"))
    return "whole"


@pytest.fixture(scope="module")
def nodes(command: Command) -> Iterator[Nodes]:
    """A head; a test that trains on others fills up their number, because another one may have lost one."""
    made = Nodes(command.mark, KEYS)
    yield made
    made.close()


def lose_one(nodes: Nodes, study: str, driver: subprocess.Popen[str]) -> None:
    """Lose a node that is not the head, when a trial on it runs, has a checkpoint and at least one more epoch to go.

    The driver is stopped while this looks for one, which takes long on a busy machine: trials wait for it.
    """
    wanted = {f"epoch-{epoch:05d}" for epoch in (2, 4, 5)}  # after 3, the rung, and 6 it may be over

    def busy() -> list[str]:
        if driver.poll() is not None:
            pytest.fail(f"{study} ended before a node was lost")
        os.kill(driver.pid, signal.SIGSTOP)
        kept = [name for name in nodes.others() if any(path.name in wanted for path in nodes.checkpoints(name, study))]
        found = [name for name in kept if nodes.processes(name, "ImplicitFunc")]
        if not found:
            os.kill(driver.pid, signal.SIGCONT)
        return found

    nodes.lose(wait_until(busy, f"no node has a checkpoint of {study} to lose", pause=0.1)[0])
    os.kill(driver.pid, signal.SIGCONT)


def test_the_driver_is_killed_then_a_node_is_lost_and_the_same_command_resumes(
    command: Command, sentences: Path, nodes: Nodes, whole: str
) -> None:
    nodes.fill(2)
    words = run(sentences, "killed", "--address", nodes.address)
    with command.start(*words, env=DISABLED) as driver:
        command.wait_for_journal("killed", 12)
        os.kill(driver.pid, signal.SIGKILL)
    wait_until(
        lambda: not [p for name in nodes.started for p in nodes.processes(name, "ImplicitFunc")],
        "workers outlive their driver",
    )
    with command.start(*words, env=DISABLED) as driver:
        lose_one(nodes, "killed", driver)
        out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    assert driver.returncode == 0, f"{out}\n{err}"
    assert "continuing study killed" in out
    assert "checkpoints stay on each trial's node, so a trial that continues on another node" in out
    assert command.content("killed") == command.content(whole)
    assert [record[1] for record in command.content("killed")].count("FAIL") == 0
    assert [nodes.checkpoints(name, "killed") for name in nodes.started] == [[], []], "a complete study leaves none"
    assert "is complete: 6 trials" in command.train_here(*run(sentences, "killed"))


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URI of a folder in an S3 that runs here."""
    from moto.server import ThreadedMotoServer
    from pyarrow.fs import S3FileSystem

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"access_key": KEYS["AWS_ACCESS_KEY_ID"], "secret_key": KEYS["AWS_SECRET_ACCESS_KEY"]}
    S3FileSystem(
        endpoint_override=f"{host}:{port}", scheme="http", region="us-east-1", allow_bucket_creation=True, **options
    ).create_dir(BUCKET)
    yield f"s3://{BUCKET}/mine?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    server.stop()


def test_checkpoints_in_s3_outlive_their_node(
    command: Command,
    sentences: Path,
    nodes: Nodes,
    whole: str,
    s3: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server's log tells what was asked of it."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    nodes.fill(1)
    words = run(sentences, "stored", "--address", nodes.address, "--storage", s3)
    with caplog.at_level(logging.INFO, "werkzeug"), command.start(*words, env=DISABLED) as driver:
        lose_one(nodes, "stored", driver)
        out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    assert driver.returncode == 0, f"{out}\n{err}"
    assert "checkpoints stay on each trial's node" not in out
    assert command.content("stored") == command.content(whole)
    assert any("GET" in line and "tensors.safetensors" in line for line in caplog.messages), "none was fetched"
    from pyarrow.fs import FileSelector

    from tuning.backend.storage import open_storage

    left = open_storage(s3).get_file_info(FileSelector("", recursive=True, allow_not_found=True))
    assert [file.path for file in left if file.is_file and file.size] == []


def test_checkpoints_that_a_killed_command_left_in_the_storage_go_with_the_next_one(
    command: Command, sentences: Path, whole: str, tmp_path: Path
) -> None:
    left = tmp_path / study_id(whole, study_attributes(command.results / whole)) / "00003-0123456789ab"
    left.mkdir(parents=True)
    (left / "state.json").write_text("{}")
    assert "is complete: 6 trials" in command.train_here(*run(sentences, whole, "--storage", str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_is_not_there_is_one_line(
    command: Command, sentences: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    ended = command.run_here(*run(sentences, "nowhere", "--storage", s3.replace(BUCKET, "no-such-bucket")))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("sentune: cannot keep checkpoints in s3://no-such-bucket/mine (")
    assert ended.stderr.count("\n") == 1


def test_a_token_that_is_missing_or_wrong_is_one_line_and_so_is_the_loss_of_the_head(
    command: Command, sentences: Path, tmp_path: Path
) -> None:
    """Of another cluster, which wants a token of driver and workers."""
    nodes = Nodes(command.mark, TOKEN)
    try:
        problem = (
            f"the Ray cluster at {nodes.address} requires its token; set RAY_AUTH_MODE=token, and copy "
            "~/.ray/auth_token from the head\n"
        )
        home = {"HOME": str(tmp_path)}  # it holds none
        for env in DISABLED, {"RAY_AUTH_MODE": "token"}:
            ended = command.run(nodes.address, program=("-c", CHECK), env=env | home)
            assert ended.stderr.endswith(f"core.errors.UserError: {problem}"), ended.stderr
        words = run(sentences, "locked", "--address", nodes.address)
        ended = command.run(*words, env=TOKEN | {"RAY_AUTH_TOKEN": "f" * 64} | home)
        assert (ended.returncode, ended.stderr) == (2, f"sentune: {problem}")
        assert not (command.results / "locked" / JOURNAL).exists()
        with command.start(*run(sentences, "headless", "--address", nodes.address), env=TOKEN) as driver:
            command.wait_for_journal("headless", 12)
            nodes.lose(nodes.head)
            out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    finally:
        nodes.close()
    assert driver.returncode == 2, f"{out}\n{err}"
    assert err.startswith("sentune: Ray's process raylet has ended (killed, or out of memory); nothing is lost, ")
    assert err.count("\n") == 1


def test_another_ray_or_python_is_one_line(nodes: Nodes) -> None:
    from ray._raylet import GcsClient

    client = GcsClient(address=nodes.address)
    said = client.internal_kv_get(b"CLUSTER_METADATA", b"cluster")
    other = json.loads(said) | {"ray_version": "2.1.0", "python_version": "3.9.1"}
    client.internal_kv_put(b"CLUSTER_METADATA", json.dumps(other).encode(), True, b"cluster")
    try:
        with pytest.raises(UserError, match=r"has Ray 2\.1\.0, here it is .*; Python 3\.9\.1, here it is .*; install"):
            connect.check_head(nodes.address)
    finally:
        client.internal_kv_put(b"CLUSTER_METADATA", said, True, b"cluster")
    connect.check_head(nodes.address)


def test_a_machine_that_is_no_node_gets_the_command_to_join(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_raylets", set)
    with pytest.raises(UserError, match=f"run `ray start --address={nodes.address} --num-cpus=0`"):
        connect.local_raylet(nodes.address)
