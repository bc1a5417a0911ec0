"""A study on a Ray cluster of several nodes has the same result as on one machine, also after losses of nodes."""

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from core.errors import UserError
from tests.support.command import Command
from tests.support.nodes import Nodes, authenticated
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tuning.backend import connect, ray_private
from tuning.journal.folder import JOURNAL

BUCKET = "studies"
KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}


def run(sentences: Path, name: str, *more: str, trials: int = 6) -> tuple[str, ...]:
    """Enough for every node to take part."""
    return ("run", str(sentences), "--vectors", "none", "--embedding-dim", "16", "--space", "notebook", "--no-baseline",
            "--trials", str(trials), "--epochs", "6", "--parallelism", "4", "--grace", "3", "--precision", "fp32",
            "--set", "hidden_dim=int(48,96)", "--set", "learning_rate=log(0.05,1)", "--name", name, *more)  # fmt: skip


@pytest.fixture(scope="module")
def whole(command: Command, sentences: Path) -> str:
    """The study without Ray."""
    command.train_here(*run(sentences, "whole"))
    return "whole"


@pytest.fixture(scope="module")
def nodes(command: Command) -> Iterator[Nodes]:
    """A head, which wants its token of drivers and nodes."""
    made = Nodes(command.mark, KEYS | TOKEN)
    yield made
    made.close()


