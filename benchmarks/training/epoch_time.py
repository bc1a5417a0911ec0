"""How much faster is an epoch than in the tutorial notebook's loop?

    python -m benchmarks.training.epoch_time            5 epochs of each, about 25 minutes on two cores
    python -m benchmarks.training.epoch_time --quick    1 epoch of a and d without warm-up: shows that it works

The data are MR if the folder SENTUNE_DATA has its archive, otherwise the snippets. An epoch is training and validation,
on one thread. The notebook's loop and sentune alternate epoch by epoch in two processes, so a machine whose speed
drifts affects both. After one epoch of warm-up each, medians are compared. The floor is the time of an epoch's matrix
products at the speed of a large one. Case d alternates two trials in two processes with the notebook's loop on two
threads. Use an idle machine.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.pool import Pool
from multiprocessing.synchronize import Barrier

import torch

from benchmarks.baselines.notebook_loop import NotebookLoop, Shape
from benchmarks.inputs.labelled_sets import mr_or
from benchmarks.results import new_parser, verdict
from core import load_corpus
from core.config import TrialConfig
from core.data.corpus import Corpus
from core.nn.model_size import multiplications_per_word
from core.training.loop import train
from core.training.result import EpochResult

TARGETS = {"a": 4.5, "a-bf16": 6.0, "d": 5.0}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One setting that is compared with the baseline."""

    title: str
    vectors: str
    shape: Shape
    precision: str = "fp32"

    def config(self, epochs: int) -> TrialConfig:
        """Return the same setting as a configuration of sentune."""
        return TrialConfig.notebook(epochs=epochs, precision=self.precision, **asdict(self.shape))


NOTEBOOK = Shape()
CASES = {
    "a": Case(title="notebook's run: random 300-wide, trained", vectors="none", shape=NOTEBOOK),
    "a-bf16": Case(title="the same in bf16", vectors="none", shape=NOTEBOOK, precision="bf16"),
    "b": Case(
        title="GloVe-50 frozen, 128, 2 layers, two directions",
        vectors="glove-50d",
        shape=Shape(freeze_embedding=True, bidirectional=True),
    ),
    "c": Case(title="GloVe-50 trained, 256, 1 layer", vectors="glove-50d", shape=Shape(hidden_dim=256, n_layers=1)),
}


def main() -> None:
    quick = new_parser(__doc__, "Train one epoch of the cases a and d.").parse_args().quick
    epochs, cases = (1, ["a"]) if quick else (5, list(CASES))
    torch.set_num_threads(1)
    dataset = mr_or("snippets")
    print(
        f"{dataset.split(':')[0]}, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}\n", flush=True
    )
    for name in cases:
        alone(name, CASES[name], dataset, epochs)
    both_cores(load_corpus(dataset, vectors="none"), dataset, epochs)


def alone(name: str, case: Case, dataset: str, epochs: int) -> None:
    """Compare one setting with the baseline, one thread each, in turn."""
    corpus = load_corpus(dataset, vectors=case.vectors)
    ours, theirs = [], []
    with Pool(1, context=multiprocessing.get_context("spawn")) as elsewhere:
        elsewhere.apply(start_baseline, (case.shape, dataset, case.vectors))

        def in_turn(epoch: EpochResult) -> None:
            ours.append(epoch.seconds)
            theirs.append(elsewhere.apply(baseline_epoch))

        first = min(1, epochs - 1)  # the first epoch of more than one is warm-up
        train(case.config(first + epochs), corpus, report=in_turn)
    theirs, ours = theirs[first:], ours[first:]
    ratios = [old / new for old, new in zip(theirs, ours, strict=True)]
    old, new = statistics.median(theirs), statistics.median(ours)
    print(f"({name}) {case.title}")
    ratio = f"{statistics.median(ratios):.2f}x{claim(name, ratios)}"
    print(f"    notebook {old:.2f} s, sentune {new:.2f} s an epoch: {ratio}")
    print(f"    pairs {min(ratios):.2f} to {max(ratios):.2f}")
    work, peak = gflop(case.config(1), corpus), peak_gflops(case.precision)
    print(f"    {work:.0f} GFLOP an epoch, {work / new:.0f} per second; a large matrix product has {peak:.0f}")
    print(f"    floor {work / peak:.2f} s, {work / peak / new:.0%} of an epoch", flush=True)


