"""How often does confirm call a setting better that is not?

    python -m benchmarks.quality.confirm_verdicts            2,000 simulated comparisons of each size: a minute
    python -m benchmarks.quality.confirm_verdicts --quick    100 of each: shows that it works, not what holds

Two settings are trained on 3 or 5 seeds and tested on the same n sentences. Their true difference is 0, or drawn from
a normal distribution with a standard deviation of 1 point. Each seed adds a deviation of 0.7 points. Two models
disagree on 15% of the sentences, as LSTMs of one search do. The table compares the verdicts from the seeds alone with
those from seeds and sentences together, which `sentune confirm` reports.
"""

from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import new_parser, table_head, table_row
from core.stats import ALPHA, paired_t

DISAGREEMENT, SEED_DEVIATION, TRUE_DEVIATION = 0.15, 0.007, 0.01
SHARED = 0.6
"""Share of the disagreement of two settings that is the same for all their seeds."""


def main() -> None:
    comparisons = 100 if new_parser(__doc__, "Simulate 100 comparisons of each size.").parse_args().quick else 2000
    groups = ("equal: better", "else: better", "of these with the wrong sign:")
    columns = [title for group in groups for title in (f"{group} by seeds alone", "by both")]
    print(*table_head(["n", "seeds", *columns]), sep="\n")
    for n in (200, 400, 1057):
        for seeds in (3, 5):
            cells = [str(n), str(seeds)]
            draws = [verdicts(np.random.default_rng([n, seeds, at]), n, seeds, 0.0) for at in range(comparisons)]
            cells += [f"{100 * fmean(each[at] != 0 for each in draws):.1f}%" for at in (0, 1)]
            found = []
            for at in range(comparisons):
                draw = np.random.default_rng([n, seeds, at, 1])
                true = draw.normal(0, TRUE_DEVIATION)
                found.append([verdict * np.sign(true) for verdict in verdicts(draw, n, seeds, true)])
            cells += [f"{100 * fmean(each[at] != 0 for each in found):.1f}%" for at in (0, 1)]
            for at in (0, 1):
                reported = [each[at] for each in found if each[at]]
                cells.append(f"{100 * fmean(sign < 0 for sign in reported):.1f}%" if reported else "-")
            print(table_row(cells), flush=True)


def verdicts(draw: np.random.Generator, n: int, seeds: int, true: float) -> tuple[int, int]:
    """Return the sign of the difference that is reported by seeds alone and by both, 0 for none."""
    differences = simulate_answers(draw, n, seeds, true)
    by_seed = differences.mean(axis=1).tolist()
    error = float(differences.mean(axis=0).std(ddof=1)) / n**0.5
    found = paired_t(by_seed), paired_t(by_seed, sentence_error=error, sentences=n)
    alone, both = (int(np.sign(each.mean)) if each.p < ALPHA else 0 for each in found)
    return alone, both


def simulate_answers(draw: np.random.Generator, n: int, seeds: int, true: float) -> NDArray[np.float64]:
    """Return (seeds, n) correct answers of one setting minus those of the other, each -1, 0 or 1."""
    of_seed = true + draw.normal(0, SEED_DEVIATION, (seeds, 1))
    common = draw.random(n) < SHARED  # sentences on which the difference is the same for all seeds
    chance = np.where(common, draw.random(n), draw.random((seeds, n)))
    ahead, behind = (DISAGREEMENT + of_seed) / 2, (DISAGREEMENT - of_seed) / 2
    return np.where(chance < ahead, 1.0, np.where(chance > 1 - behind, -1.0, 0.0))


if __name__ == "__main__":
    main()
