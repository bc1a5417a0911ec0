"""The code blocks of the documentation, and what runs them in a folder with tiny data."""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.support.cli import exit_code
from tests.support.local_backend import trained_here, write_reviews
from tuning.scheduling import training_length, virtual_cost

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
}
RUN = ("sh", "python")
"""Languages of the blocks that are run."""
MOST = {"run": {"--trials": 7, "--epochs": 2}, "confirm": {"--seeds": 2, "--folds": 3}, "retrain": {"--seeds": 2}}
"""Upper bounds of options of the commands that are run: what a page shows may take hours."""
SHOWN = ("yaml", "text", "json", "csv", "dockerfile")
"""Languages of files and output, which are not run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    reason: str | None
    """Why it is not run: `<!-- not run: REASON -->` on the line before the block."""

    @property
    def commands(self) -> list[str]:
        """Its lines without comments; a line that ends in a backslash continues on the next one."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if shlex.split(line, comments=True)]


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page in order."""
    text = PAGES[page].read_text()
    found = re.finditer(r"(?:<!-- not run:(.*?)-->\n)?^([ ]*)```([^\n]*)\n(.*?)^\2```$", text, re.DOTALL | re.MULTILINE)
    return [
        Block(
            page=page,
            line=text[: match.start(3)].count("\n") + 1,
            language=match[3],
            text=re.sub(rf"^{match[2]}", "", match[4], flags=re.MULTILINE),
            reason=None if match[1] is None else match[1].strip(),
        )
        for match in found
    ]


def run_block(block: Block, names: dict[str, Any]) -> None:
    """Run a block in the current folder; `names` are those of the page's Python blocks before it."""
    if block.language == "python":
        exec(compile(block.text, f"{block.page}:{block.line}", "exec"), names)
    else:
        for command in block.commands:
            run_command(command)


def run_command(line: str) -> str:
    """Run a line of a shell block; return what it printed.

    Raises:
        AssertionError: it failed, or it is neither `sentune` nor `python`, so that its block must be marked.
    """
    words, target = shlex.split(line, comments=True), None
    if ">" in words:
        at = words.index(">")
        words, target = words[:at], Path(words[at + 1])
    program, *rest = words
    assert program in ("sentune", "python"), f"{line!r}: mark its block with <!-- not run: REASON -->"
    assert "|" not in rest, f"{line!r}: mark its block with <!-- not run: REASON -->"
    if program == "python":
        return subprocess.run([sys.executable, *rest], capture_output=True, text=True, check=True).stdout
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = exit_code(*bounded(words)[1:])
    assert not code, f"{line!r} exited with {code}: {err.getvalue()}"
    if target is not None:
        target.write_text(out.getvalue())
    return out.getvalue()


def bounded(words: list[str]) -> list[str]:
    """Return the words of a command with values of at most MOST; `run` always has a number of trials."""
    found = list(words)
    for option, most in MOST.get(words[1], {}).items():
        if option in found:
            at = found.index(option) + 1
            found[at] = str(min(int(found[at]), most))
        elif option == "--trials":
            found += [option, str(most)]
    return found


@contextlib.contextmanager
def tiny_workplace(folder: Path) -> Iterator[None]:
    """Make a folder with what the pages name, and train without Ray in the block.

    The files are reviews.csv, tickets.csv and sentences.txt; the studies `snippets-quick` and `tickets`; and the models
    `model` and `tickets-model`. Trials of a command have at most 2 epochs.
    """
    folder.mkdir()
    write_reviews(folder / "reviews.csv", 120)
    rows = (folder / "reviews.csv").read_text().splitlines()
    queues = {"stars": "queue", "1": "billing", "5": "praise"}
    cells = [line.rpartition(",") for line in rows]
    (folder / "tickets.csv").write_text("\n".join(f"{a.replace('body', 'text')},{queues[b]}" for a, _, b in cells))
    (folder / "sentences.txt").write_text("\n".join(a for a, _, _ in cells[1:20]))
    with (
        contextlib.chdir(folder),
        patch.dict(os.environ, {"SENTUNE_CACHE": str(folder.parent / "cache"), "COLUMNS": "100"}),
        patch.object(training_length, "AUTO_EPOCHS", (2, 2)),
        patch.object(virtual_cost, "MEDIAN_DRAWS", 11),
        patch("tuning.report.command.write_images"),  # tests/system/test_page.py has them written
        patch("tuning.resources.machine.available_cpus", lambda: 2),  # a page has --cpus-per-trial 2
        trained_here(folder / "reviews.csv"),
    ):
        for command in (
            "sentune run --trials 6",
            "sentune run tickets.csv --name tickets --trials 6",
            "sentune retrain snippets-quick --out model",
            "sentune retrain tickets --out tickets-model",
        ):
            run_command(command)
        yield


@contextlib.contextmanager
def copy_of(folder: Path, target: Path) -> Iterator[None]:
    """Work in a copy of a folder."""
    shutil.copytree(folder, target)
    with contextlib.chdir(target):
        yield