@pytest.fixture(scope="module")
def refused(
    command: Command, sentences: Path, nodes: Nodes, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What a driver that cannot join says, by the reason; before a test loses the head."""
    said = {}
    unset = {"RAY_AUTH_TOKEN": None, "HOME": str(tmp_path_factory.mktemp("home"))}  # it holds no token
    for mode in ("disabled", "token"):
        with authenticated(unset | {"RAY_AUTH_MODE": mode}), pytest.raises(UserError) as error:
            connect.check_head(nodes.address)
        said[f"{mode}, without a token"] = str(error.value)
    with authenticated(unset | TOKEN | {"RAY_AUTH_TOKEN": "f" * 64}):
        ended = command.run_here(*run(sentences, "locked", "--address", nodes.address))
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert not (command.results / "locked" / JOURNAL).exists()
    said["wrong token"] = ended.stderr.removeprefix("sentune: ").rstrip()
    with authenticated(TOKEN):
        client = ray_private._head(nodes.address)
        found = client.internal_kv_get(b"CLUSTER_METADATA", b"cluster")
        other = json.loads(found) | {"ray_version": "2.1.0", "python_version": "3.9.1"}
        client.internal_kv_put(b"CLUSTER_METADATA", json.dumps(other).encode(), True, b"cluster")
        with pytest.raises(UserError) as error:
            connect.check_head(nodes.address)
        said["other versions"] = str(error.value)
        client.internal_kv_put(b"CLUSTER_METADATA", found, True, b"cluster")
        connect.check_head(nodes.address)
        with patch.object(connect, "_raylets", set), pytest.raises(UserError) as error:
            connect.local_raylet(nodes.address)
        said["no node"] = str(error.value)
    return {reason: text.replace(nodes.address, "HEAD") for reason, text in said.items()}


NO_TOKEN = (
    "the Ray cluster at HEAD requires its token; set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from the head"
)


@pytest.mark.parametrize("reason", ["disabled, without a token", "token, without a token", "wrong token"])
def test_a_token_that_is_missing_or_wrong_is_one_line(refused: dict[str, str], reason: str) -> None:
    assert refused[reason] == NO_TOKEN


def test_another_ray_or_python_is_one_line(refused: dict[str, str]) -> None:
    text = r"the cluster at HEAD has Ray 2\.1\.0, here it is .*; Python 3\.9\.1, here it is .*; install the same .*"
    assert re.fullmatch(text, refused["other versions"])


def test_a_machine_that_is_no_node_gets_the_command_to_join(refused: dict[str, str]) -> None:
    assert "run `ray start --address=HEAD --num-cpus=0`" in refused["no node"]


def lose_one(nodes: Nodes, study: str, driver: subprocess.Popen[str]) -> None:
    """Lose a node that is not the head, when a trial on it runs, has a checkpoint and at least one more epoch to go.

    The driver is stopped while this looks for one, which takes long on a busy machine: trials wait for it. The head's
    trials wait until another node has a checkpoint: a new node starts slowly, and the study may be over before that.
    """
    wanted = {f"epoch-{epoch:05d}" for epoch in (2, 4, 5)}  # after 3, the rung, and 6 it may be over
    seen = set[str]()

    def busy() -> list[str]:
        if driver.poll() is not None:
            pytest.fail(f"{study} ended before a node was lost: {driver.communicate()}")
        os.kill(driver.pid, signal.SIGSTOP)
        there = {name: {path.name for path in nodes.checkpoints(name, study)} for name in nodes.others()}
        seen.update(*there.values())
        for worker in nodes.processes(nodes.head, "ImplicitFunc.train"):  # for one that starts, Ray 2.56 waits
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGCONT if seen else signal.SIGSTOP)
        found = [name for name, kept in there.items() if kept & wanted and nodes.processes(name, "ImplicitFunc")]
        if not found:
            os.kill(driver.pid, signal.SIGCONT)
        return found

    nodes.lose(wait_until(busy, f"no node has a checkpoint of {study} to lose", pause=0.1)[0])
    os.kill(driver.pid, signal.SIGCONT)


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a folder in an S3 that runs here, for which this process has the keys."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
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


def stored(uri: str) -> list[str]:
    """The files in a storage that are not empty."""
    from pyarrow.fs import FileSelector

    from tuning.backend.storage import open_storage

    found = open_storage(uri).get_file_info(FileSelector("", recursive=True, allow_not_found=True))
    return [file.path for file in found if file.is_file and file.size]


NO_STORAGE = "checkpoints stay on each trial's node, so a trial that continues on another node"


def test_a_node_is_lost_and_another_one_continues_from_its_checkpoints_to_the_same_study(
    command: Command,
    sentences: Path,
    nodes: Nodes,
    whole: str,
    s3: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a storage, whose server's log tells what was asked of it."""
    command.kill_at_checkpoint(2, *run(sentences, "lost"))  # from then on, the study has its plain baseline
    nodes.fill(1)
    words = run(sentences, "lost", "--address", nodes.address, "--storage", s3)
    with caplog.at_level(logging.INFO, "werkzeug"), command.start(*words, env=TOKEN) as driver:
        lose_one(nodes, "lost", driver)
        caplog.clear()
        assert stored(s3)
        out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    assert driver.returncode == 0, f"{out}\n{err}"
    fetched = "no checkpoint of the lost node was fetched"
    assert any("GET" in line and "tensors.safetensors" in line for line in caplog.messages), fetched
    assert "continuing study lost" in out
    assert NO_STORAGE not in out
    assert command.content("lost") == command.content(whole)
    assert [record[1] for record in command.content("lost")].count("FAIL") == 0
    assert (nodes.checkpoints(nodes.head, "lost"), stored(s3)) == ([], []), "a complete study leaves none"


@pytest.mark.chaos
def test_the_driver_is_killed_and_nodes_are_lost_and_the_study_is_the_same_and_the_loss_of_the_head_is_one_line(
    command: Command, sentences: Path, nodes: Nodes, whole: str, s3: str, refused: dict[str, str]
) -> None:
    """At first with a storage; the next command, for more trials, has none."""
    there = ("--address", nodes.address)
    nodes.fill(1)
    with command.start(*run(sentences, "killed", *there, "--storage", s3, trials=4), env=TOKEN) as driver:
        lose_one(nodes, "killed", driver)
        os.kill(driver.pid, signal.SIGKILL)
    assert driver.returncode == -signal.SIGKILL
    wait_until(lambda: not nodes.processes(nodes.head, "ImplicitFunc"), "workers outlive their driver")
    assert stored(s3)
    nodes.fill(1)
    with authenticated(TOKEN):
        missed = "the head does not miss the lost node"
        wait_until(lambda: len(ray_private.alive_nodes(nodes.address)) == 2, missed, pause=0.5)
    with command.start(*run(sentences, "killed", *there), env=TOKEN) as driver:
        lose_one(nodes, "killed", driver)
        out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    assert driver.returncode == 0, f"{out}\n{err}"
    assert NO_STORAGE in out
    assert command.content("killed") == command.content(whole)
    assert nodes.checkpoints(nodes.head, "killed") == []
    assert "is complete: 6 trials" in command.train_here(*run(sentences, "killed", "--storage", s3))
    assert stored(s3) == [], "what the killed command left goes with the next one that has the storage"
    with command.start(*run(sentences, "headless", *there), env=TOKEN) as driver:
        command.wait_for_epoch("headless")
        nodes.lose(nodes.head)
        out, err = driver.communicate(timeout=PATIENCE_SECONDS)
    assert driver.returncode == 2, f"{out}\n{err}"
    lost = (
        "sentune: Ray's process raylet has ended (killed, or out of memory); nothing is lost; if the cluster is gone, "
    )
    assert err.startswith(f"{lost}start it again; run the same command again to resume: ")
    assert err.count("\n") == 1


def test_a_bucket_that_is_not_there_is_one_line(command: Command, sentences: Path, s3: str) -> None:
    ended = command.run_here(*run(sentences, "nowhere", "--storage", s3.replace(BUCKET, "no-such-bucket")))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("sentune: cannot keep checkpoints in s3://no-such-bucket/mine (")
    assert ended.stderr.count("\n") == 1
