"""Capacity of a cluster, checks of its nodes and of its address."""

import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from socketserver import BaseRequestHandler, StreamRequestHandler, ThreadingTCPServer
from types import SimpleNamespace
from typing import Any

import pytest
from ray._raylet import Config

from core.errors import ConfigError, UserError
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.studies import write_sentences
from tests.support.study_configs import options
from tuning.backend import cluster as joined
from tuning.backend import local_ray, ray_private
from tuning.backend.cluster import Cluster, Node, check_nodes, node_info
from tuning.backend.connect import check_head, is_listening, resolve_address
from tuning.resources.machine import Machine, TrialResources
from tuning.run import search_study


def cluster(*machines: tuple[int, int], address: str = "10.0.0.1:6379", raylet: str = "") -> Cluster:
    nodes = [
        Node(node_id=str(number), address=f"10.0.0.{number}", machine=Machine(cpus=cpus, gpus=gpus))
        for number, (cpus, gpus) in enumerate(machines, start=1)
    ]
    return Cluster(address=address, raylet=raylet, nodes=tuple(nodes))


def test_what_fits_is_counted_node_by_node() -> None:
    """3 CPUs and 2 CPUs are two trials of 2, not two and a half; a GPU counts only where CPUs are."""
    assert cluster((3, 0), (2, 0), (1, 0)).max_parallel(TrialResources(cpus_per_trial=2)) == 2
    assert cluster((8, 1), (8, 0)).max_parallel(TrialResources(cpus_per_trial=1, gpus_per_trial=0.5)) == 2


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (
            TrialResources(cpus_per_trial=4),
            "--cpus-per-trial 4 and --gpus-per-trial 0 fits on no node of the cluster at ",
        ),
        (
            TrialResources(gpus_per_trial=0.5),
            "--gpus-per-trial 0.5 fits on no node .*; pass at most the CPUs and GPUs of its nodes: 3 and 0",
        ),
    ],
)
def test_a_trial_that_fits_on_no_node_is_refused_with_what_they_have(resources: TrialResources, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        cluster((3, 0), (2, 0)).max_parallel(resources)


def test_a_cluster_without_a_node_for_trials_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"has CPUs for trials; run `ray start --address=10\.0\.0\.1"):
        cluster().max_parallel(TrialResources())


def test_a_node_without_cpus_runs_no_trials_and_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As this machine after `ray start --num-cpus=0`."""
    held = {"driver": {"memory": 1e9}, "gpus": {"CPU": 8.0, "GPU": 2.0}, "plain": {"CPU": 4.0}}
    facts = {"Alive": True, "NodeManagerAddress": "10.0.0.1"}
    monkeypatch.setattr("ray.nodes", lambda: [{"NodeID": n, "Resources": r, **facts} for n, r in held.items()])
    found = {node.node_id: node.machine for node in cluster().with_present_nodes().nodes}
    assert found == {"gpus": Machine(cpus=8, gpus=2), "plain": Machine(cpus=4, gpus=0)}


def test_a_join_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's later use of Ray is not affected."""
    ray = SimpleNamespace(nodes=list)
    monkeypatch.delenv("RAY_AIR_NEW_OUTPUT", raising=False)
    for name in ("resolve_address", "check_head", "local_raylet"):
        monkeypatch.setattr(joined, name, str)
    given: dict[str, Any] = {}
    monkeypatch.setattr(joined, "ray_session", lambda _, **more: given.update(more) or nullcontext(ray))
    before = dict(os.environ)
    with joined.join_cluster("10.0.0.1:6379"):
        assert os.environ["RAY_AIR_NEW_OUTPUT"] == "0"
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            assert os.environ.get(name) == before.get(name)
    assert dict(os.environ) == before
    assert [Path(folder).name for folder in given["runtime_env"]["py_modules"]] == ["core", "tuning"]
    settings = {"RAY_CHDIR_TO_TRIAL_DIR": "0", "TUNE_FUNCTION_THREAD_TIMEOUT_S": "600", "OMP_PROC_BIND": "false"}
    assert given["runtime_env"]["env_vars"] == settings


@pytest.mark.parametrize(("limits", "refused"), [((50, 115), True), ((50, 116), False), ((50, -1), False)])
def test_the_hard_limit_of_open_files_decides_if_there_is_one(
    limits: tuple[int, int], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda kind: limits)
    said = "^a process may open 115 files here, and Ray needs 116; raise the limit"
    with pytest.raises(UserError, match=said) if refused else nullcontext():
        local_ray._check_open_files(4)


def test_a_local_ray_ignores_the_cluster_in_whose_job_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_ray, "reload_authentication", lambda: None)
    for name in (*local_ray.OF_A_CLUSTER, "TUNE_RESULT_DIR", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "of a cluster")
    before = dict(os.environ)
    with local_ray._own_settings():
        assert not os.environ.keys() & set(local_ray.OF_A_CLUSTER)
        assert os.environ["TUNE_RESULT_DIR"] == ""
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert dict(os.environ) == before


