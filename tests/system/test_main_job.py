"""The main job on the real default data: search, look at the table, retrain, predict."""

import contextlib
import json
import re
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from benchmarks.search.first_result import descendants
from core import load_corpus
from tests.support.command import Command
from tests.support.pages import Page
from tuning.journal.folder import JOURNAL
from tuning.journal.records import read_study
from tuning.resources.machine import available_cpus

if TYPE_CHECKING:
    import subprocess

RUN = ("run", "snippets", "--space", "notebook", "--trials", "3", "--epochs", "1", "--name", "quick", "--seed", "1",
       "--set", "hidden_dim=int(16,32)", "--set", "n_layers=1")  # fmt: skip


@pytest.fixture(scope="module")
def searched(command: Command) -> tuple[str, float]:
    """What the search printed, and the bytes of `shared_memory`."""
    with command.start(*RUN, "--workers", "2") as process:
        shared = shared_memory(process)
        out, err = process.communicate()
    assert process.returncode == 0, f"{out}\n{err}"
    return out, shared


def shared_memory(process: "subprocess.Popen[Any]") -> float:
    """Wait for a search; return the bytes of the object store's pages, summed over all processes.

    A page that k processes share counts 1/k in each. It is the median over samples with two workers, or 0 if there were
    none: a process that starts to read during a sample makes the sum too large.
    """
    shared: list[float] = []
    while process.poll() is None:
        if len(descendants(process.pid, "ray::ImplicitFunc")) == 2:
            shared.append(sum(map(object_store_bytes, [psutil.Process(process.pid), *descendants(process.pid)])))
        time.sleep(0.5)
    return statistics.median(shared or [0.0])


def object_store_bytes(process: psutil.Process) -> float:
    """Return the proportional set size of a process in /dev/shm; 0 if it has ended."""
    with contextlib.suppress(psutil.Error):
        return float(sum(each.pss for each in process.memory_maps(grouped=False) if each.path.startswith("/dev/shm/")))
    return 0.0


@pytest.fixture(scope="module")
def said(searched: tuple[str, float]) -> str:
    """What the search printed."""
    return searched[0]


@pytest.fixture(scope="module")
def rows(command: Command, said: str) -> list[dict[str, Any]]:
    """Its table."""
    found: list[dict[str, Any]] = json.loads(command.succeed("best", "quick", "--format", "json"))
    assert [row["trial"] for row in found[-3:]] == ["ensemble", "plain", "major"]
    assert found[-2]["val_accuracy"] > 0.6
    return found[:-3]


@pytest.fixture(scope="module")
def model(command: Command, said: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The retrained best trial, and what that printed."""
    out = tmp_path_factory.mktemp("models") / "model"
    return out, command.succeed("retrain", "quick", "--out", str(out))


def test_run_shows_baseline_progress_table_and_the_next_command(said: str) -> None:
    assert "always predicting 'negative' is correct in val 50.4%" in said
    assert "3/3 trials: " in said or "2/3 trials: " in said
    assert "best so far: 0." in said
    assert "* the baseline: two LSTM layers of width 128, not tuned" in said
    recommended = re.search(r"Trial (\d+) is recommended", said)
    assert recommended is not None
    steps = (f"retrain quick --trial {recommended[1]}", "ensemble quick")
    longer = "the plain baseline is better than the best trial; run more trials, or more epochs under another name"
    ends = [*(f"next: python -m tuning {step}" for step in steps), longer]
    assert " ".join(said.split()).endswith(tuple(ends))


@pytest.mark.skipif(available_cpus() < 2, reason="a search on one core has one worker")
@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="only Linux tells proportional set sizes")
def test_two_workers_hold_one_copy_of_the_corpus_in_all(searched: tuple[str, float]) -> None:
    """Pages of Ray's object store, over the driver, Ray's processes and both workers."""
    _, shared = searched
    corpus = load_corpus("snippets")
    assert 0.5 * corpus.n_bytes <= shared <= 1.5 * corpus.n_bytes


def test_a_short_search_learns_more_than_the_majority(rows: list[dict[str, Any]]) -> None:
    assert rows[0]["val_accuracy"] > 0.6


def test_the_same_command_again_trains_nothing(command: Command, said: str) -> None:
    journal = command.results / "quick" / JOURNAL
    before = journal.read_bytes()
    again = command.train_here(*RUN)
    assert "study quick is complete: 3 trials" in again
    assert "* the baseline: two LSTM layers of width 128, not tuned" in again
    assert journal.read_bytes() == before


def test_retrain_proves_itself_and_saves_a_model(model: tuple[Path, str], rows: list[dict[str, Any]]) -> None:
    folder, text = model
    best = rows[0]
    assert f"REPRODUCED {best['epochs']}/{best['epochs']} epochs" in text
    assert f"val  accuracy {best['val_accuracy']:.4f} on 1057 sentences" in text
    assert "test accuracy 0." in text
    assert {"model.safetensors", "config.json", "vocabulary.json", "labels.json", "card.md", "metrics.json"} <= {
        path.name for path in folder.iterdir()
    }
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["val_accuracy"] == best["val_accuracy"]


def test_the_page_says_who_trained_what_and_shows_the_rows_of_the_table(
    command: Command, model: tuple[Path, str]
) -> None:
    attributes, records = read_study(command.results / "quick")
    assert attributes["command"].startswith("python -m tuning run ")
    assert attributes["audit"]["sentences"] == 10_568
    assert all(record.started and record.ended and record.started <= record.ended for record in records)
    assert all((record.segments[-1].worker or "").count("/") == 1 for record in records)
    command.succeed("report", "quick", "--out", "page.html")
    text = (command.results / "page.html").read_text()
    best = json.loads(command.succeed("best", "quick", "--state", "all", "--format", "json"))
    shown = Page(text).rows
    assert [row["trial"] for row in shown] == [row["trial"] for row in best]
    assert [row["val_accuracy"] for row in shown] == pytest.approx([row["val_accuracy"] for row in best], abs=1e-5)
    assert '<table id="errors">' in text


def test_predict_labels_any_text(command: Command, model: tuple[Path, str]) -> None:
    folder, _ = model
    lines = ["a gorgeous, witty, seductive movie", "zzqx", "", "dull " * 5000]
    one = command.succeed("predict", str(folder), *lines[:2]).splitlines()
    label, probability, text = one[0].split("\t")
    assert label in ("negative", "positive")
    assert 0.5 <= float(probability) <= 1
    assert text == lines[0]
    piped = command.succeed("predict", str(folder), "--file", "-", stdin="\n".join(lines) + "\n").splitlines()
    assert len(piped) == 4
    assert piped[:2] == one
    file = folder.parent / "lines.txt"
    file.write_bytes("\n".join(lines).encode() + b"\n\xff broken utf-8")
    assert command.succeed("predict", str(folder), "--file", str(file)).splitlines()[:4] == piped
