"""The Python API with real Ray in a Jupyter kernel; in marimo; and the same study as the command's.

With real Ray in a script: test_wheel.py.
"""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jupyter_client.manager import KernelManager

from core.data.movie_reviews import resolve_snippets
from core.io.cache import default_dir
from tests.support.command import PYTHONPATH, Command
from tests.support.local_backend import without_ray
from tests.support.page_blocks import blocks_of
from tests.support.patience import PATIENCE_SECONDS
from tests.support.searches import run
from tuning import load_study, search

SCRIPT = "".join(block.text for block in blocks_of("docs/how-to/notebook.md") if "tickets-frame" in block.text)
"""A search, and what follows, as the page prints them. tests/test_pages.py runs them without Ray."""
WITH_ONE_WORKER = SCRIPT.replace("epochs=2)", "epochs=2, workers=1)")
"""The same study, which takes longer and can be interrupted."""


class Kernel:
    """A real Jupyter kernel."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE_SECONDS)

    def start(self, code: str) -> str:
        return str(self.client.execute(code))

    def messages(self, request: str, timeout: float = PATIENCE_SECONDS) -> Iterator[dict[str, Any]]:
        """The messages of a cell, to its end."""
        while True:
            message = self.client.get_iopub_msg(timeout=timeout)
            if message["parent_header"].get("msg_id") == request:
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    return
                yield message

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell that must not fail; returns its output."""
        found = list(self.messages(self.start(code)))
        assert [message["content"] for message in found if message["msg_type"] == "error"] == []
        return found


def printed(messages: list[dict[str, Any]]) -> str:
    return "".join(m["content"]["text"] for m in messages if m["msg_type"] == "stream")


def shown(messages: list[dict[str, Any]]) -> dict[str, str]:
    """What the last line of a cell shows."""
    return dict(next(m["content"]["data"] for m in messages if m["msg_type"] == "execute_result"))


@pytest.fixture
def folder(command: Command, request: pytest.FixtureRequest) -> Path:
    """A folder with 300 real sentences in the columns of the page's script."""
    data = resolve_snippets(default_dir()).read()
    chosen = [at for code in (0, 1) for at in np.flatnonzero(data.labels == code)[:150]]
    folder = command.results / str(request.node.name)
    folder.mkdir()
    frame = pd.DataFrame({"text": [data.texts[at] for at in chosen], "queue": [data.labels[at] + 1 for at in chosen]})
    frame.to_csv(folder / "tickets.csv", index=False)
    return folder


def environment(command: Command, folder: Path) -> dict[str, str]:
    """The results folder is `results` in the current folder, as for a new user."""
    return {"SENTUNE_RESULTS": str(folder / "results"), "SENTUNE_TEST_MARK": command.mark, "PYTHONPATH": PYTHONPATH}


@pytest.fixture
def kernel(command: Command, folder: Path) -> Iterator[Kernel]:
    """One whose current folder has the sentences."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder), env={**os.environ, **environment(command, folder)})
    try:
        yield Kernel(manager)
    finally:
        manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def studies() -> list[list[Any]]:
    """What the tests of this module found in the study of the script, which must be the same each time."""
    return []


def check(command: Command, folder: Path, output: str) -> list[Any]:
    """The script has printed a table and a label, and left chart, model and study; return the study's content."""
    assert re.search(r"^0 +\d +0\.\d+ +COMPLETE$", output, flags=re.MULTILINE)
    assert re.search(r"^REPRODUCED \d/\d epochs", output, flags=re.MULTILINE)
    assert output.splitlines()[-1] in ("1", "2")
    assert (folder / "history.png").read_bytes().startswith(b"\x89PNG")
    return content(command, folder)


def content(command: Command, folder: Path) -> list[Any]:
    """Return the content of the script's study, whose model is saved."""
    assert (folder / "tickets-model" / "card.md").is_file()
    return command.content(str((folder / "results" / "tickets-frame").relative_to(command.results)))


def test_the_script_runs_in_jupyter_after_an_interrupt(
    command: Command, kernel: Kernel, folder: Path, studies: list[list[Any]]
) -> None:
    """Progress is one output that is replaced; a study and a chart display themselves."""
    found: list[dict[str, Any]] = []
    trains = False
    for message in kernel.messages(kernel.start(WITH_ONE_WORKER)):
        if not trains and "1 running" in str(message["content"]):
            trains = True
            kernel.manager.interrupt_kernel()
        found.append(message)
    assert [m["content"]["ename"] for m in found if m["msg_type"] == "error"] == ["KeyboardInterrupt"]
    assert "stopping: running trials end their epoch" in printed(found)
    progress = [m["content"] for m in found if m["msg_type"] in ("display_data", "update_display_data")]
    assert len(progress) > 1
    assert len({each["transient"]["display_id"] for each in progress}) == 1

    found = kernel.run(SCRIPT)
    studies.append(check(command, folder, printed(found)))
    assert len(studies[-1]) == 3
    assert studies[0] == studies[-1]
    assert "ipywidgets" not in printed(found)
    assert shown(kernel.run("study"))["text/html"].startswith("<table>")
    assert "vega" in shown(kernel.run("study.charts.history()"))["text/html"]


WITHOUT_RAY = """\
from tests.support.local_backend import without_ray
here = without_ray()
here.__enter__()
"""


def test_the_script_runs_in_marimo(command: Command, folder: Path, studies: list[list[Any]]) -> None:
    """Its trials are trained in marimo's own process: what Ray meets in a notebook, it meets in Jupyter.

    Not in a fork: Altair's renderer, which this process may have used, would wait there for its threads for ever.
    """
    before, after = SCRIPT.split("model =")
    cells = (WITHOUT_RAY + before, f"model ={after}", "study", "study.charts.curves()")
    functions = [f"@app.cell\ndef _():\n{textwrap.indent(cell, '    ')}\n    return" for cell in cells]
    (folder / "notebook.py").write_text("\n\n".join(["import marimo", "app = marimo.App()", *functions]))
    words = (sys.executable, "-m", "marimo", "export", "html", "notebook.py", "-o", "page.html", "--no-include-code")
    env = {**os.environ, **environment(command, folder)}
    ended = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    page = (folder / "page.html").read_text()
    assert "the test split" in page  # the summary of the study
    assert "vega-lite" in page
    studies.append(content(command, folder))
    assert studies[0] == studies[-1]


LEARNS = ("--set", "optimizer=adam", "--set", "learning_rate=log(0.01,0.03)")
"""Settings with which each trial learns."""
OPTIONS: dict[str, Any] = {
    "vectors": "none",
    "embedding_dim": 16,
    "trials": 3,
    "epochs": 4,
    "parallelism": 3,
    "grace": 1,
    "workers": 1,
    "set": {"hidden_dim": "int(4,16)", "optimizer": "adam", "learning_rate": "log(0.01,0.03)"},
}


def test_a_frame_gives_the_study_of_the_command(command: Command, sentences: Path) -> None:
    command.train_here(*run(sentences, "file", "--trials", "3", *LEARNS))
    with without_ray():
        search(pd.read_csv(sentences), name="frame", results=command.results, **OPTIONS)
    assert command.content("frame") == command.content("file")
    study = load_study(command.results / "frame")
    with without_ray():
        assert {row.trial for row in study.confirm(top=1, seeds=2).rows} >= {study.best.trial, 0}
        assert study.ensemble(size=2).predict(["the crash is great"])[0].label in ("bug", "praise", "question")
