"""Record learning curves of real trials for the simulated searches.

    python -m benchmarks.simulation.record_curves    200 trials of 12 epochs, two processes: a quarter of an hour
    python -m benchmarks.simulation.record_curves --trials 4 --epochs 2 --out /tmp/c.json.gz    to try it

Half of the trials are drawn at random from the space `notebook`, half from `default`, with capped hidden size. The
first trial of each is the baseline. They are trained on a stratified part of the training split of `snippets`
(2,000 sentences) and evaluated on its whole validation split. OUT.part keeps finished trials, one per line, and the
same command continues an interrupted recording. The result is one compressed JSON file, which also has the command and
the spaces. Once a preset or the vocabulary has changed, a recording is not continued but starts again. Seconds are
processor time of the one thread, so other work on the machine does not affect them.
"""

import argparse
import contextlib
import time
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs.corpora import part_of_corpus
from benchmarks.results import new_parser
from benchmarks.simulation.curves import CURVES
from benchmarks.simulation.recording import record_all, write_recording
from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.data.vocabulary import MAX_WORDS
from core.errors import TrainingError
from tuning.scheduling.samplers import derive_seed, random_params
from tuning.space.initial_trials import initial_trials
from tuning.space.load import load_space
from tuning.space.space import Space

SPACES = ("notebook", "default")


def main() -> None:
    arguments = parse()
    about = conditions(arguments)
    train = partial(record, sentences=arguments.sentences, seed=arguments.seed)
    trials = record_all(arguments.out, about, jobs(arguments), ("space", "number"), train, arguments.processes)
    trials.sort(key=lambda trial: (trial["space"], trial["number"]))
    write_recording(arguments.out, "benchmarks.simulation.record_curves", {**about, "curves": trials})


def conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what all curves of a recording depend on."""
    return {
        **{name: getattr(arguments, name) for name in ("trials", "epochs", "sentences", "hidden", "seed")},
        "vocabulary": MAX_WORDS,
        "spaces": {name: space(name, arguments.hidden).to_dict() for name in SPACES},
    }


def space(name: str, hidden: int) -> Space:
    """Return a preset with capped hidden sizes, so that the trials are short."""
    return load_space(name, [f"hidden_dim=int(16,{hidden},log)"])


def jobs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the configurations: the baseline and random ones, half from each space."""
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
    return part_of_corpus(corpus, np.concatenate([chosen(corpus, sentences, seed), corpus.indices(VAL)]))


def chosen(corpus: Corpus, sentences: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return training sentences (n,), stratified by class."""
    train = np.random.default_rng(seed).permutation(corpus.indices(TRAIN))
    share = min(1.0, sentences / len(train))
    groups = [train[corpus.labels[train] == label] for label in range(len(corpus.classes))]
    return np.sort(np.concatenate([group[: round(len(group) * share)] for group in groups]))


def parse() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument(
        "--trials", type=int, default=200, help="Total number of trials, half from each space (default: 200)."
    )
    parser.add_argument("--epochs", type=int, default=12, help="Number of epochs per trial (default: 12).")
    parser.add_argument("--sentences", type=int, default=2000, help="Number of training sentences (default: 2,000).")
    parser.add_argument("--hidden", type=int, default=128, help="Maximum hidden size (default: 128).")
    parser.add_argument("--seed", type=int, default=42, help="Seed of the draws and of the training (default: 42).")
    parser.add_argument("--processes", type=int, default=2, help="Number of processes of one thread (default: 2).")
    parser.add_argument("--out", type=Path, default=CURVES, help="File of the curves.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
