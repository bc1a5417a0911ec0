"""Abstention: `predict` and `serve` give no label below a probability, which an accuracy may determine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.calibration import CoverageRow, find_min_probability
from core.errors import ConfigError, UserError, check_rules
from core.io.text import Notify
from core.stats import wilson


@dataclass(frozen=True, kw_only=True, slots=True)
class Abstention:
    """The options `--min-probability` and `--at-accuracy`; by default every sentence gets a label."""

    min_probability: float | None = None
    """Minimum probability of the most probable class; below it, a sentence gets no label."""
    at_accuracy: float | None = None
    """Accuracy on the labelled validation sentences that determines `min_probability`."""

    def __post_init__(self) -> None:
        given, accuracy = self.min_probability, self.at_accuracy
        if given is not None and accuracy is not None:
            raise ConfigError("--at-accuracy determines --min-probability; pass one of the two")
        check_rules(
            {
                "--min-probability": (given, "from 0 to 1", given is None or 0 <= given <= 1),
                "--at-accuracy": (accuracy, "above 0 and below 1", accuracy is None or 0 < accuracy < 1),
            }
        )

    def threshold(self, coverage: Sequence[CoverageRow], notify: Notify) -> float | None:
        """Return the minimum probability of a label; None if every sentence gets a label.

        Args:
            coverage: Coverage table of the model; empty if it has none.
            notify: Called with the threshold that follows from `at_accuracy`.

        Raises:
            UserError: The model has no coverage table, or no threshold reaches `at_accuracy`.
        """
        if self.at_accuracy is None:
            return self.min_probability
        if not coverage:
            raise UserError(
                "--at-accuracy needs the accuracy on validation sentences, and this model was saved without; "
                "pass --min-probability"
            )
        found = find_min_probability(coverage, self.at_accuracy)
        if found is None:
            best = max(coverage, key=_lower_bound)
            if not best["correct"]:
                raise UserError(
                    f"--at-accuracy {self.at_accuracy:g}: no validation sentence is labelled correctly, so no accuracy "
                    "is reached; pass --min-probability"
                )
            raise UserError(
                f"--at-accuracy {self.at_accuracy:g} is not reached on the validation sentences; pass at most "
                f"{math.floor(_lower_bound(best) * 10000) / 10000:g}, which labels {_share(best, coverage)} of them"
            )
        row = next(each for each in coverage if each["min_probability"] == found)
        notify(
            f"--at-accuracy {self.at_accuracy:g} is --min-probability {found:g}: of the validation sentences it labels "
            f"{_share(row, coverage)}, {row['correct'] / row['sentences']:.1%} of these correctly"
        )
        return found


def _lower_bound(row: CoverageRow) -> float:
    return wilson(row["correct"], row["sentences"]).low


def _share(row: CoverageRow, coverage: Sequence[CoverageRow]) -> str:
    return f"{row['sentences'] / max(each['sentences'] for each in coverage):.1%}"
