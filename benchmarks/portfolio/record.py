"""Record learning curves of the same configurations on seven datasets.

    SENTUNE_DATA=DIR python -m benchmarks.portfolio.record         200 configurations, two processes: hours
    SENTUNE_DATA=DIR python -m benchmarks.portfolio.record --configurations 2 --sets trec --out /tmp/p.json.gz

The first configuration is the baseline. Of the others, two thirds are drawn at random from default.yaml and one third
from quick.yaml, with capped hidden size. These files hold the presets as they were when the recording began, so that it
can continue after a preset has changed. Those whose epoch costs more than `--cost` epochs of the baseline are drawn
again: without that, 3 of 8 configurations took 70% of the time.

Each set has one fixed split 80/10/10, and each training has the number of epochs that `--epochs auto` chooses for the
set. The curve has for each epoch the validation accuracy, the validation loss and the test accuracy. Seconds are
processor time of an epoch on one thread, without the test split. The precision is bf16 where the processor has it, so a
recording that several machines continue has both.

All sets train the first configuration, then all train the second one, and so on. Finished trainings are kept in
OUT.part. After an interruption, the same command continues. It can be given fewer configurations, to write the file
with those that are finished on every set, or later more, which adds to the file.
"""

import argparse
import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.inputs.labelled_sets import SETS, read_set, write_fold
from benchmarks.results import REFERENCE, new_parser
from benchmarks.simulation.recording import record_all, write_recording
from core.config import TrialConfig
from core.data.corpus import TEST, Corpus
from core.data.load import load_corpus
from core.data.vocabulary import MAX_WORDS
from core.errors import TrainingError
from core.nn.environment import gains_from_bf16
from tuning.scheduling.samplers import derive_seed, random_params
from tuning.scheduling.training_length import training_length
from tuning.scheduling.virtual_cost import CorpusShape, epoch_cost
from tuning.space.initial_trials import initial_trials
from tuning.space.load import load_space
from tuning.space.space import Space

OUT = REFERENCE / "portfolio_curves.json.gz"
SPACES = ("default", "default", "quick")
"""The spaces of configurations 1, 2, 3, then 4, 5, 6, and so on."""
MR_SHAPE = CorpusShape(sentences=8530, words=8530 * 22, vocabulary=18000, embedding_dim=50, classes=2)


def main() -> None:
    arguments = parse()
    about = {
        "vectors": arguments.vectors,
        "vocabulary": MAX_WORDS,  # a recording of models that know the words of train alone is not continued
        "hidden": arguments.hidden,
        "cost": arguments.cost,
        "seed": arguments.seed,
    }
    found = list(configurations(arguments.configurations, arguments.hidden, arguments.cost, arguments.seed))
    shared = {"seed": arguments.seed, "precision": "bf16" if gains_from_bf16("cpu") else "fp32"}
    train = partial(record, vectors=arguments.vectors)
    jobs = list(trainings(found, arguments.sets, arguments.vectors, shared))
    curves = record_all(arguments.out, about, jobs, ("set", "number", "epochs"), train, arguments.processes)
    content = {
        **about,
        "sets": {name: {"epochs": epochs_of(name, arguments.vectors)} for name in arguments.sets},
        "spaces": {name: capped(name, arguments.hidden).to_dict() for name in dict.fromkeys(SPACES)},
        "configurations": found,
        "curves": curves,
    }
    write_recording(arguments.out, "benchmarks.portfolio.record", content)


def capped(name: str, hidden: int) -> Space:
    """Return one of the two spaces with a capped hidden size, so that the trainings are short."""
    file = str(Path(__file__).with_name(f"{name}.yaml"))
    (size,) = (each.distribution for each in load_space(file).dimensions if each.name == "hidden_dim")
    return load_space(file, [f"hidden_dim=int({size.low},{min(size.high, hidden)},log)"])  # type: ignore[attr-defined]


