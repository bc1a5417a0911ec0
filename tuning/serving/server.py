"""A saved model behind HTTP: a page to type into, /predict, /health."""

import asyncio
import contextlib
import dataclasses
import errno
import json
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Annotated, Any

from core.errors import ConfigError, UserError
from core.io.text import Notify, printable
from tuning.formatting import content_policy
from tuning.serving.abstention import ALWAYS_ANSWER, Abstention
from tuning.serving.rate_limit import RateLimitMiddleware, TokenBucket

if TYPE_CHECKING:
    from fastapi import FastAPI

    from core.inference.predictor import Predictor

MAX_TEXTS = 1000
"""In one request."""
MAX_CHARACTERS = 20_000
"""In one text: some 4,000 words."""
MAX_CONNECTIONS = 500
"""At once; further ones are answered with 503."""


def make_app(model: "Predictor", name: str, min_probability: float | None = None) -> "FastAPI":
    """Return the application, without limits on a client.

    Args:
        model: what answers.
        name: what the page and /health call it.
        min_probability: Texts whose most probable class is less probable get the label null.
    """
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, Response
    from pydantic import BaseModel, Field

    class Texts(BaseModel):
        texts: list[Annotated[str, Field(max_length=MAX_CHARACTERS)]] = Field(min_length=1, max_length=MAX_TEXTS)

    def answer(content: Any, status: int = 200) -> Response:
        # In ASCII, since the name of a class may hold what UTF-8 cannot.
        return Response(json.dumps(content), status, media_type="application/json")

    html, headers = _page()
    worker = ThreadPoolExecutor(1, "predict")  # torch uses the cores by itself; more threads would only compete
    # FastAPI's own pages load scripts from elsewhere.
    app = FastAPI(title=f"sentune: {printable(name)}", docs_url=None, redoc_url=None)

    @app.get("/", response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        return HTMLResponse(html, headers=headers)

    @app.get("/health")
    async def health() -> Response:
        about = {"model": printable(name), "classes": list(model.classes), "min_probability": min_probability}
        return answer({"status": "ok", **about})

    @app.post("/predict")
    async def predict(asked: Texts) -> Response:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(worker, model.predict, asked.texts, min_probability)
        return answer({"predictions": [dataclasses.asdict(each) for each in found]})

    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        return answer({"detail": f"{place or 'body'}: {first['msg']}"}, 422)

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
    """A socket bound to host and port.

    Raises:
        ConfigError: the port is taken or not for everyone, or the address is not of this machine.
    """
    reasons = {
        errno.EADDRINUSE: f"port {port} is taken; pass another --port, or 0 for any free one",
        errno.EACCES: f"port {port} is for the administrator; pass a --port of 1024 or more",
        errno.EADDRNOTAVAIL: "it is no address of this machine; pass --host 127.0.0.1 or 0.0.0.0",
    }
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no name of a host"
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
    abstention: Abstention = ALWAYS_ANSWER,
) -> None:
    """Answer until Ctrl-C or SIGTERM; requests that are under way are answered first.

    Args:
        load: opens the model.
        notify: called with the threshold that `abstention` determines.
        name: of the model, for the page.
        host, port: where to listen.
        rate: requests a second that one client may send.
        abstention: when a text gets no label.

    Raises:
        UserError: a package is missing, the port is taken, or the model cannot be used.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ModuleNotFoundError as error:
        raise UserError(f"serve needs the package {error.name}: pip install fastapi uvicorn") from error
    with bind_socket(host, port) as listening:
        model = load()
        threshold = abstention.threshold(model.coverage, notify)
        app = RateLimitMiddleware(make_app(model, name, threshold), TokenBucket(rate))
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            ws="none",
            lifespan="off",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=10,
        )
        shown = f"[{host}]" if ":" in host else host
        print(f"serving {printable(name)} on http://{shown}:{listening.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises again after it has ended well
            uvicorn.Server(config).run(sockets=[listening])
        print("stopped", file=sys.stderr)
