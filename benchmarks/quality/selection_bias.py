"""Is the corrected accuracy of a search's best trial free of selection bias?

    python -m benchmarks.quality.selection_bias                200 simulated searches of each kind, and one on MR
    python -m benchmarks.quality.selection_bias --quick        20 of each, and 4 small trials: shows that it works
    python -m benchmarks.quality.selection_bias --simulated    only the simulated searches

The tables compare the raw, the corrected and the test accuracy of the best trial with its true accuracy.

Simulated: 30 trials of known accuracy on 400 validation sentences, with 400 test sentences. Trials of a kind named
`alike` tend to fail on the same sentences. In the last two kinds, each trial is represented by the best of five equally
good epochs, a choice that the correction ignores.

Real: tpe suggests 40 trials, which are trained on 1,600 sentences of MR and validated on 200. 200 more are the test
split. The other 8,600 sentences of MR give the true accuracy (standard error 0.5 points). The best of the same models
is then chosen again on 200 other validation sets of 200 of these sentences; the sentences not drawn give the true
accuracy. --mr or SENTUNE_MR names the archive of MR; without one it is downloaded.
"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.simulated_searches import Kind, Outcome, covers, outcome, simulated_outcomes
from core.stats import Correct

TRIALS, SENTENCES = 30, 400
KINDS = {
    "one trial": Kind(accuracies=lambda draw: np.full(1, 0.78), shared=0.6),
    "30 equal trials, independent": Kind(accuracies=lambda draw: np.full(TRIALS, 0.78), shared=0.0),
    "30 equal trials, alike": Kind(accuracies=lambda draw: np.full(TRIALS, 0.78), shared=0.6),
    "30 trials of 0.78 +- 0.01, alike": Kind(accuracies=lambda draw: draw.normal(0.78, 0.01, TRIALS), shared=0.6),
    "30 trials of 0.75 +- 0.03, alike": Kind(accuracies=lambda draw: draw.normal(0.75, 0.03, TRIALS), shared=0.6),
    "one trial, best of 5 equal epochs": Kind(accuracies=lambda draw: np.full(1, 0.78), shared=0.6, epochs=5),
    "30 trials of 0.78 +- 0.01, alike, best of 5": Kind(
        accuracies=lambda draw: draw.normal(0.78, 0.01, TRIALS), shared=0.6, epochs=5
    ),
}


def main() -> None:
    arguments = parse()
    searches = 20 if arguments.quick else 200
    print(f"{searches} simulated searches of each kind, {SENTENCES} validation and {SENTENCES} test sentences\n")
    print_head()
    for seed, (name, kind) in enumerate(KINDS.items()):
        print_row(name, simulated_outcomes(searches, kind, sentences=SENTENCES, seed=seed))
    if not arguments.simulated:
        real(arguments, searches)


def print_head() -> None:
    columns = ("search", "raw", "corrected", "test", "true", "raw - true", "corrected - true", "test - true")
    columns += tuple(f"{figure} interval contains the truth" for figure in ("raw", "corrected", "test"))
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns), flush=True)


def print_row(name: str, outcomes: Sequence[Outcome]) -> None:
    """Print means over the searches, differences in points with standard errors, and coverage in percent."""
    means = [statistics.mean(getattr(o, figure) for o in outcomes) for figure in ("raw", "corrected", "test", "true")]
    cells = [name, *(f"{mean:.4f}" for mean in means)]
    for figure in ("raw", "corrected", "test"):
        errors = [100 * (getattr(o, figure) - o.true) for o in outcomes]
        spread = f" +- {statistics.stdev(errors) / len(errors) ** 0.5:.2f}" if len(errors) > 1 else ""
        cells.append(f"{statistics.mean(errors):+.2f}{spread}")
    for figure in ("raw_interval", "corrected_interval", "test_interval"):
        held = [covers(getattr(o, figure), o.true) for o in outcomes]
        cells.append(f"{100 * statistics.mean(held):.0f}%" if len(held) > 1 else "yes" if held[0] else "no")
    print("| " + " | ".join(cells) + " |", flush=True)


def real(arguments: argparse.Namespace, searches: int) -> None:
    """Run the search on MR, then choose among its models on other validation sets."""
    from benchmarks.quality.real_search import search_mr

    began = time.perf_counter()
    trials, epochs = (4, 1) if arguments.quick else (40, 6)
    found = search_mr(arguments.mr, trials=trials, epochs=epochs, seed=arguments.seed)
    seconds = time.perf_counter() - began
    sizes = ", ".join(str(correct.shape[1]) for correct in (found.validation, found.test, found.rest))
    print(f"\nMR: {trials} trials of {epochs} epochs in {seconds:.0f} s; {found.n_train} sentences for training; for "
          f"validation, test and truth {sizes}\n")  # fmt: skip
    print_head()
    true = found.rest.mean(axis=1)
    print_row("the search", [outcome(found.validation, found.test, true.tolist(), 2000, 0)])
    print_row(f"its models, chosen {searches} times", chosen_again(found.rest, found.validation.shape[1], searches))
    print(f"\ntrue accuracy of the {trials} trials: {describe(true)}; "
          f"two of them differ on {100 * disagreement(found.rest):.0f}% of the sentences")  # fmt: skip


def chosen_again(rest: Correct, sentences: int, searches: int) -> list[Outcome]:
    """Choose the best of the same models on other validation sets; sentences in neither split give the truth."""
    found = []
    for search in range(searches):
        order = np.random.default_rng([1, search]).permutation(rest.shape[1])
        validation, test, others = np.split(rest[:, order], [sentences, 2 * sentences], axis=1)
        found.append(outcome(validation, test, others.mean(axis=1).tolist(), 2000, search))
    return found


def describe(values: NDArray[Any]) -> str:
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return f"{low:.4f} to {high:.4f}, median {middle:.4f}"


def disagreement(correct: Correct) -> float:
    """Return the mean fraction of sentences on which exactly one of two trials is correct."""
    share = correct.mean(axis=0)  # (n,) fraction of the trials that are correct
    pairs = len(correct) / max(1, len(correct) - 1)
    return float((2 * share * (1 - share)).mean() * pairs)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="Simulate 20 searches of each kind and run 4 real trials of 1 epoch."
    )
    parser.add_argument("--simulated", action="store_true", help="Skip the search on MR.")
    parser.add_argument("--mr", default=os.environ.get("SENTUNE_MR"), help="Path of the archive or folder of MR.")
    parser.add_argument("--seed", type=int, default=42, help="Seed of the search on MR (default: 42).")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
