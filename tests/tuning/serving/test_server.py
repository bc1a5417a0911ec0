"""tuning.serving.server: the server answers what the model answers, and what it cannot with one line."""

import base64
import hashlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError, UserError
from core.inference.predictor import Predictor, load_model
from tests.support.models import mixture, saved
from tests.support.pages import Page
from tuning.serving.server import MAX_CHARACTERS, bind_socket, make_app, serve_model

uvicorn = pytest.importorskip("uvicorn", reason="needs the extra `serve`")
pytest.importorskip("fastapi", reason="needs the extra `serve`")

MINIMUM = 0.7
Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load_model(saved(tmp_path_factory.mktemp("serve"), *mixture(), classes=("<b>bad</b>", "\ud800")))


@pytest.fixture(scope="module")
def port(model: Predictor) -> Iterator[int]:
    """Of a real server in a thread."""
    with bind_socket("127.0.0.1", 0) as listening:
        config = uvicorn.Config(make_app(model, "x\x1b", MINIMUM), log_level="warning", ws="none", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture
def ask(port: int) -> Iterator[Ask]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def request(method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body is not None else {})
        reply = connection.getresponse()
        content = reply.read()
        return reply.status, json.loads(content) if reply.getheader("content-type") == "application/json" else content

    yield request
    connection.close()


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


def test_health_names_the_model_and_its_classes(ask: Ask) -> None:
    about = {"model": "x\\x1b", "classes": ["<b>bad</b>", "\ud800"], "min_probability": MINIMUM}
    assert ask("GET", "/health") == (200, {"status": "ok", **about})


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "body: "),
        (b"{", "JSON decode error"),
        (b"\xff\xfe", ""),
        (b"[]", "body: "),
        (b"{}", "texts: Field required"),
        (b'{"texts": []}', "texts: List should have at least 1 item"),
        (b'{"texts": "good"}', "texts: Input should be a valid list"),
        (b'{"texts": [1]}', "texts.0: Input should be a valid string"),
        (b'{"texts": ["\\ud800"]}', "texts.0: "),
        (json.dumps({"texts": ["a"] * 1001}).encode(), "texts: List should have at most 1000 items"),
        (json.dumps({"texts": ["a" * (MAX_CHARACTERS + 1)]}).encode(), "texts.0: String should have at most 20000"),
        (b'{"texts": ' + b"[" * 100_000, ""),
    ],
)
def test_a_request_that_is_none_is_refused_in_a_line(ask: Ask, body: bytes, detail: str) -> None:
    status, answer = ask("POST", "/predict", body)
    assert status in (400, 422)
    assert detail in answer["detail"]
    assert "\n" not in answer["detail"]


def test_what_is_not_there_is_not_found(ask: Ask) -> None:
    for path in ("/docs", "/redoc", "/nothing", "/../../etc/passwd"):
        assert ask("GET", path)[0] == 404
    assert ask("GET", "/predict")[0] == 405


def test_the_page_may_run_its_own_script_only(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    reply = connection.getresponse()
    page, policy = reply.read().decode(), reply.getheader("content-security-policy") or ""
    connection.close()
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
        ("192.0.2.1", "cannot listen on 192.0.2.1: it is no address of this machine"),
        ("a..b", r"--host a..b is no address \(it is no name of a host\); pass --host 127.0.0.1"),
        ("fe80::1", r"cannot listen on fe80::1: .*; pass --host 127.0.0.1 or 0.0.0.0"),
        ("no-such-host.invalid", r"--host no-such-host.invalid is no address \(.*\); pass --host 127.0.0.1"),
    ],
)
def test_an_address_that_is_not_ours_is_one_line(host: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bind_socket(host, 0)


def test_a_port_for_the_administrator_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(ConfigError, match="port 80 is for the administrator; pass a --port of 1024 or more"):
        bind_socket("127.0.0.1", 80)


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"serve needs the package {package}: pip install fastapi uvicorn"):
        serve_model(pytest.fail, print, "model", host="127.0.0.1", port=0, rate=1)


def test_the_models_error_comes_before_anything_is_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="there is no saved model"):
        serve_model(lambda: load_model(tmp_path / "none"), print, "none", host="127.0.0.1", port=0, rate=1)
    assert capsys.readouterr().out == ""
