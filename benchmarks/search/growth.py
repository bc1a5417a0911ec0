"""How do time and memory grow with the number of trials and of sentences?

    python -m benchmarks.search.growth            10 to 10,000 trials, 10,000 to 1,000,000 sentences: ten minutes
    python -m benchmarks.search.growth --quick    10 trials, 1,000 sentences: shows that it works
    python -m benchmarks.search.growth --only sentences --sizes 10000 100000

Trials are synthetic (benchmarks.inputs.recorded_study): the space `default`, at most 6 epochs, 1,000 validation
sentences. Validation sentences are those of a study of 16 such trials of the space `quick`. Sentences are distinct
combinations of real ones, whose vocabulary grows (benchmarks.inputs.many_sentences). Each step at each size runs in its
own process. Seconds are processor time, and MiB exclude the imports and inputs of the process. Growth is near linear if
ten times the size takes at most 15 times as long, at every size.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from benchmarks.results import new_parser, run_step, table_head, table_row

NEAR_LINEAR = 15
"""Maximum factor for ten times the size."""
STEPS: Mapping[str, Mapping[str, str]] = {
    "trials": {
        "suggestion": "a suggestion (tpe)",
        "opening": "opening the journal in the driver",
        "best": "`best`, as a table, with the ensemble",
        "report": "`report`, with the ensemble",
        "write": "the start of a trial and an epoch written into the journal",  # last, because it changes the study
    },
    "sentences": {
        "prepare": "preparing the data: tokens, split, vocabulary, GloVe vectors, audit",
        "reopen": "opening the prepared data in the cache",
        "epoch": "an epoch and its checkpoint, hidden size 16, one thread",
        "plain": "the plain baseline",
    },
    "validation sentences": {
        "opening": "opening the journal in the driver",
        "best": "`best`, as a table, with the ensemble",
        "report": "`report`, with the ensemble",
    },
}
MAKES = {"trials": "study", "sentences": "sentences", "validation sentences": "outputs"}
"""The step that makes the input of the others."""
SIZES = {
    "trials": (10, 100, 1_000, 10_000),
    "sentences": (10_000, 100_000, 1_000_000),
    "validation sentences": (1_000, 10_000, 100_000),
}
QUICK = {"trials": (10,), "sentences": (1_000,), "validation sentences": (100,)}
UNITS = {"seconds": "s", "mib": "MiB", "page_mb": "page, MB"}


def main() -> None:
    arguments = parse()
    verdicts = []
    for kind in (arguments.only,) if arguments.only else STEPS:
        sizes = arguments.sizes or (QUICK if arguments.quick else SIZES)[kind]
        found = {size: run_steps(kind, size) for size in sizes}
        for step, title in STEPS[kind].items():
            print(f"\n{title[0].upper()}{title[1:]}:\n")
            print("\n".join(table(kind, {size: steps[step] for size, steps in found.items()})), flush=True)
            seconds = [(size, steps[step]["seconds"]) for size, steps in found.items()]
            if len(seconds) > 1:
                verdicts.append(f"{title}: {describe_growth(seconds)}")
    print("\n" + "\n".join(f"- {each}" for each in verdicts))


def run_steps(kind: str, size: int) -> dict[str, dict[str, float]]:
    """Run every step of a kind at one size."""
    with tempfile.TemporaryDirectory(prefix="sentune-growth-") as folder:
        run(MAKES[kind], size, folder)
        return {step: run(step, size, folder) for step in STEPS[kind]}


def run(step: str, size: int, folder: str) -> dict[str, float]:
    """Run a step in a fresh process."""
    found = run_step("benchmarks.search.growth_steps", step, str(size), folder)
    print(f"{step} of {size:,}: {found}", file=sys.stderr, flush=True)  # kept if the run is interrupted
    return found


def table(kind: str, found: Mapping[int, Mapping[str, float]]) -> Iterator[str]:
    """Yield Markdown: a row for each size, and after each number its ratio to the row before."""
    names = list(next(iter(found.values())))
    yield from table_head([kind, *(title for name in names for title in (UNITS[name], "ratio to the row before"))])
    before: Mapping[str, float] = {}
    for size, figures in found.items():
        cells = (f"{format_figure(figures[name])} | {times(figures[name], before.get(name))}" for name in names)
        yield table_row((f"{size:,}", *cells))
        before = figures


def format_figure(value: float) -> str:
    """Format with three significant digits, never as a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.001 else f"{value:.5f}"


def times(value: float, before: float | None) -> str:
    """Format the ratio, as in `9.8`; empty in the first row, and if the row before is 0."""
    return f"{value / before:.1f}" if before else ""


def describe_growth(seconds: Sequence[tuple[int, float]]) -> str:
    """Describe the steepest step between two sizes, converted to a step to ten times the size.

    Args:
        seconds: Pairs of size and seconds in ascending order; at least two.
    """
    steepest = max((b / a) ** (1 / math.log10(large / small)) for (small, a), (large, b) in pairwise(seconds))
    word = "near linear" if steepest <= NEAR_LINEAR else "NOT LINEAR"
    return f"{word} (at most {steepest:.1f} times as long for ten times as many)"


def parse() -> argparse.Namespace:
    parser = new_parser(__doc__, "Use 10 trials, and 1,000 sentences.")
    parser.add_argument("--only", choices=STEPS, help="Measure only one of the three.")
    parser.add_argument(
        "--sizes", type=int, nargs="+", help="Two or more sizes to measure instead of the default; needs --only."
    )
    arguments = parser.parse_args()
    if arguments.sizes and not (arguments.only and len(arguments.sizes) > 1):
        parser.error("--sizes needs --only, and at least two sizes")
    return arguments


if __name__ == "__main__":
    main()
