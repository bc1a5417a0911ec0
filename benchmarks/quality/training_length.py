"""How many training sentences should a trial see, on data of different sizes?

    SENTUNE_DATA=DIR python -m benchmarks.quality.training_length    12 configurations on each set: hours on two cores
    SENTUNE_DATA=DIR python -m benchmarks.quality.training_length --sets trec --configurations 1
    python -m benchmarks.quality.training_length --table             the table of all results so far
    python -m benchmarks.quality.training_length --quick             one small set, 2 epochs, no record

Random configurations of the space `quick` are trained until they have seen 260,000 training sentences. Their learning
rate is constant, so a shorter training is the beginning of a longer one. Split, vectors and precision are those of
benchmarks.portfolio.record. All sets train the first configuration, then all train the second one, and so on. Each
training is one line of RESULTS. The same command continues with what is missing. On a processor with another
precision it trains all again, and the table has the last result of each configuration.

For a number of sentences, a configuration counts with the test accuracy of the best validation epoch so far. `mean` is
the mean over the configurations, and `best` is the configuration with the best validation epoch. The last column is
the number of passes at the last length.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.inputs.labelled_sets import SETS
from benchmarks.portfolio.record import corpus_of, record
from benchmarks.results import REFERENCE, Result, measure_missing, new_parser, read_results, table_head
from core.data.corpus import TRAIN
from core.nn.environment import gains_from_bf16
from tuning.scheduling.samplers import derive_seed, random_params
from tuning.space.load import load_space

RESULTS = REFERENCE / "training_length.jsonl"
LENGTHS = (17_000, 35_000, 70_000, 140_000, 260_000)
"""Training sentences seen; a training ends after the last."""
VECTORS = "glove-50d"
SEED = 42

Curve = Sequence[tuple[float, float, float]]
"""Validation accuracy, validation loss and test accuracy of each epoch."""


def main() -> None:
    parser = new_parser(__doc__, "One set, one configuration, 2 epochs, no record.")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="Datasets (default: all seven).")
    parser.add_argument("--configurations", type=int, default=12, help="Configurations for each set (default: 12).")
    parser.add_argument("--processes", type=int, default=2, help="Number of processes of one thread (default: 2).")
    parser.add_argument("--table", action="store_true", help="Only print the table.")
    arguments = parser.parse_args()
    if arguments.quick:
        (job,) = trainings(["amazon"], 1)
        print(json.dumps(record({**job, "config": {**job["config"], "epochs": 2}}, VECTORS)))
        return
    if not arguments.table:
        jobs = trainings(arguments.sets, arguments.configurations)
        measure_missing(RESULTS, jobs, measure, processes=arguments.processes)
    print("\n".join(table(read_results(RESULTS))))


def trainings(names: Sequence[str], count: int) -> Iterator[dict[str, Any]]:
    """Yield the arguments of `record`, for the first configuration on all sets, then for the second one, and so on."""
    space, precision = load_space("quick", ["lr_schedule=constant"]), "bf16" if gains_from_bf16("cpu") else "fp32"
    for number in range(count):
        (params,) = random_params(space, derive_seed(SEED, number), 1)
        for name in names:
            epochs = math.ceil(LENGTHS[-1] / len(corpus_of(name, VECTORS).indices(TRAIN)))
            config = space.to_config(params, epochs=epochs, seed=SEED, precision=precision)
            yield {"set": name, "number": number, "config": config.to_dict()}


def measure(job: dict[str, Any]) -> Result:
    """Do one training; return its line of RESULTS."""
    sentences = len(corpus_of(job["set"], VECTORS).indices(TRAIN))
    return {**record(job, VECTORS), "sentences": sentences, "config": job["config"]}


def table(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the rows of a Markdown table of test accuracies in percent; at the end the means over the sets."""
    lengths = (f"{each:,}" for each in LENGTHS)
    yield from table_head(("set", "sentences", "configurations", "figure", *lengths, "passes"))
    means = []
    for name in dict.fromkeys(result["set"] for result in results):
        last = {result["number"]: result for result in results if result["set"] == name}
        found = [result for result in last.values() if result["curve"]]
        sentences = found[0]["sentences"]
        chosen = [[best_so_far(each["curve"], length, sentences) for each in found] for length in LENGTHS]
        figures = {
            "mean": [100 * fmean(test for *_, test in epochs) for epochs in chosen],
            "best": [100 * max(epochs, key=_rank)[2] for epochs in chosen],
        }
        means.append(figures)
        for figure, values in figures.items():
            passes = round(LENGTHS[-1] / sentences)
            yield f"| {name} | {sentences:,} | {len(found)} | {figure} | {_cells(values)} | {passes} |"
    for figure in ("mean", "best") if means else ():
        values = [fmean(column) for column in zip(*(each[figure] for each in means), strict=True)]
        yield f"| all | | | {figure} | {_cells(values)} | |"


def best_so_far(curve: Curve, length: int, sentences: int) -> tuple[float, float, float]:
    """Return the best epoch on validation among those in which about `length` sentences were seen, at least one."""
    return max(curve[: max(1, round(length / sentences))], key=_rank)


def _rank(epoch: tuple[float, float, float]) -> tuple[float, float]:
    return epoch[0], -epoch[1]


def _cells(values: Sequence[float]) -> str:
    return " | ".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    main()
