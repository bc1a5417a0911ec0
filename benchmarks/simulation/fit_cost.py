"""How far is the virtual cost of an epoch from recorded seconds?

    python -m benchmarks.simulation.fit_cost --record NAME    measure 40 configurations per space here: three minutes
    python -m benchmarks.simulation.fit_cost                  fit the weights to all recorded machines: seconds

With --record, one second of training gives an estimate of the seconds of an epoch, for random configurations on one
thread in fp32. The data are the rated snippets with vectors glove-50d. results/reference/epoch_seconds.json stores the
estimates by machine. They are processor time, so other work on the machine hardly affects them. The spaces are
`default`, and `notebook` with a hidden size of at most 256.

The fit uses these machines and the curves of benchmarks.simulation.record_curves, which another machine recorded on
2,000 sentences. Non-negative least squares on relative errors gives the weights of tuning.scheduling.virtual_cost. A
machine that is twice as fast with every configuration changes no decision. Each machine but the first therefore has a
factor, which is fitted too. The script prints the weights and, for each machine, the standard deviation of
log(cost / seconds) with the new weights and with those in the code.
"""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import new_parser, table_head
from benchmarks.simulation.curves import CURVES
from benchmarks.simulation.recording import read_recording
from core.config import TrialConfig
from tuning.scheduling.samplers import random_params
from tuning.scheduling.virtual_cost import WEIGHTS, CorpusShape, cost_terms
from tuning.space.load import load_space

SECONDS = CURVES.with_name("epoch_seconds.json")
SPACES = {"default": [], "notebook": ["hidden_dim=int(16,256,log)"]}
CONFIGS = 40
"""Number of configurations per space."""
Sample = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The terms of the cost (n, 7) and the seconds of an epoch (n,)."""


def record() -> list[dict[str, Any]]:
    """Return configurations and the seconds of an epoch of each, measured here."""
    import torch

    from core import load_corpus
    from tuning.resources.profiling import measure_epoch_seconds

    torch.set_num_threads(1)
    corpus = load_corpus("snippets", vectors="glove-50d")
    found = []
    for name, changes in SPACES.items():
        space = load_space(name, changes)
        for number, params in enumerate(random_params(space, 0, CONFIGS)):
            config = space.to_config(params)
            took = measure_epoch_seconds(config, corpus, "cpu", 1.0, clock=time.process_time)
            found.append({"space": name, "config": config.to_dict(), "seconds": round(took, 4)})
            print(f"{name} {number}: {took:.2f} s", flush=True)
    return found


def samples() -> Iterator[tuple[str, Sample]]:
    """Yield the name and the measurements of each machine."""
    from benchmarks.simulation.record_curves import small_corpus
    from core import load_corpus

    shape = CorpusShape.of(load_corpus("snippets", vectors="glove-50d"))
    for name, found in read_seconds().items():
        yield name, sample(found, shape)
    curves = read_recording(CURVES)
    yield (
        "that of curves.json.gz",
        sample(curves["curves"], CorpusShape.of(small_corpus(curves["sentences"], curves["seed"]))),
    )


def read_seconds() -> dict[str, Any]:
    """Return the measurements by machine."""
    return dict(json.loads(SECONDS.read_text()))


def sample(found: Sequence[dict[str, Any]], shape: CorpusShape) -> Sample:
    """Return the terms and the seconds of measurements on a corpus."""
    terms = [cost_terms(TrialConfig.from_dict(each["config"]), shape) for each in found]
    return np.array(terms), np.array([each["seconds"] for each in found])


def fit(machines: Sequence[Sample]) -> NDArray[np.float64]:
    """Return the weights (7,) with the smallest sum of squares of cost / seconds - 1, none of them negative.

    The scale of each machine is free: it is fitted in turn with the weights, and the first machine's stays 1.
    """
    from scipy.optimize import nnls

    scales = np.ones(len(machines))
    weights = np.array(WEIGHTS)
    for _ in range(50):
        rows = np.concatenate(
            [scale * terms / seconds[:, None] for scale, (terms, seconds) in zip(scales, machines, strict=True)]
        )
        weights = nnls(rows, np.ones(len(rows)))[0]
        for at, (terms, seconds) in enumerate(machines[1:], 1):
            relative = terms @ weights / seconds
            scales[at] = relative.sum() / (relative**2).sum()
    return weights


def spread(measured: Sample, weights: NDArray[np.float64]) -> float:
    """Return the standard deviation of log(cost / seconds)."""
    terms, seconds = measured
    return float(np.log(terms @ weights / seconds).std())


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--record", metavar="NAME", help="Measure on this machine and store it under NAME.")
    if machine := parser.parse_args().record:
        machines = read_seconds() | {machine: record()}
        SECONDS.write_text(
            "{\n"
            + ",\n".join(
                f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(each) for each in found) + "\n]"
                for name, found in machines.items()
            )
            + "\n}\n"
        )
    found = dict(samples())
    weights = fit(list(found.values()))
    print(f"WEIGHTS = ({', '.join(f'{weight:.3g}' for weight in weights)})")
    spreads = ("standard deviation of log(cost / seconds)", "with the weights in the code")
    print("", *table_head(("machine", "configurations", *spreads)), sep="\n")
    for name, measured in found.items():
        now, before = (spread(measured, each) for each in (weights, np.array(WEIGHTS)))
        print(f"| {name} | {len(measured[1])} | {now:.2f} | {before:.2f} |")


if __name__ == "__main__":
    main()
