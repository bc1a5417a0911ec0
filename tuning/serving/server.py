"""A saved model behind HTTP: a page to type into, /predict, /health, /metrics."""

import errno
import json
import socket
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError, UserError
from core.io.text import Notify, printable
from tuning.console import ignore_broken_output, signals_handled_by
from tuning.formatting import content_policy
from tuning.serving.abstention import Abstention
from tuning.serving.hosts import LOCAL_NAMES, check_hosts, hosts_of
from tuning.serving.limits import Gate, TokenBucket, client_of, count_words
from tuning.serving.metrics import CONTENT_TYPE, Metrics
from tuning.serving.request_queue import SMALL_WORDS, RequestQueue

if TYPE_CHECKING:
    from fastapi import FastAPI

    from core.inference.predictor import Prediction, Predictor

MAX_WORDS = 5000
"""Maximum number of words in one text, which is labelled as a whole while other requests wait."""
CLASSES_PER_WORD = 20
"""Number of probabilities in an answer that count as one word, because they take time and memory too."""
NO_OBJECT = 'body: must be a JSON object such as {"texts": ["..."]}, with the header Content-Type: application/json'
UNREADABLE = "body: is compressed, not in UTF-8, nested too deeply, or has too long a number; send plain JSON in UTF-8"
STOP_SECONDS = 10
"""Time limit in seconds for the answers to pending requests when the server stops."""


def make_app(
    model: "Predictor",
    name: str,
    min_probability: float | None = None,
    *,
    rate: int,
    hosts: Sequence[str] = LOCAL_NAMES,
) -> Gate:
    """Return the application with its limits.

    Args:
        model: The model.
        name: Name of the model on the page and in /health.
        min_probability: Texts whose most probable class is less probable get the label null.
        rate: Maximum number of words per second from one client, on average.
        hosts: Allowed names, see `hosts_of`.
    """
    queue = RequestQueue(lambda texts: [_as_json(each) for each in model.predict(texts, min_probability)])
    metrics, bucket = Metrics(queue), TokenBucket(rate)
    app = _make_routes(model, name, min_probability, queue, bucket, metrics)
    return Gate(check_hosts(app, hosts), bucket, metrics, lambda: queue.retry_after(large=True))


def _as_json(guess: "Prediction") -> str:
    """Return a prediction as JSON in ASCII, because UTF-8 cannot encode every class name."""
    return json.dumps({name: getattr(guess, name) for name in guess.__slots__})


