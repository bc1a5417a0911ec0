"""How good are the models of other programs that search for the same time?

    SENTUNE_DATA=DIR python -m benchmarks.peers.compare --environments DIR      all programs: about 2.5 hours
    python -m benchmarks.peers.compare --environments DIR --peers fasttext --sets snippets
    python -m benchmarks.peers.compare --table                                  the table of all results so far
    python -m benchmarks.peers.compare --environments DIR --quick               30 s each on 600 sentences, no record

Each program has its own environment in DIR, which is made if it is missing. Its script in scripts/ holds its whole
configuration. Each gets two cores, a time limit and the same files. These are train.csv and val.csv (columns text,
label), test.csv without labels, and tokens and word vectors of the same sentences. sentune runs with `--time-budget`.
The time in a row is that of the whole command. The same command continues with what is missing.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.baselines.sentune_studies import machine
from benchmarks.inputs.labelled_sets import read_set, write_fold
from benchmarks.results import REFERENCE, Result, measure_missing, new_parser, read_results, table_head
from core import load_corpus
from core.data.corpus import SPLIT_NAMES, Corpus

RESULTS = REFERENCE / "peers.jsonl"
SCRIPTS = Path(__file__).parent / "scripts"
REPOSITORY = Path(__file__).parents[2]
SETS = ("snippets", "trec", "mpqa")
FOLD = 2
"""Of ten. The portfolio, with which sentune begins, was chosen by accuracies on folds 0 and 1."""
SECONDS = 300
"""Time limit of a search."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A program that searches."""

    title: str
    script: str
    requirements: Sequence[str]
    """Requirements of its own environment, for pip; empty for the environment of sentune."""
    python: str = "python3"
    """Python that makes the environment."""
    options: Sequence[str] = ()


SENTUNE = {
    "sentune": Peer(title="`sentune run`, `retrain`", script="sentune_peer.py", requirements=()),
    "sentune-ensemble": Peer(
        title="`sentune run`, `ensemble`", script="sentune_peer.py", requirements=(), options=("ensemble",)
    ),
}
PEERS = SENTUNE | {
    "optuna": Peer(title="plain Optuna, TPE and median pruner", script="optuna_peer.py", requirements=()),
    "ray": Peer(title="plain Ray Tune, OptunaSearch and ASHA", script="ray_peer.py", requirements=()),
    "ludwig": Peer(
        title="Ludwig, hyperopt",
        script="ludwig_peer.py",
        requirements=("ludwig[hyperopt,distributed]>=0.17", "torch>=2.11,<2.12", "torchaudio<2.11.1", "optuna>=4.6"),
        python="python3.13",
    ),
    "autogluon": Peer(
        title="AutoGluon, tabular with n-grams",
        script="autogluon_peer.py",
        requirements=("autogluon.tabular[lightgbm,catboost,xgboost]>=1.6",),
    ),
    "flaml": Peer(
        title="FLAML on TF-IDF", script="flaml_peer.py", requirements=("flaml[automl]>=2.3", "setuptools<81")
    ),
    "fasttext": Peer(
        title="fastText, autotune",
        script="fasttext_peer.py",
        requirements=("fasttext-community>=0.11", "numpy", "pandas"),
    ),
}


def main() -> None:
    arguments = parse()
    limit, sentences = (30, 600) if arguments.quick else (SECONDS, None)
    jobs = [{"set": name, "peer": peer, "limit": limit} for name in arguments.sets for peer in arguments.peers]
    run = partial(measure, environments=arguments.environments, sentences=sentences)
    if arguments.quick:
        for job in jobs:
            print(json.dumps(run(job)), flush=True)
        return
    if not arguments.table:
        measure_missing(RESULTS, jobs, run)
    print("\n".join(table(read_results(RESULTS))))


def measure(job: Mapping[str, Any], environments: Path, sentences: int | None) -> Result:
    """Run a peer on a dataset; return its line of RESULTS."""
    python = environment(job["peer"], environments.absolute())
    with tempfile.TemporaryDirectory(prefix="sentune-peer-") as folder:
        truth = write_task(Path(folder), job["set"], sentences)
        found = run_peer(PEERS[job["peer"]], python, Path(folder), job["limit"])
    return {**job, **scores(truth, found), "machine": machine()}


def environment(name: str, folder: Path) -> Path:
    """Return the Python of a peer's environment, which is made if it is missing."""
    peer = PEERS[name]
    if not peer.requirements:
        return Path(sys.executable)
    place = folder / name
    if not (place / "installed").exists():
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([peer.python, "-m", "venv", place], check=True)
        subprocess.run([place / "bin/python", "-m", "pip", "install", "-q", *peer.requirements], check=True)
        (place / "installed").touch()
    return place / "bin/python"