def reported(*answers: Any, gpus: Sequence[int] = (), gpu: bool = False) -> list[str]:
    """What `check_nodes` says about nodes that answer so, by default nodes without a GPU."""
    machines = [(1, count) for count in gpus or [0] * len(answers)]
    fake: Any = SimpleNamespace(nodes=cluster(*machines).nodes, run_on_each_node=lambda *_, **__: answers)
    said: list[str] = []
    check_nodes(fake, None, said.append, gpu=gpu)
    return said


def test_nodes_like_this_machine_are_silent() -> None:
    assert reported(node_info(None, None), node_info(None, None)) == []


def test_the_memory_of_the_largest_node_counts() -> None:
    nodes = [node_info(None, None) | {"memory": memory} for memory in (2**30, 2**34, 2**32)]
    fake: Any = SimpleNamespace(nodes=cluster((1, 0), (1, 0), (1, 0)).nodes, run_on_each_node=lambda *_, **__: nodes)
    assert check_nodes(fake, None, print, gpu=False) == 2**34


def test_every_node_that_is_not_fit_is_named_with_its_reason() -> None:
    wrapped = RuntimeError("pages of Ray")
    wrapped.cause = ModuleNotFoundError("No module named 'torch'")  # type: ignore[attr-defined]
    with pytest.raises(
        UserError,
        match=(
            r"^node 10\.0\.0\.1: No module named 'torch'; node 10\.0\.0\.2 has torch 1\.0, this machine 2\..*; "
            r"node 10\.0\.0\.3: no rights; node 10\.0\.0\.4: no answer in 180 s; fix the node"
        ),
    ):
        reported(
            wrapped,
            node_info(None, None) | {"torch": "1.0"},
            node_info(None, None) | {"problem": "no rights"},
            TimeoutError("no answer in 180 s"),
        )


def test_a_gpu_is_of_no_use_with_a_torch_for_cpus() -> None:
    """A node without a GPU runs no trial, and a GPU does not matter to trials on CPUs."""
    for_cpu, for_gpu = node_info(None, None) | {"cuda": ""}, node_info(None, None) | {"cuda": "12.4"}
    with pytest.raises(UserError, match=r"^node 10\.0\.0\.3 has a GPU and torch's CPU build; fix the node, or start"):
        reported(for_gpu, for_cpu, for_cpu, gpus=[1, 0, 2], gpu=True)
    assert reported(for_gpu, for_cpu, gpus=[1, 0], gpu=True) == []
    assert reported(for_cpu, gpus=[1]) == []


def test_processors_that_differ_are_reported_since_results_may_differ_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """In their model, or in the instructions that they use."""
    ours = node_info(None, None)
    monkeypatch.setattr(joined, "cpu_model", lambda: "Another")
    model = node_info(None, None)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    both = node_info(None, None)
    for one, other, part in ((ours, model, "Another with "), (model, both, "ONEDNN_MAX_CPU_ISA=SSE41")):
        (said,) = reported(one, other)
        assert "the nodes' processors differ (" in said
        assert part in said


def test_the_processor_of_a_machine_that_gets_no_trials_does_not_matter() -> None:
    other = node_info(None, None) | {"cpu": "ANCIENT"}
    assert reported(other, other) == []


def test_a_node_that_does_not_share_the_storage_is_refused_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(function: Any, where: str, mark: str, *, seconds: float) -> list[Any]:
        assert where == str(tmp_path / "shared")
        return [function(str(tmp_path / "own"), mark)]  # a folder of this name that is another one

    fake = SimpleNamespace(nodes=cluster((1, 0)).nodes, max_parallel=lambda resources: 1, run_on_each_node=ask)
    monkeypatch.setattr(joined, "join_cluster", lambda address: nullcontext(fake))
    with pytest.raises(UserError, match=r"^node 10\.0\.0\.1: a file of another machine is not visible in .*/own; "):
        search_study(options(tmp_path, address="head:6379", storage=str(tmp_path / "shared")))


def test_settings_that_no_node_can_hold_are_refused_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "join_cluster", lambda address: nullcontext(cluster((1, 0))))
    monkeypatch.setattr(joined, "check_nodes", lambda *checked, gpu: 2 * 10**9)
    data = {"dataset": str(write_sentences(tmp_path / "data.csv")), "vectors": "none", "cache_dir": tmp_path / "cache"}
    huge = ("hidden_dim=int(64,8192,log)", "n_layers=8", "bidirectional=true")
    with pytest.raises(ConfigError, match=r" GB for its weights .*, and the largest node of the cluster has 2\.0 GB; "):
        search_study(options(tmp_path, address="head:6379", overrides=huge, **data))
    assert not (tmp_path / "s").exists()


@pytest.fixture
def listener() -> Iterator[str]:
    """Something that listens and is no Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def free_address() -> Iterator[str]:
    """An address that no other process can take, where nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_an_address_where_nothing_listens_is_one_line(free_address: str) -> None:
    with pytest.raises(
        UserError, match=f"^no Ray cluster answers at {free_address}; start one with `ray start --head`"
    ):
        check_head(free_address)


