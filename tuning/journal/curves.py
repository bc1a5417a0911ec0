"""A trial as other tools see it: its settings, and a point for each epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from core.training.result import EpochResult
from tuning.journal.records import TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One epoch."""

    epoch: int
    time: float
    """Seconds since 1970: the trial's begin and the time spent in its epochs up to the end of this one."""
    values: dict[str, float]
    """`val_accuracy`, `val_loss`, `train_loss`, `seconds`, and `best_val_accuracy` of this epoch and those before."""


def points(record: TrialRecord) -> list[Point]:
    """The trial's epochs in order. They follow from the journal alone, so that writing them again changes nothing."""
    epochs = record.epochs
    spent = accumulate(epoch.seconds for epoch in epochs)
    best = accumulate((epoch.val_accuracy for epoch in epochs), max)
    return [
        Point(epoch=epoch.epoch, time=(record.began or 0.0) + gone, values={**_values(epoch), "best_val_accuracy": top})
        for epoch, gone, top in zip(epochs, spent, best, strict=True)
    ]


def _values(epoch: EpochResult) -> dict[str, float]:
    return {name: getattr(epoch, name) for name in ("val_accuracy", "val_loss", "train_loss", "seconds")}


def settings(record: TrialRecord, searched: Sequence[str]) -> dict[str, bool | int | float | str]:
    """The searched settings; `none` where one is switched off."""
    return {name: "none" if record.config[name] is None else record.config[name] for name in searched}