def write_task(folder: Path, name: str, limit: int | None) -> list[str]:
    """Write the files that a peer reads; return the labels of the test sentences.

    Args:
        folder: For all.csv (texts, labels, splits), and for each split its texts, and its tokens separated by spaces.
        name: One of SETS.
        limit: Number of sentences to take; None for all.
    """
    write_fold(folder / "all.csv", read_set(name), FOLD)
    with (folder / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if limit is not None:
        rows = [rows[at] for at in np.random.default_rng(0).permutation(len(rows))[:limit]]
        write_rows(folder / "all.csv", ("text", "label", "split"), rows)
    for split in SPLIT_NAMES:
        columns = ("text",) if split == "test" else ("text", "label")
        write_rows(folder / f"{split}.csv", columns, (row for row in rows if row["split"] == split))
    corpus = load_corpus(str(folder / "all.csv"), split_column="split", vectors="glove-50d")
    write_rows(folder / "tokens.csv", ("text", "label", "split"), tokens_of(corpus))
    write_vectors(folder / "vectors.txt", corpus)
    return [row["label"] for row in rows if row["split"] == "test"]


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def tokens_of(corpus: Corpus) -> Iterator[dict[str, str]]:
    """Yield for each sentence its tokens, separated by spaces, its label and its split."""
    for at, (label, split) in enumerate(zip(corpus.labels.tolist(), corpus.split.tolist(), strict=True)):
        tokens = corpus.tokens[corpus.offsets[at] : corpus.offsets[at + 1]]
        text = " ".join(corpus.words[token] for token in tokens)
        yield {"text": text, "label": corpus.classes[label], "split": SPLIT_NAMES[split]}


def write_vectors(path: Path, corpus: Corpus) -> None:
    """Write the vocabulary's vectors in GloVe's text format."""
    assert corpus.vectors is not None  # glove-50d
    with path.open("w", encoding="utf-8") as file:
        for word, vector in zip(corpus.words, corpus.vectors.tolist(), strict=True):
            file.write(" ".join([word, *(f"{value:.6f}" for value in vector)]) + "\n")


def run_peer(peer: Peer, python: Path, folder: Path, limit: int) -> dict[str, Any]:
    """Run a peer's script in its environment, in the folder of the task."""
    began = time.perf_counter()
    command = [python, SCRIPTS / peer.script, folder, str(limit), *peer.options]
    env = {**os.environ, "OMP_NUM_THREADS": "2", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    if not peer.requirements:
        env["PYTHONPATH"] = str(REPOSITORY)  # otherwise sentune is the installed one, maybe of another checkout
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, cwd=folder, env=env, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{peer.script} failed:\n{done.stdout[-2000:]}\n{(folder / 'log.txt').read_text()[-2000:]}")
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": round(time.perf_counter() - began, 1)}


def scores(truth: Sequence[str], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the record keeps of a peer's answer; without predictions, no trial ended within the limit."""
    kept = {key: found[key] for key in ("seconds", "megabytes", "milliseconds", "trials", "version", "chosen")}
    if found["predictions"] is None:
        return {"test_accuracy": None, "macro_f1": None, **kept}
    guesses = [str(each) for each in found["predictions"]]
    return {
        "test_accuracy": round(float(accuracy_score(truth, guesses)), 5),
        "macro_f1": round(float(f1_score(truth, guesses, average="macro")), 5),
        **kept,
    }


def table(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the rows of a Markdown table, best test accuracy first within a dataset."""
    columns = ("data", "method", "test", "macro-F1", "whole command, s", "trials", "model, MB", "one prediction, ms")
    yield from table_head(columns)
    for name in dict.fromkeys(result["set"] for result in results):
        rows = sorted((r for r in results if r["set"] == name), key=lambda row: -(row["test_accuracy"] or 0))
        for row in rows:
            if row["test_accuracy"] is None:
                method = f"{PEERS[row['peer']].title}, {row['version']}"
                yield f"| {name} | {method} | no trial ended | | {row['seconds']:.0f} | 0 | | |"
                continue
            yield (
                f"| {name} | {PEERS[row['peer']].title}, {row['version']} | {row['test_accuracy']:.2%} "
                f"| {row['macro_f1']:.2%} | {row['seconds']:.0f} | {row['trials'] or ''} | {row['megabytes']:.1f} "
                f"| {row['milliseconds']:.2f} |"
            )


def parse() -> argparse.Namespace:
    parser = new_parser(__doc__, "Search for 30 s on 600 sentences, and keep no record.")
    parser.add_argument("--environments", type=Path, help="Folder for the peers' environments.")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="Programs (default: all).")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, help="Datasets (default: all three).")
    parser.add_argument("--table", action="store_true", help="Only print the table.")
    arguments = parser.parse_args()
    if arguments.environments is None and not arguments.table:
        if any(PEERS[name].requirements for name in arguments.peers):
            parser.error("--environments is missing")
        arguments.environments = Path()
    return arguments


if __name__ == "__main__":
    main()
