"""Train LSTMs and keep their outputs after each epoch for 5,000 other sentences."""

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs.corpora import part_of_corpus
from benchmarks.results import process_pool
from core.config import TrialConfig
from core.data.corpus import TRAIN, VAL, Corpus
from core.errors import TrainingError
from core.io.atomic import atomic_file
from core.metrics import METRICS
from core.plain_baseline import validate_plain
from tuning.scheduling.samplers import derive_seed, random_params
from tuning.scheduling.virtual_cost import CorpusShape
from tuning.space.initial_trials import initial_trials
from tuning.space.load import load_space

N_TRAIN, N_OTHERS = 2000, 5000


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedEpochs:
    """T configurations, each trained for E epochs."""

    configs: tuple[TrialConfig, ...]
    """The first is the baseline."""
    labels: NDArray[np.int64]
    """(n,) of the sentences that no model was trained on; two classes."""
    predictions: NDArray[np.uint8]
    """(T, E, n) classes."""
    log_odds: NDArray[np.int16]
    """(T, E, n) of the second class, see core.log_odds."""
    plain_log_odds: NDArray[np.int16]
    """(n,) of the plain baseline, fitted on the same training sentences."""
    shape: CorpusShape


def recorded_epochs(path: Path, *, trials: int, epochs: int, seed: int) -> RecordedEpochs:
    """Return what the file holds; train the models and write it if there is none.

    Args:
        path: Name of the file.
        trials: Number of configurations: the baseline, and random ones of the space `quick` with at most 64
            hidden units.
        epochs: Number of epochs of each.
        seed: Seed of the configurations, of the sentences and of the training.

    Raises:
        SystemExit: The loss of a training is not finite, or the file has other configurations or sentences.
    """
    settings = [config.to_dict() for config in configurations(trials, epochs, seed)]
    corpus = split_corpus(seed)
    if not path.exists():
        with process_pool(2) as pool:
            runs = list(pool.map(_train, settings, repeat(seed)))
        if short := [str(number) for number, run in enumerate(runs) if len(run["predictions"]) < epochs]:
            raise SystemExit(f"the loss of configuration {', '.join(short)} is not finite; choose another seed")
        with atomic_file(path) as file:
            np.savez_compressed(
                file,
                **{name: np.stack([run[name] for run in runs]) for name in ("predictions", "log_odds")},
                plain_log_odds=validate_plain(corpus, METRICS["accuracy"]).log_odds[:, 0],
                labels=corpus.labels[corpus.indices(VAL)],
                configs=json.dumps(settings),
                fingerprint=corpus.fingerprint,
                shape=json.dumps(dataclasses.asdict(CorpusShape.of(corpus))),
            )
    with np.load(path) as kept:
        if (json.loads(str(kept["configs"])), str(kept.get("fingerprint"))) != (settings, corpus.fingerprint):
            raise SystemExit(f"{path} has other configurations or sentences; delete it, so that they are trained again")
        return RecordedEpochs(
            configs=tuple(TrialConfig.from_dict(each) for each in json.loads(str(kept["configs"]))),
            labels=kept["labels"],
            predictions=kept["predictions"],
            log_odds=kept["log_odds"],
            plain_log_odds=kept["plain_log_odds"],
            shape=CorpusShape(**json.loads(str(kept["shape"]))),
        )


def configurations(trials: int, epochs: int, seed: int) -> Sequence[TrialConfig]:
    """Return the baseline and random ones."""
    space = load_space("quick", ["hidden_dim=int(16,64,log)"])
    shared = {"epochs": epochs, "seed": seed}
    found = [TrialConfig.from_dict({**initial_trials(space)[0], **shared})]
    for number in range(1, trials):
        (params,) = random_params(space, derive_seed(seed, number), 1)
        found.append(space.to_config(params, **shared))
    return found


@cache
def split_corpus(seed: int) -> Corpus:
    """Return the rated snippets with N_TRAIN sentences as train and N_OTHERS as validation split."""
    from core.data.load import load_corpus

    corpus = load_corpus("snippets", seed=42)
    order = np.random.default_rng(seed).permutation(len(corpus.labels))
    split = np.full(len(order), VAL, dtype=np.uint8)
    split[order[:N_TRAIN]] = TRAIN
    return part_of_corpus(dataclasses.replace(corpus, split=split), np.sort(order[: N_TRAIN + N_OTHERS]))


def _train(settings: dict[str, Any], seed: int) -> Mapping[str, NDArray[Any]]:
    """Train one configuration; return its predictions (E, n) and log-odds (E, n).

    They are of fewer epochs if the loss is not finite.
    """
    from benchmarks.inputs.trained_epochs import trained_epochs

    epochs = []
    with contextlib.suppress(TrainingError):
        epochs.extend(found for _, found in trained_epochs(TrialConfig.from_dict(settings), split_corpus(seed)))
    return {
        "predictions": np.array([found.predictions for found in epochs], dtype=np.uint8),
        "log_odds": np.array([found.log_odds[:, 0] for found in epochs], dtype=np.int16),
    }
