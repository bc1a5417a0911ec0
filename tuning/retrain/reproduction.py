"""Comparison of a training with the search's record: whether they are equal, the first difference, and its cause."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.io.text import printable
from core.training.result import EpochResult, TrainResult
from tuning.journal.predictions import unpack_labels
from tuning.journal.records import TrialRecord
from tuning.retrain.environment_diff import EnvironmentChange


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """Result of the comparison of a retraining with the search's record."""

    epochs: int
    """Number of epochs that the search recorded."""
    equal: int
    """Number of these epochs, from the first on, that are bit-identical."""
    difference: str | None
    """The first difference; None if there is none."""
    weights: str = "not recorded"
    """The final weights: `equal`, `different` or `not recorded`."""
    changes: tuple[EnvironmentChange, ...] = ()
    """Recorded dependencies that have changed since then."""
    source: str = "the search"
    """Origin of the recorded epochs."""

    def __str__(self) -> str:
        changed = "; ".join(map(str, self.changes))
        if self.difference is None:
            weights = {"equal": " and the final weights", "not recorded": "; the final weights were not recorded"}
            although = f", although this has changed since {self.source}: {changed}" if changed else ""
            return f"REPRODUCED {self.equal}/{self.epochs} epochs{weights[self.weights]}{although}"
        cause = "no recorded dependency has changed; check the journal and the code"
        if changed:
            cause = f"changed since {self.source}: {changed}"
        return f"DIFFERS: {self.equal}/{self.epochs} epochs reproduced, then {self.difference}; {cause}"


def reproduction_of(
    record: TrialRecord, result: TrainResult, changes: Sequence[EnvironmentChange], source: str = "the search"
) -> Reproduction:
    """Compare a training with an earlier record of it.

    Args:
        record: Record of the trial.
        result: Result of training it again for the same number of epochs.
        changes: The changed dependencies.
        source: Origin of the record.
    """
    equal, difference = compare(record.epochs, result.epochs, source)
    weights = "not recorded"
    if record.weights_sha256 is not None:
        weights = "equal" if record.weights_sha256 == result.weights_sha256 else "different"
    if difference is None and weights == "different":
        found, recorded_sha256 = result.weights_sha256[:12], printable(str(record.weights_sha256), 15)
        difference = f"the final weights are {found}..., recorded {recorded_sha256}"
    elif difference is None and record.val_predictions is not None:
        recorded = unpack_labels(record.val_predictions, f"the record of trial {record.number}'s predictions")
        if not np.array_equal(recorded, result.val_predictions):
            difference = "the validation predictions of the best epoch are not the recorded ones"
    return Reproduction(
        epochs=len(record.epochs),
        equal=equal,
        difference=difference,
        weights=weights,
        changes=tuple(changes),
        source=source,
    )


def compare(
    recorded: Sequence[EpochResult], trained: Sequence[EpochResult], source: str = "the search"
) -> tuple[int, str | None]:
    """Compare epoch by epoch: losses and accuracy must be bit-identical; times may differ.

    Returns:
        The number of equal epochs from the first on, and the first difference.
    """
    for at, (old, new) in enumerate(zip(recorded, trained, strict=False)):
        for name in ("train_loss", "val_loss", "val_accuracy", "score"):
            if (was := getattr(old, name)) != (now := getattr(new, name)):
                values = f"{name} {now!r} where {source} recorded {was!r} (off by {now - was:+.2g})"
                return at, f"epoch {new.epoch} has {values}"
    if len(trained) < len(recorded):
        return len(trained), f"training ended after epoch {len(trained)}"
    return len(recorded), None