class Silent(StreamRequestHandler):
    """Read until the client closes the connection, and answer nothing."""

    def handle(self) -> None:
        self.rfile.read()


class QuietHttp(SimpleHTTPRequestHandler):
    """Answer in HTTP/1, and log nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(params=[Silent, QuietHttp, BaseRequestHandler], ids=["silent", "http", "closes"])
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of something that accepts connections and is no Ray."""
    with ThreadingTCPServer(("127.0.0.1", 0), request.param) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def _ray_connects_for_a_second() -> Iterator[None]:
    """Twice in each check; by default for 5 s."""
    Config.initialize('{"gcs_rpc_server_connect_timeout_s": 1}')
    yield
    Config.initialize('{"gcs_rpc_server_connect_timeout_s": 5}')


@pytest.mark.slow
@pytest.mark.usefixtures("_ray_connects_for_a_second")
def test_what_answers_and_is_no_head_is_one_line(
    stranger: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own client tries for 40 s, and warns on standard error."""
    monkeypatch.setattr(ray_private, "HEAD_FIRST_SECONDS", 1)
    monkeypatch.setattr(ray_private, "HEAD_SECONDS", 1)
    with pytest.raises(UserError, match=f"^the process at {stranger} is not the head of a Ray cluster; pass the "):
        check_head(stranger)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.b"])
def test_a_host_that_cannot_be_is_one_line(host: str) -> None:
    with pytest.raises(UserError, match=f"^no Ray cluster answers at {host}:6379; "):
        check_head(f"{host}:6379")


@pytest.mark.parametrize("address", ["head", "head:", "http://head:8265", "a b:1", ":6379"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=f"^--address must be HOST:PORT of .*, or auto, got '{address}'"):
        resolve_address(address)


def test_ray_client_is_refused_with_the_reason() -> None:
    with pytest.raises(
        ConfigError, match="got 'ray://head:10001'; ray:// would run the search on the head, pass the address"
    ):
        resolve_address("ray://head:10001")


def watched(the_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, seconds: float = PATIENCE_SECONDS) -> list[str]:
    """What `lost` gets within a number of seconds; the first call ends the wait."""
    monkeypatch.setattr(joined, "WATCH_SECONDS", 0.01)
    said: list[str] = []
    heard = threading.Event()

    def lost(what: str) -> None:
        said.append(what)
        heard.set()

    with the_cluster.monitored(lost):
        heard.wait(seconds)
    return said


@pytest.fixture
def raylet() -> Iterator[tuple[str, socket.socket]]:
    """A socket that listens, as a raylet's does, and its path, which must be short."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/raylet")
        server.listen()
        yield f"{folder}/raylet", server


def test_a_head_that_answers_no_more_is_lost(
    free_address: str, raylet: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = watched(cluster(address=free_address, raylet=raylet[0]), monkeypatch)
    assert said == [f"gcs_server at {free_address}"]


def test_a_node_of_this_machine_that_ends_is_lost(
    listener: str, raylet: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_listening(listener)

    def end() -> None:
        raylet[1].accept()[0].close()

    threading.Thread(target=end).start()
    assert watched(cluster(address=listener, raylet=raylet[0]), monkeypatch) == ["raylet"]


def test_a_node_of_this_machine_that_is_gone_is_lost(listener: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(cluster(address=listener, raylet="/nowhere/raylet"), monkeypatch) == ["raylet"]


def test_while_both_are_there_nothing_is_lost(
    listener: str, raylet: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watched(cluster(address=listener, raylet=raylet[0]), monkeypatch, 0.3) == []


def test_a_head_that_answers_again_is_not_lost(
    raylet: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as lost after several failures in a row."""
    given, said = list[bool](), list[str]()

    def listening(address: str) -> bool:
        given.append(len(given) % joined.MISSES == joined.MISSES - 1)
        return given[-1]

    monkeypatch.setattr(joined, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(joined, "is_listening", listening)
    with cluster(raylet=raylet[0]).monitored(said.append):
        wait_until(lambda: said or len(given) > 2 * joined.MISSES, "the head is not watched", pause=0.01)
    assert said == []


def test_the_watchers_end_with_the_search(
    listener: str, raylet: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each search of a Python session would leave a thread and a socket."""
    before = set(threading.enumerate())
    watched(cluster(address=listener, raylet=raylet[0]), monkeypatch, 0.1)
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_auto_is_what_ray_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert resolve_address("auto") == "10.0.0.1:6379"


@pytest.mark.parametrize("chosen", ["local", "http://127.0.0.1:8265", "ray://head:10001", "10.0.0.1"])
def test_auto_names_a_variable_that_is_no_address(monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", chosen)
    message = f"^--address auto: RAY_ADDRESS is '{chosen}', not HOST:PORT of a cluster's head; unset it, or pass --add"
    with pytest.raises(UserError, match=message):
        resolve_address("auto")


def test_auto_where_no_cluster_runs_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", list)
    monkeypatch.setattr("ray._private.services.find_bootstrap_address", lambda folder: None)
    with pytest.raises(UserError, match=r"^--address auto: no Ray cluster runs on this machine; start one with "):
        resolve_address("auto")
