"""Do the intervals of a search hold if a class has few validation sentences?

    python -m benchmarks.quality.rare_classes            200 searches of each case: 20 minutes of processor time
    python -m benchmarks.quality.rare_classes --quick    3 of each: shows that it works, not what holds

A simulated model gives a sentence a logit for each class: the log of its share, noise, and for the sentence's own class
a strength besides. Half of the noise's variance is the sentence's: models err on the same ones. The trials of a search
differ in their strength for each class. Each is judged on the same sentences by every metric, with the code of
`sentune best`. Its true value is that on about POPULATION other sentences with the same shares of the classes.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.selection_bias import covers, mean_of, parse, record, share_of, study
from benchmarks.results import process_pool, table_head, table_row
from core.config import TrialConfig
from core.log_odds import round_log_odds, to_probabilities
from core.metrics import METRICS
from tuning.analysis.assessment import assess
from tuning.journal.probabilities import epoch_name, pack_log_odds, save_probabilities
from tuning.journal.records import rank_trials

TRIALS, POPULATION = 8, 50_000
STRENGTH, DIFFERENCE, NOISE = 3.0, 0.3, 1.5
"""Mean strength, and standard deviations of the strengths of the trials and of the noise, as natural logarithms."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A validation split: some rare classes with equally many sentences; the others share the rest."""

    sentences: int
    classes: int
    rare: int
    """Number of rare classes."""
    smallest: int
    """Sentences of each of them."""

    def counts(self) -> NDArray[np.int64]:
        """Return (C,) sentences of each class; the rare ones are the last."""
        common = self.classes - self.rare
        rest = np.arange(self.sentences - self.rare * self.smallest) % common
        return np.concatenate([np.bincount(rest), np.full(self.rare, self.smallest)])


CASES = (
    Case(sentences=100, classes=2, rare=1, smallest=2),
    Case(sentences=100, classes=2, rare=1, smallest=10),
    Case(sentences=1000, classes=2, rare=1, smallest=10),
    Case(sentences=1000, classes=2, rare=1, smallest=30),
    Case(sentences=300, classes=5, rare=1, smallest=3),
    Case(sentences=300, classes=20, rare=5, smallest=2),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of one search by one metric; differences are in hundredths."""

    single_covered: bool
    """Whether the interval of the baseline, as the only trial, contains its true value."""
    corrected: float
    """Corrected minus true value of the best trial."""
    covered: bool
    """Whether its interval contains the true value."""
    gain_covered: bool | None
    """Whether the interval of its gain over the baseline does; None if it is the baseline."""


def main() -> None:
    arguments = parse(__doc__, "Run 3 searches of each case.", searches=200)
    searches = 3 if arguments.quick else arguments.searches
    print(f"{searches} searches of each case\n")
    print(*table_head(["n", "classes", "rare", "metric", *cells([])]), sep="\n")
    with process_pool(arguments.processes) as pool:
        for case in CASES:
            found = list(pool.map(partial(judge_search, case), range(searches)))
            rare = f"{case.rare} of {case.smallest}"
            for metric in METRICS:
                figures = cells([each[metric] for each in found])
                print(table_row([str(case.sentences), str(case.classes), rare, metric, *figures.values()]), flush=True)


def cells(outcomes: list[Outcome]) -> dict[str, str]:
    """Return the figures of a row by their titles; empty without outcomes."""
    share = partial(share_of, outcomes) if outcomes else str
    mean = partial(mean_of, outcomes) if outcomes else str
    return {
        "one trial: covered": share("single_covered"),
        "best of 8: corrected - true": mean("corrected"),
        "covered": share("covered"),
        "gain: covered": share("gain_covered"),
    }


def judge_search(case: Case, seed: int) -> Mapping[str, Outcome]:
    """Draw a search, and compare its assessment by each metric with the truth."""
    draw, counts = np.random.default_rng([seed, *case.counts()]), case.counts()
    strengths = STRENGTH + DIFFERENCE * draw.normal(size=(TRIALS, case.classes))
    labels = np.repeat(np.arange(case.classes), counts)
    others = np.repeat(labels, POPULATION // case.sentences)
    seen, all_others = (simulated(draw, each, strengths, counts / counts.sum()) for each in (labels, others))
    return {metric: judge(metric, labels, seen, others, all_others) for metric in METRICS}


def simulated(
    draw: np.random.Generator, labels: NDArray[np.int64], strengths: NDArray[np.float64], shares: NDArray[np.float64]
) -> list[Any]:
    """Return for each trial the rounded log-odds (n, C - 1) that it gives n sentences."""
    size = (len(labels), len(shares))
    common, place = draw.normal(size=size), (np.arange(len(labels)), labels)
    found = []
    for strength in strengths:
        logits = np.log(shares) + NOISE * (common + draw.normal(size=size)) / np.sqrt(2)
        logits[place] += strength[labels]
        found.append(round_log_odds(logits))
    return found


def judge(
    metric: str, labels: NDArray[np.int64], seen: list[Any], others: NDArray[np.int64], elsewhere: list[Any]
) -> Outcome:
    """Assess the search by one metric: `seen` are the trials' log-odds of its sentences, `elsewhere` of the others."""
    config, records = TrialConfig(metric=metric), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, log_odds in enumerate(seen):
            predictions = to_probabilities(log_odds).argmax(axis=1)
            score = METRICS[metric].oriented(value(metric, labels, log_odds))
            loss = value("log_loss", labels, log_odds)
            records.append(record(number, config, predictions[None], [score], [loss]))
            save_probabilities(folder, epoch_name(number, 1), pack_log_odds(log_odds))
        attributes = study(labels, metric, seen[0].shape[1] + 1)
        of = partial(assess, attributes=attributes, folder=folder, ensemble_size=0)
        single, judged = of(records[:1]).corrected, of(records)
    best = rank_trials(records)[0].number
    true, baseline = (value(metric, others, elsewhere[number]) for number in (best, 0))
    gain = METRICS[metric].oriented(true) - METRICS[metric].oriented(baseline)
    if single is None or judged.corrected is None:
        raise ValueError("nothing was assessed")
    return Outcome(
        single_covered=covers(single, baseline),
        corrected=100 * (judged.corrected.value - true),
        covered=covers(judged.corrected, true),
        gain_covered=None if judged.corrected_gain is None else covers(judged.corrected_gain, gain),
    )


def value(metric: str, labels: NDArray[np.int64], log_odds: Any) -> float:
    """Return the metric of log-odds (n, C - 1)."""
    probabilities = to_probabilities(log_odds)
    return METRICS[metric].value(labels, probabilities.argmax(axis=1), probabilities, log_odds.shape[1] + 1)


if __name__ == "__main__":
    main()
