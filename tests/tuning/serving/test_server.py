"""tuning.serving.server: the server gives the model's answers, and errors in one line."""

import base64
import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from core.calibration import CoverageRow
from core.errors import ConfigError, UserError
from core.inference.predictor import Prediction, Predictor, load_model
from tests.support.cli import sentune
from tests.support.models import mixture, saved
from tests.support.pages import Page
from tests.support.patience import PATIENCE_SECONDS, wait_until
from tests.support.servers import running, started
from tuning.serving import request_queue
from tuning.serving.abstention import Abstention
from tuning.serving.schema import MAX_CHARACTERS, Answer
from tuning.serving.server import NO_OBJECT, UNREADABLE, bind_socket, make_app, serve_model

pytest.importorskip("uvicorn", reason="needs the extra `serve`")
pytest.importorskip("fastapi", reason="needs the extra `serve`")

MINIMUM = 0.7
LOCAL: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "rate": 1, "abstention": Abstention()}
Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load_model(saved(tmp_path_factory.mktemp("serve"), *mixture(), classes=("<b>bad</b>", "\ud800")))


@pytest.fixture(scope="module")
def port(model: Predictor) -> Iterator[int]:
    with running(make_app(model, "x\x1b", MINIMUM, rate=10**9)) as port:
        yield port


@pytest.fixture
def ask(port: int) -> Iterator[Ask]:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)

    def request(method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body is not None else {})
        reply = connection.getresponse()
        content = reply.read()
        return reply.status, json.loads(content) if reply.getheader("content-type") == "application/json" else content

    yield request
    connection.close()


def answer_of(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, Message, bytes]:
    """Return status, headers and body of the answer to a request on a connection of its own."""
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()


def test_predictions_are_the_models(ask: Ask, model: Predictor) -> None:
    texts = ["good", "", "Bad \x1b[31m", "再见 🙂", "good " * 3000]
    guesses = model.predict(texts, min_probability=MINIMUM)
    assert 0 < [guess.label for guess in guesses].count(None) < len(texts)
    status, answer = ask("POST", "/predict", json.dumps({"texts": texts}).encode())
    assert status == 200
    for row, guess in zip(answer["predictions"], guesses, strict=True):
        assert row == {
            "label": guess.label,
            "probability": guess.probability,
            "probabilities": dict(guess.probabilities),
            "unknown_words": guess.unknown_words,
        }


def test_the_schema_has_the_version_of_sentune_and_the_refusal_of_a_host(
    model: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FastAPI's default is 0.1.0."""
    monkeypatch.setattr("tuning.serving.server.version", {"sentune": "7.8.9"}.__getitem__)
    with running(make_app(model, "x", rate=10**9)) as port:
        _, _, schema = answer_of(port, "GET", "/openapi.json")
    found = json.loads(schema)
    assert found["info"]["version"] == "7.8.9"
    assert {"400", "500", "503"} <= found["paths"]["/predict"]["post"]["responses"].keys()
    for operations in found["paths"].values():
        assert all("Host" in each["responses"]["400"]["description"] for each in operations.values())


def test_health_names_the_model_and_its_classes(ask: Ask) -> None:
    about = {"model": "x\\x1b", "classes": ["<b>bad</b>", "\ud800"], "min_probability": MINIMUM}
    assert ask("GET", "/health") == (200, {"status": "ok", **about})


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", NO_OBJECT),
        (b"{", NO_OBJECT),
        (b'{"texts": ["na\xefve"]}', UNREADABLE),
        (b"[]", NO_OBJECT),
        (b"{}", "texts: Field required"),
        (b'{"texts": []}', "texts: List should have at least 1 item"),
        (b'{"texts": "good"}', "texts: Input should be a valid list"),
        (b'{"texts": [1]}', "texts.0: Input should be a valid string"),
        (b'{"texts": ["\\ud800"]}', "texts.0: "),
        (json.dumps({"texts": ["a"] * 1001}).encode(), "texts: List should have at most 1000 items"),
        (json.dumps({"texts": ["a" * (MAX_CHARACTERS + 1)]}).encode(), "texts.0: String should have at most 20000"),
        (b'{"texts": ' + b"[" * 100_000, UNREADABLE),
        (b'{"texts": [NaN]}', "texts.0: Input should be a valid string"),
        (b'{"texts": ' + b"1" * 10_000 + b"}", UNREADABLE),
        (b'{"texts": [' + b"1," * 500_000 + b"1]}", "texts: List should have at most 1000 items"),
    ],
)
def test_a_request_that_is_none_is_refused_in_a_line(ask: Ask, body: bytes, detail: str) -> None:
    status, answer = ask("POST", "/predict", body)
    assert status in (400, 422)
    assert detail in answer["detail"]
    assert "\n" not in answer["detail"]


