"""The server of the serving benchmark."""

import signal
import sys
from pathlib import Path

import pytest

from benchmarks.serving_clients import running_server


def test_the_server_is_stopped_after_an_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "server"
    server.write_text("#!/bin/sh\necho serving on http://127.0.0.1:80/\nexec sleep 60\n")
    server.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(server))
    with pytest.raises(ValueError, match="a failed case"), running_server(tmp_path) as running:
        raise ValueError("a failed case")
    assert running.process.returncode == -signal.SIGTERM
