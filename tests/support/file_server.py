"""A server on this machine that interrupts, refuses and sends wrong data."""

import http.server
from dataclasses import dataclass, field
from typing import Any

from core.io.download import RemoteFile


@dataclass
class Server:
    """Serves `data` at any path; each request first takes the next of `faults`."""

    data: bytes
    faults: list[Any] = field(default_factory=list)
    """An int: cut after that many bytes of the body. "norange": answer 200 to a range. "lie": a wrong range.
    "login": a page of 18 bytes. A str of
    digits: that status."""
    ranges: list[str | None] = field(default_factory=list)
    port: int = 0

    def remote(self, name: str = "file.bin", size: int | None = None) -> RemoteFile:
        return RemoteFile(
            url=f"http://127.0.0.1:{self.port}/{name}", size_bytes=len(self.data) if size is None else size
        )

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, str) and fault.isdigit():
            handler.send_error(int(fault))
            return
        if fault == "login":
            handler.send_response(200)
            handler.send_header("Content-Length", "18")
            handler.end_headers()
            handler.wfile.write(b"<html>log in</html>"[:18])
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and fault != "norange" else 0
        body = self.data[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        if start:
            lie = 1 if fault == "lie" else 0
            handler.send_header("Content-Range", f"bytes {start + lie}-{len(self.data) - 1}/{len(self.data)}")
        handler.end_headers()
        handler.wfile.write(body[:fault] if isinstance(fault, int) else body)
