"""Record learning curves of real trials for the simulated searches.

    python -m benchmarks.simulation.record_curves    200 trials of 12 epochs on 2,000 sentences, two processes
    python -m benchmarks.simulation.record_curves --trials 4 --epochs 2 --out /tmp/c.json.gz    to try it

Half of the trials are drawn at random from the `notebook` space, half from `default`, with capped hidden size; the
first trial of each is the baseline setting. They are trained on a stratified part of the training split of `snippets`
and evaluated on its whole validation split. Finished trials are kept in OUT.part, one trial per line; after an
interruption, the same command continues from there. The result is one compressed JSON file that contains the command;
the same command gives the same curves. Seconds are processor time of the one thread, so other work on the machine does
not affect them.
"""

import argparse
import contextlib
import dataclasses
import gzip
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.errors import TrainingError
from core.io.atomic import atomic_write
from tuning.scheduling.samplers import derive_seed, random_params
from tuning.space.initial_trials import initial_trials
from tuning.space.load import load_space
from tuning.space.space import Space

SPACES = ("notebook", "default")


def main() -> None:
    arguments = parse()
    part = arguments.out.with_name(f"{arguments.out.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    about = {name: getattr(arguments, name) for name in ("trials", "epochs", "sentences", "hidden", "seed")}
    done = {(trial["space"], trial["number"]): trial for trial in kept(part, about)}
    waiting = [job for job in jobs(arguments) if (job["space"], job["number"]) not in done]
    print(f"{len(done)} trials finished, {len(waiting)} left", flush=True)
    with ProcessPoolExecutor(arguments.processes) as pool, part.open("a") as file:
        futures = [pool.submit(record, job, arguments.sentences, arguments.seed) for job in waiting]
        for future in as_completed(futures):
            trial = future.result()
            done[trial["space"], trial["number"]] = trial
            file.write(json.dumps(trial) + "\n")
            file.flush()
            best = max((accuracy for accuracy, _ in trial["curve"]), default=0.0)
            print(f"{len(done)}/{arguments.trials} {trial['space']} {trial['number']}: {best:.4f}, "
                  f"{trial['seconds']:.1f} s per epoch", flush=True)  # fmt: skip
    trials = [done[key] for key in sorted(done)]
    spaces = {name: json.loads(space(name, arguments.hidden).to_json()) for name in SPACES}
    command = f"python -m benchmarks.simulation.record_curves {shlex.join(sys.argv[1:])}".strip()
    content = {"command": command, **about, "spaces": spaces, "curves": trials}
    atomic_write(arguments.out, gzip.compress(json.dumps(content).encode(), mtime=0))
    part.unlink()
    print(f"{arguments.out}: {len(trials)} curves, {arguments.out.stat().st_size:,} bytes")


def kept(part: Path, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the trials of an interrupted run; a partial last line and another command's file are dropped."""
    lines = part.read_text().splitlines(keepends=True) if part.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith("\n")]
    if not whole or whole[0] != about:
        whole = [about]
    part.write_text("".join(json.dumps(line) + "\n" for line in whole))
    yield from whole[1:]


def space(name: str, hidden: int) -> Space:
    """Return a preset with capped hidden sizes, so that the trials are short."""
    return load_space(name, [f"hidden_dim=int(16,{hidden},log)"])


def jobs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the configurations: the baseline setting and random ones, half from each space."""
    settings = {"epochs": arguments.epochs, "seed": arguments.seed}
    for number in range(arguments.trials // len(SPACES)):
        for name in SPACES:
            searched = space(name, arguments.hidden)
            entropy = derive_seed(arguments.seed, number, SPACES.index(name))
            (params,) = random_params(searched, entropy, 1)
            config = searched.to_config(params, **settings)
            if number == 0:
                config = TrialConfig.from_dict({**initial_trials(searched)[0], **settings})
            yield {"space": name, "number": number, "config": config.to_dict()}


def record(job: dict[str, Any], sentences: int, seed: int) -> dict[str, Any]:
    """Train one configuration; a NaN loss ends its curve early."""
    from core.training.loop import train

    curve: list[tuple[float, float]] = []
    corpus = small_corpus(sentences, seed)
    before = time.process_time()
    with contextlib.suppress(TrainingError):
        train(
            TrialConfig.from_dict(job["config"]),
            corpus,
            report=lambda epoch: curve.append((round(epoch.val_accuracy, 6), round(epoch.val_loss, 5))),
        )
    return {**job, "curve": curve, "seconds": round((time.process_time() - before) / max(1, len(curve)), 4)}


@cache
def small_corpus(sentences: int, seed: int) -> Corpus:
    """Return the snippets with `sentences` training sentences, stratified, and only the words in them."""
    from core.data.load import load_corpus

    corpus = load_corpus("snippets", seed=42)
    return part_of(corpus, np.concatenate([chosen(corpus, sentences, seed), corpus.indices(VAL)]))


def chosen(corpus: Corpus, sentences: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return training sentences (n,), stratified by class."""
    train = np.random.default_rng(seed).permutation(corpus.indices(TRAIN))
    share = min(1.0, sentences / len(train))
    groups = [train[corpus.labels[train] == label] for label in range(len(corpus.classes))]
    return np.sort(np.concatenate([group[: round(len(group) * share)] for group in groups]))


def part_of(corpus: Corpus, sentences: np.ndarray[Any, np.dtype[np.int64]]) -> Corpus:
    """Return a corpus of some sentences of another, with a vocabulary of the words in them."""
    lengths = corpus.lengths()[sentences]
    tokens = np.concatenate([corpus.tokens[corpus.offsets[i] : corpus.offsets[i + 1]] for i in sentences])
    words = np.union1d(tokens, [0, 1])  # <pad> and <unk> stay first
    return dataclasses.replace(
        corpus,
        tokens=np.searchsorted(words, tokens).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=corpus.labels[sentences],
        split=corpus.split[sentences],
        words=tuple(corpus.words[i] for i in words),
        vectors=None if corpus.vectors is None else np.array(corpus.vectors[words]),
        fingerprint=f"{corpus.fingerprint}, {len(sentences)} sentences",
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trials", type=int, default=200, help="Total number of trials, half from each space (default: 200)."
    )
    parser.add_argument("--epochs", type=int, default=12, help="Number of epochs per trial (default: 12).")
    parser.add_argument("--sentences", type=int, default=2000, help="Number of training sentences (default: 2,000).")
    parser.add_argument("--hidden", type=int, default=128, help="Maximum hidden size (default: 128).")
    parser.add_argument("--seed", type=int, default=42, help="Seed of the draws and of the training (default: 42).")
    parser.add_argument("--processes", type=int, default=2, help="Number of processes of one thread (default: 2).")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "results/reference/curves.json.gz")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