@pytest.mark.parametrize("kind", [None, "text/plain", "multipart/form-data", "\xff/\xff"])
def test_a_body_that_is_not_called_json_is_refused(port: int, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    status, _, body = answer_of(port, "POST", "/predict", b'{"texts": ["good"]}', headers)
    assert (status, json.loads(body)["detail"]) == (422, NO_OBJECT)


def test_what_is_not_there_is_not_found(ask: Ask) -> None:
    """Nothing is redirected either, which would trust the header Host."""
    for path in ("/docs", "/redoc", "/nothing", "/../../etc/passwd", "/health/", "/predict/"):
        assert ask("GET", path)[0] == 404
    assert ask("GET", "/predict")[0] == 405


def test_head_is_get_without_its_body(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    for path in ("/", "/health", "/metrics", "/health"):
        lengths = []
        for method in ("GET", "HEAD"):
            connection.request(method, path)
            reply = connection.getresponse()
            assert (reply.status, len(reply.read()) > 0) == (200, method == "GET")
            lengths.append(int(reply.getheader("content-length") or 0))
        assert min(lengths) > 50
    connection.close()


def test_requests_words_seconds_and_the_queue_are_shown_to_prometheus(ask: Ask) -> None:
    def figures() -> dict[str, float]:
        status, content = ask("GET", "/metrics")
        assert status == 200
        lines = [line.rpartition(" ") for line in content.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    ask("GET", "/nothing")
    before = figures()
    ask("POST", "/predict", b'{"texts": ["good bad", "bad"]}')
    after = figures()
    grown = {name for name in after if after[name] > before.get(name, 0)}
    assert {'sentune_requests_total{status="200"}', "sentune_label_seconds_total"} <= grown
    assert after["sentune_words_total"] == before["sentune_words_total"] + 3
    assert before['sentune_requests_total{status="404"}'] >= 1
    assert (after["sentune_queue_requests"], after["sentune_queue_words"]) == (0, 0)


def test_a_text_of_too_many_words_is_refused(ask: Ask) -> None:
    status, answer = ask("POST", "/predict", json.dumps({"texts": ["good", "!" * 5001]}).encode())
    assert (status, answer) == (422, {"detail": "texts.1: has more than 5,000 words, split it into sentences"})


def test_a_text_of_too_many_words_costs_its_client_these_words(model: Predictor) -> None:
    statuses = []
    with running(make_app(model, "x", rate=1000)) as port:
        for text in ("!" * 5001, "good"):
            with contextlib.closing(post(port, text)) as connection:
                statuses.append(connection.getresponse().status)
    assert statuses == [422, 429]


class BlockedModel:
    """A model whose first batch waits until the test allows it to end."""

    classes: tuple[str, ...] = ("a", "b")

    def __init__(self) -> None:
        self.began, self.may_end = threading.Event(), threading.Event()
        self.texts: list[str] = []

    def predict(self, texts: list[str], min_probability: float | None) -> list[Prediction]:
        self.texts += texts
        self.began.set()
        assert self.may_end.wait(PATIENCE_SECONDS)
        return [Prediction(label="a", probability=1.0, probabilities={"a": 1.0, "b": 0.0}, unknown_words=0.0)] * len(
            texts
        )


def post(port: int, *texts: str, **headers: str) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    connection.request("POST", "/predict", json.dumps({"texts": texts}), {"Content-Type": "application/json"} | headers)
    return connection


def figure(port: int, name: str) -> float:
    lines = answer_of(port, "GET", "/metrics")[2].decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


def until(port: int, name: str, value: float) -> None:
    wait_until(lambda: figure(port, name) == value, f"{name} does not become {value}")


def test_the_work_of_a_client_that_goes_is_dropped() -> None:
    model = BlockedModel()
    with running(make_app(model, "x", rate=10**9)) as port:  # type: ignore[arg-type]
        first = post(port, "first")
        assert model.began.wait(PATIENCE_SECONDS)
        gone, kept = post(port, "gone", *["large"] * 900), post(port, "kept")
        until(port, "sentune_queue_requests", 3)
        gone.close()
        until(port, 'sentune_requests_total{status="499"}', 1)
        model.may_end.set()
        assert [each.getresponse().status for each in (first, kept)] == [200, 200]
        assert model.texts == ["first", "kept"]
        for each in (first, kept):
            each.close()


@pytest.mark.parametrize(
    ("limit", "most", "text", "reason"),
    [
        ("MAX_REQUESTS", 2, "three", "too many requests wait"),
        # A request is large by its words, or by its bytes before it is parsed; the small ones are accepted.
        ("MAX_LARGE_WORDS", 1, "!" * 1001, "too many requests wait"),
        ("MAX_LARGE_WORDS", 1, "x" * 5000, "too many words wait"),
    ],
)
def test_a_full_queue_refuses_and_says_when_to_come_again(
    limit: str, most: int, text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_queue, limit, most)
    model = BlockedModel()
    with running(make_app(model, "x", rate=10**9)) as port:  # type: ignore[arg-type]
        waiting = [post(port, "one"), post(port, "two")]
        until(port, "sentune_queue_requests", 2)
        refused = post(port, text)
        reply = refused.getresponse()
        assert (reply.status, reply.getheader("retry-after")) == (503, "1")
        assert json.loads(reply.read()) == {"detail": f"{reason}, try again later"}
        model.may_end.set()
        assert [each.getresponse().status for each in waiting] == [200, 200]
        for each in (refused, *waiting):
            each.close()


def test_a_text_counts_at_least_as_the_probabilities_in_its_answer() -> None:
    model = BlockedModel()
    model.classes = tuple(map(str, range(1_000)))
    with running(make_app(model, "x", rate=10**9)) as port:  # type: ignore[arg-type]
        waiting = post(port, *["one"] * 3, "long " * 60)
        until(port, "sentune_queue_words", 3 * 50 + 60)
        model.may_end.set()
        assert waiting.getresponse().status == 200
        waiting.close()


def test_a_stopping_server_answers_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's batch ends only after the server has begun to stop."""
    import uvicorn

    model, stop = BlockedModel(), uvicorn.Server.shutdown

    async def shutdown(server: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        model.may_end.set()
        await stop(server, sockets)

    monkeypatch.setattr(uvicorn.Server, "shutdown", shutdown)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(running(make_app(model, "x", rate=1000), PATIENCE_SECONDS))  # type: ignore[arg-type]
        waiting = post(port, "one")
        assert model.began.wait(PATIENCE_SECONDS)
        stack.close()
        assert waiting.getresponse().status == 200
        waiting.close()


def test_a_model_without_an_answer_is_no_traceback(tmp_path: Path) -> None:
    def fail(*_: Any) -> Any:
        raise UserError("the weights are bad")

    model = load_model(saved(tmp_path))
    model.predict = fail  # type: ignore[method-assign]
    with running(make_app(model, "x", rate=1000)) as port:
        json_headers = {"Content-Type": "application/json"}
        status, _, body = answer_of(port, "POST", "/predict", b'{"texts": ["good"]}', json_headers)
    assert (status, json.loads(body)) == (500, {"detail": "the weights are bad"})


def test_the_page_may_run_its_own_script_only(port: int) -> None:
    _, headers, body = answer_of(port, "GET", "/")
    page, policy = body.decode(), headers["content-security-policy"] or ""
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(Page(page).raw[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "<b>bad</b>" not in page
    assert "http" not in page


def test_a_taken_port_is_one_line() -> None:
    with bind_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"cannot listen on 127.0.0.1: port {port} is taken; pass another --port"
        ):
            bind_socket("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("a..b", r"--host a..b is no address \(it is no host name\); pass --host 127.0.0.1"),
        ("fe80::1", r"cannot listen on fe80::1: .*; pass --host 127.0.0.1 or 0.0.0.0"),
    ],
)
def test_an_address_of_another_machine_is_one_line(host: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bind_socket(host, 0)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_all_addresses_of_ipv6_are_those_of_ipv4_too() -> None:
    with bind_socket("::", 0) as bound, socket.create_connection(("127.0.0.1", bound.getsockname()[1])) as client:
        assert client.getpeername() == ("127.0.0.1", bound.getsockname()[1])


def test_a_host_without_an_address_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    message = r"--host no-such-host is no address \(Name or service not known\); pass --host 127\.0\.0\.1"
    with pytest.raises(ConfigError, match=message):
        bind_socket("no-such-host", 0)


def test_a_port_for_the_administrator_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(ConfigError, match="port 80 is reserved for the administrator; pass a --port of 1024 or more"):
        bind_socket("127.0.0.1", 80)


def test_an_answer_in_the_schema_has_the_fields_of_a_prediction() -> None:
    assert [*Answer.model_fields] == [*Prediction.__slots__]


@pytest.mark.parametrize("package", ["fastapi", "prometheus_client", "uvicorn"])
def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"serve needs the package {package}; run pip install fastapi uvicorn"):
        serve_model(pytest.fail, print, "model", **LOCAL)


def test_the_models_error_comes_before_anything_is_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="there is no saved model"):
        serve_model(lambda: load_model(tmp_path / "none"), print, "none", **LOCAL)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("allowed", "notes"), [(None, 0), ("a.example", 1), ("*", 0)])
def test_the_allowed_names_are_listed_if_some_are_refused(
    model: Predictor, monkeypatch: pytest.MonkeyPatch, allowed: str | None, notes: int
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: None)
    said: list[str] = []
    serve_model(lambda: model, said.append, "m", **LOCAL, allowed_hosts=allowed)
    names = "localhost, 127.0.0.1, [::1], a.example"
    assert said == [f"requests for other names than {names} are refused (--allowed-hosts adds names)"] * notes


def test_a_client_that_names_another_address_does_not_evade_its_rate(
    model: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses: list[int] = []

    def ask(server: Any, sockets: list[socket.socket]) -> None:
        monkeypatch.undo()
        with started(server, sockets[0]) as port:
            for address in ("192.0.2.1", "192.0.2.2"):
                with contextlib.closing(post(port, "!" * 1000, **{"X-Forwarded-For": address})) as connection:
                    statuses.append(connection.getresponse().status)

    monkeypatch.setattr("uvicorn.Server.run", ask)
    serve_model(lambda: model, pytest.fail, "m", **LOCAL)
    assert statuses == [200, 429]


def test_what_is_served_has_the_limits_of_connections_and_ends_in_time(
    model: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tests serve with the settings of tests/support/servers.py."""
    from tuning.serving.connections import GuardedProtocol

    found: list[Any] = []
    monkeypatch.setattr("tuning.serving.connections.raise_file_limit", lambda: found.append("raised"))
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: found.append(server.config))
    serve_model(lambda: model, pytest.fail, "m", **LOCAL)
    raised, config = found
    assert raised == "raised"
    assert config.http is GuardedProtocol
    assert (config.timeout_graceful_shutdown, config.timeout_keep_alive) == (10, 10)


def test_the_end_of_the_terminal_stops_the_server_as_ctrl_c_does(
    model: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception could be lost inside a request, where uvicorn catches it."""
    stopped: list[bool] = []

    def run(server: Any, sockets: list[socket.socket]) -> None:
        signal.raise_signal(signal.SIGHUP)
        stopped.append(server.should_exit)

    monkeypatch.setattr("uvicorn.Server.run", run)
    before = signal.signal(signal.SIGHUP, signal.default_int_handler)  # nohup ignores it
    try:
        serve_model(lambda: model, pytest.fail, "m", **LOCAL)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert stopped == [True]


def test_the_options_of_predict_and_serve_reach_model_and_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[Any] = []
    threads: list[int] = []
    folder = str(saved(tmp_path))
    serve = (
        "serve",
        folder,
        "--port=0",
        "--threads=2",
        "--min-probability=0.7",
        "--allowed-hosts=a.example",
        "--host=127.0.0.2",
    )
    with monkeypatch.context() as patch:
        patch.setattr("torch.set_num_threads", threads.append)
        patch.setattr(
            "uvicorn.Server.run",
            lambda server, sockets: served.extend((server.config.app, sockets[0].getsockname()[0])),
        )
        for words in (("predict", folder, "good"), ("predict", folder, "good", "--threads=3"), serve):
            assert sentune(patch, capsys, *words)[0] == 0
    with running(served[0]) as port:
        asked = [answer_of(port, "GET", "/health", headers={"Host": host}) for host in ("a.example", "b.example")]
    assert served[1] == "127.0.0.2"
    assert threads == [1, 3, 2]
    assert [status for status, _, _ in asked] == [200, 400]
    assert json.loads(asked[0][2])["min_probability"] == 0.7


def test_an_accuracy_determines_the_minimum_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coverage = [CoverageRow(min_probability=0.9, sentences=50, correct=50)]
    model, served, said = load_model(saved(tmp_path, metrics={"coverage": coverage})), list[Any](), list[str]()
    with monkeypatch.context() as patch:
        patch.setattr("uvicorn.Server.run", lambda server, sockets: served.append(server.config.app))
        serve_model(lambda: model, said.append, "m", **(LOCAL | {"abstention": Abstention(at_accuracy=0.9)}))
    with running(served[0]) as port:
        assert json.loads(answer_of(port, "GET", "/health")[2])["min_probability"] == 0.9
    assert said[0].startswith("--at-accuracy 0.9 is --min-probability 0.9: ")


def test_without_its_terminal_a_server_ends_as_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: None)
    with os.fdopen(os.open(os.devnull, os.O_RDONLY), "w") as gone:  # each write fails
        monkeypatch.setattr("sys.stderr", gone)
        assert sentune(monkeypatch, capsys, "serve", str(saved(tmp_path)), "--port=0")[0] == 0


def test_a_request_that_is_no_http_is_not_logged(
    model: Predictor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clients could fill the log."""

    def ask(server: Any, sockets: list[socket.socket]) -> None:
        monkeypatch.undo()
        with started(server, sockets[0]) as port, socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"\x16\x03\x01\r\n\r\n")  # TLS
            while client.recv(1000):
                pass

    monkeypatch.setattr("uvicorn.Server.run", ask)
    serve_model(lambda: model, pytest.fail, "m", **LOCAL)
    assert capsys.readouterr().err == "stopped\n"