def gflop(config: TrialConfig, corpus: Corpus) -> float:
    """Return the 10^9 operations of an epoch's matrix products; a backward pass has twice those of a forward pass."""
    _, trained, evaluated = corpus.epoch_size(None)
    products = multiplications_per_word(config, corpus.embedding_dim) * (3 * trained + evaluated)
    if config.freeze_embedding:  # the word vectors need no gradient
        products -= 4 * config.hidden_dim * config.directions * corpus.embedding_dim * trained
    return 2e-9 * products  # one multiplication and one addition each


def peak_gflops(precision: str) -> float:
    """Return the 10^9 operations per second of a large matrix product on one thread, the median of 30."""
    matrix = torch.randn(1024, 1024).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2e-9 * 1024**3 / statistics.median(seconds)


baselines: list[NotebookLoop] = []
"""The running loop, in the baseline's process."""


def start_baseline(shape: Shape, dataset: str, vectors: str) -> None:
    """Create the notebook's loop in this process."""
    baselines.append(NotebookLoop(shape, load_corpus(dataset, vectors=vectors)))


def baseline_epoch() -> float:
    """Train the loop's next epoch and return its seconds."""
    return baselines[0].epoch()[0]


def claim(name: str, ratios: list[float]) -> str:
    """Return whether the median reaches the target, or nothing if there is no target; --quick has one ratio."""
    if name not in TARGETS:
        return ""
    end = verdict(statistics.median(ratios) >= TARGETS[name], conclusive=len(ratios) > 1)
    return f", at least {TARGETS[name]:g}x claimed: {end}"


def both_cores(corpus: Corpus, dataset: str, epochs: int) -> None:
    """Compare two parallel trials of sentune with the notebook's loop on two threads, in turn."""
    baseline = NotebookLoop(NOTEBOOK, corpus, threads=2)
    if epochs > 1:
        baseline.epoch()  # warm-up
    theirs, rates = [], {"fp32": [], "bf16": []}
    for _ in range(3 if epochs > 1 else 1):
        theirs.append(statistics.median(baseline.epoch()[0] for _ in range(max(1, epochs // 2))))
        for precision, found in rates.items():
            found.append(pair(dataset, precision, epochs))
    old = 1 / statistics.median(theirs)
    print("(d) two trials at once on two cores, against the notebook's loop with two threads, epochs per hour")
    for precision, found in rates.items():
        ratio = [rate * seconds for rate, seconds in zip(found, theirs, strict=True)]
        new = statistics.median(found)
        print(
            f"    {precision}: notebook {old * 3600:.0f}, sentune {new * 3600:.0f}: "
            f"{statistics.median(ratio):.2f}x{claim('d', ratio)}",
            flush=True,
        )


def pair(dataset: str, precision: str, epochs: int) -> float:
    """Return the epochs per second of two parallel trials."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2, timeout=300), context.Queue()
    workers = [
        context.Process(target=worker, args=(dataset, precision, epochs, number, barrier, answers.put))
        for number in range(2)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    if any(process.exitcode for process in workers):
        raise SystemExit("a trial died")
    return sum(1 / answers.get() for _ in workers)


def worker(
    dataset: str, precision: str, epochs: int, seed: int, barrier: Barrier, answer: Callable[[float], None]
) -> None:
    """Train the notebook's setting; answer the median seconds of the epochs while the other trial trains too."""
    corpus = load_corpus(dataset, vectors="none")
    seconds: list[float] = []
    barrier.wait()
    # Two extra epochs do not count: the first is warm-up, and the other trial may end during the last.
    train(TrialConfig.notebook(epochs=epochs + 2, precision=precision, seed=seed), corpus,
          report=lambda epoch: seconds.append(epoch.seconds))  # fmt: skip
    answer(statistics.median(seconds[1:-1]))


if __name__ == "__main__":
    main()
