"""What is known of the test split: how often it was read, and what each trial reached on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.stats import Interval, wilson

Reading = Mapping[str, Any]
"""One entry of the study's user attribute `readings`, which `retrain` and `confirm` append to: verb, trial, seed, on
(train or train+val), split, val_accuracy, test_accuracy, test_sentences, time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnTest:
    """One trial on the study's test split, trained on the training split alone as in the search."""

    accuracy: float
    """The mean over the seeds that were read."""
    interval: Interval
    """Binomial (Wilson), for one split of this size: further seeds do not make it narrower."""
    seeds: int
    sentences: int


def on_test(readings: Sequence[Reading], split: str | None) -> dict[int, OnTest]:
    """By trial number; a seed that was read again counts once, as it was read first.

    Args:
        readings: the study's.
        split: the study's split rule; readings of other splits, such as folds, do not count.
    """
    by_trial: dict[int, dict[int, Reading]] = {}
    for reading in readings:
        if reading["on"] == "train" and reading["split"] == split:
            by_trial.setdefault(reading["trial"], {}).setdefault(reading["seed"], reading)
    return {trial: _figure(list(seeds.values())) for trial, seeds in by_trial.items()}


def _figure(readings: Sequence[Reading]) -> OnTest:
    accuracy = sum(reading["test_accuracy"] for reading in readings) / len(readings)
    sentences = int(readings[0]["test_sentences"])
    interval = wilson(accuracy * sentences, sentences)
    return OnTest(accuracy=accuracy, interval=interval, seeds=len(readings), sentences=sentences)


def readings_note(readings: Sequence[Reading]) -> str:
    """`the test split was read 3 times: 2 by confirm, 1 by retrain`."""
    if not readings:
        return "no reading of the test split is recorded"
    by_verb = Counter(str(reading["verb"]) for reading in readings)
    times = "once" if len(readings) == 1 else f"{len(readings)} times"
    return f"the test split was read {times}: " + ", ".join(f"{n} by {verb}" for verb, n in sorted(by_verb.items()))