def _make_routes(
    model: "Predictor",
    name: str,
    min_probability: float | None,
    queue: RequestQueue,
    bucket: TokenBucket,
    metrics: Metrics,
) -> "FastAPI":
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, PlainTextResponse, Response

    from tuning.serving.schema import REFUSED, UNUSABLE, Answers, Health, Texts

    def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        return Response(json.dumps(content), status, headers, media_type="application/json")

    html, page_headers = _page()
    # FastAPI's pages load scripts from other sites, and its redirects trust the header Host.
    app = FastAPI(
        title=f"sentune: {printable(name)}",
        version=version("sentune"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=REFUSED,
    )

    @app.get("/", response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        return HTMLResponse(html, headers=page_headers)

    @app.get("/health", response_model=Health)
    async def health() -> Response:
        about = {"model": printable(name), "classes": list(model.classes), "min_probability": min_probability}
        return answer({"status": "ok", **about})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def figures() -> Response:
        return Response(metrics.render(), headers={"content-type": CONTENT_TYPE})

    @app.post("/predict", response_model=Answers, responses=UNUSABLE)
    async def predict(request: Request, asked: Texts) -> Response:
        words = [max(count_words(text), len(model.classes) // CLASSES_PER_WORD) for text in asked.texts]
        if seconds := queue.retry_after(large=sum(words) > SMALL_WORDS):
            again = {"retry-after": str(seconds)}
            return answer({"detail": "too many requests wait, try again later"}, 503, again)
        bucket.take(client_of(request.scope), sum(words))  # to count them takes time, too
        if (longest := max(words)) > MAX_WORDS:
            place = words.index(longest)
            return answer({"detail": f"texts.{place}: has more than {MAX_WORDS:,} words, split it into sentences"}, 422)
        try:
            found = await queue.submit(asked.texts, words)
        except UserError as error:
            return answer({"detail": str(error)}, 500)
        return Response(f'{{"predictions": [{", ".join(found)}]}}', media_type="application/json")

    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        if not place or first["type"] == "json_invalid":
            return answer({"detail": NO_OBJECT}, 422)
        return answer({"detail": f"{place}: {first['msg']}"}, 422)

    @app.exception_handler(400)
    async def refuse_unreadable(request: Request, error: Exception) -> Response:
        return answer({"detail": UNREADABLE}, 400)

    return app


def _page() -> tuple[str, dict[str, str]]:
    """Return the page and the headers that limit a browser to its script, its style and this server.

    The script writes answers as `textContent`, so that a sentence or the name of a class is never markup.
    """
    assets = files("tuning.serving") / "assets"
    css, js, html = ((assets / name).read_text(encoding="utf-8") for name in ("page.css", "page.js", "page.html"))
    policy = f"{content_policy(css, js)}; connect-src 'self'; frame-ancestors 'none'"
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return Template(html).substitute(css=css, js=js), headers


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to host and port.

    Raises:
        ConfigError: The port is taken or reserved, or the address does not belong to this machine.
    """
    reasons = {
        errno.EADDRINUSE: f"port {port} is taken; pass another --port, or 0 for any free one",
        errno.EACCES: f"port {port} is reserved for the administrator; pass a --port of 1024 or more",
        errno.EADDRNOTAVAIL: "it is no address of this machine; pass --host 127.0.0.1 or 0.0.0.0",
    }
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = host == "::" and socket.has_dualstack_ipv6()  # else it would be IPv6 alone
        return socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=both)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no host name"
        raise ConfigError(f"--host {host} is no address ({reason}); pass --host 127.0.0.1 or 0.0.0.0") from error
    except OSError as error:
        usual = f"{error.strerror}; pass --host 127.0.0.1 or 0.0.0.0"
        raise ConfigError(f"cannot listen on {host}: {reasons.get(error.errno or 0, usual)}") from error


def serve_model(
    load: Callable[[], "Predictor"],
    notify: Notify,
    name: str,
    *,
    host: str,
    port: int,
    rate: int,
    abstention: Abstention,
    allowed_hosts: str | None = None,
) -> None:
    """Serve until Ctrl-C, SIGTERM or SIGHUP, then answer the pending requests.

    Args:
        load: Called to open the model.
        notify: Called with the threshold that `abstention` determines, and with the allowed hosts.
        name: Name of the model for the page.
        host, port: Address to listen on.
        rate: Maximum number of words per second from one client, on average.
        abstention: Rule for texts without a label.
        allowed_hosts: More host names, see `hosts_of`.

    Raises:
        UserError: A package is missing, the port is taken, or the model cannot be used.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn

        from tuning.serving.connections import IDLE_SECONDS, GuardedProtocol, raise_file_limit
    except ModuleNotFoundError as error:
        raise UserError(
            f"serve needs the package {error.name}; run pip install fastapi uvicorn prometheus-client 'starlette>=1.9'"
        ) from error
    hosts = hosts_of(host, allowed_hosts)
    with bind_socket(host, port) as listening:
        model = load()
        raise_file_limit()
        app = make_app(model, name, abstention.threshold(model.coverage, notify), rate=rate, hosts=hosts)
        config = uvicorn.Config(
            app,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            log_level="error",  # otherwise a client could fill the log with warnings about its requests
            access_log=False,
            proxy_headers=False,  # a client could name any address, and so evade the limits of one
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}/"
        print(f"serving {printable(name)} on {address} (press Ctrl-C to stop)", flush=True)
        if len(hosts) > len(LOCAL_NAMES) and "*" not in hosts:
            notify(f"requests for other names than {', '.join(hosts)} are refused (--allowed-hosts adds names)")
        server = uvicorn.Server(config)
        # Also for SIGHUP, which uvicorn leaves alone: a handler that raises could end a request instead of the server.
        with signals_handled_by(server.handle_exit):
            server.run(sockets=[listening])
        with ignore_broken_output():  # the terminal may be gone
            print("stopped", file=sys.stderr)
