"""The study's list of readings of its test split: what was learned from it, by which verb, and when.

A test split is worth less each time that someone looks at it. `retrain` and `confirm` alone read it, and write each
reading down before they show its figure.
"""

from datetime import UTC, datetime

from tuning.journal.writer import Ledger

READINGS = "readings"
"""The study's user attribute that holds the list."""


def count_reading(
    ledger: Ledger,
    *,
    verb: str,
    trial: int,
    seed: int,
    on: str,
    split: str,
    val_accuracy: float | None,
    test_accuracy: float,
    test_sentences: int,
) -> int:
    """Append one reading to the study's list.

    Args:
        ledger: of the study.
        verb: retrain or confirm.
        trial: its number.
        seed: that the model was trained with.
        on: the splits that it learned from: train, or train+val.
        split: the rule that made the test split.
        val_accuracy: of the same weights; None where nothing was left to validate on.
        test_accuracy: what was read.
        test_sentences: how many it was read on.

    Returns:
        How many readings the study has had.
    """
    reading = {
        "verb": verb,
        "trial": trial,
        "seed": seed,
        "on": on,
        "split": split,
        "val_accuracy": val_accuracy,
        "test_accuracy": test_accuracy,
        "test_sentences": test_sentences,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    readings = [*ledger.attributes.get(READINGS, ()), reading]
    ledger.keep(READINGS, readings)
    return len(readings)