def configurations(count: int, hidden: int, cost: float, seed: int) -> Iterator[dict[str, Any]]:
    """Yield settings, each with the space that it was drawn from: the baseline and random ones."""
    spaces = {name: capped(name, hidden) for name in SPACES}
    baseline = initial_trials(spaces["default"])[0]
    yield {"space": None, "settings": baseline}
    limit = cost * relative_cost(baseline)
    for number in range(1, count):
        name = SPACES[(number - 1) % len(SPACES)]
        draws = (random_params(spaces[name], derive_seed(seed, number), count)[-1] for count in itertools.count(1))
        settings = (spaces[name].to_config(params).to_dict() for params in draws)
        chosen = ({key: each[key] for key in baseline} for each in settings)
        yield {"space": name, "settings": next(each for each in chosen if relative_cost(each) <= limit)}


def relative_cost(settings: Mapping[str, Any]) -> float:
    """Return the modelled cost of an epoch on sentences like MR's, as the search's virtual clock counts it."""
    return epoch_cost(TrialConfig.from_dict(settings), MR_SHAPE)


def trainings(
    found: Sequence[dict[str, Any]], sets: Sequence[str], vectors: str, shared: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the trainings of the first configuration on all sets, then those of the second one, and so on."""
    for number, configuration in enumerate(found):
        for name in sets:
            epochs = epochs_of(name, vectors)
            config = {**configuration["settings"], **shared, "epochs": epochs}
            yield {"set": name, "number": number, "epochs": epochs, "config": config}


def record(job: dict[str, Any], vectors: str) -> dict[str, Any]:
    """Train one configuration on one set; a loss that is not finite ends its curve early."""
    from benchmarks.inputs.trained_epochs import trained_epochs
    from core.training.evaluate import evaluate

    config, corpus = TrialConfig.from_dict(job["config"]), corpus_of(job["set"], vectors)
    curve: list[tuple[float, float, float]] = []
    seconds = 0.0
    before = time.process_time()
    with contextlib.suppress(TrainingError):
        for weights, found in trained_epochs(config, corpus):
            seconds += time.process_time() - before
            test = evaluate(config, weights, corpus, TEST)
            curve.append((round(found.accuracy, 5), round(found.loss, 4), round(test.accuracy, 5)))
            before = time.process_time()
    return {
        "set": job["set"],
        "number": job["number"],
        "epochs": config.epochs,
        "precision": config.precision,
        "curve": curve,
        "seconds": round(seconds / max(1, len(curve)), 4),
    }


@cache
def corpus_of(name: str, vectors: str) -> Corpus:
    """Return a set with its fixed split; a forked process has the corpora of its parent."""
    with tempfile.TemporaryDirectory(prefix="sentune-portfolio-") as folder:
        file = Path(folder, f"{name}.csv")
        write_fold(file, read_set(name), fold=0)
        return load_corpus(str(file), split_column="split", vectors=vectors)


def epochs_of(name: str, vectors: str) -> int:
    """Return the number of epochs that `--epochs auto` chooses for a set."""
    return training_length(None, None, corpus_of(name, vectors).pass_sentences(), recorded=None).epochs


def parse() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--configurations", type=int, default=200, help="Number of configurations (default: 200).")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="Datasets (default: all seven).")
    parser.add_argument("--vectors", default="glove-50d", help="Word vectors (default: glove-50d).")
    parser.add_argument("--hidden", type=int, default=256, help="Maximum hidden size (default: 256).")
    parser.add_argument("--cost", type=float, default=1.5, help="Maximum cost in baseline epochs (default: 1.5).")
    parser.add_argument("--seed", type=int, default=42, help="Seed of the draws and of the training (default: 42).")
    parser.add_argument("--processes", type=int, default=2, help="Number of processes of one thread (default: 2).")
    parser.add_argument("--out", type=Path, default=OUT, help="File of the curves.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
