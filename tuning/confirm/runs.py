"""The runs of `confirm`: the best configurations of a search and the baseline, on seeds that the search did not use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import UserError
from tuning.analysis.assessment import PLAIN
from tuning.journal.records import NO_VALUE, Spec, TrialRecord, rank_trials
from tuning.retrain.training import fresh_seeds

PREFIX = "confirm"
"""Prefix of the study's user attributes that hold results."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmRun:
    """One training to execute."""

    trial: int | None
    """Number of the trial; None for the plain baseline."""
    seed: int | None
    """Seed; None for the plain baseline, which has none."""
    config: Mapping[str, Any] = field(compare=False)
    """Settings of the trial, with this seed; for the plain baseline, only the study's metric."""
    split: str
    """Split rule; for a fold, `folds:10 fold 3`."""
    fold: int | None = None
    """Fold from 0; None for the study's own split."""
    folds: int | None = None

    @property
    def key(self) -> str:
        """Name of the study's user attribute that holds its result."""
        where = "" if self.fold is None else f":{self.fold}/{self.folds}"
        return f"{PREFIX}:{PLAIN}{where}" if self.trial is None else f"{PREFIX}:{self.trial}:{self.seed}{where}"

    def __str__(self) -> str:
        where = "" if self.fold is None else f", fold {self.fold + 1} of {self.folds}"
        return f"plain baseline{where}" if self.trial is None else f"trial {self.trial}, seed {self.seed}{where}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A configuration to confirm."""

    record: TrialRecord
    rank: int | None
    """Rank in the search; None if its trial failed."""
    recommended: bool = False

    @property
    def baseline(self) -> bool:
        """Whether it is the baseline, the one of the tutorial notebook."""
        return self.record.origin == "baseline"


def candidates(records: Sequence[TrialRecord], top: int, recommended: int | None = None) -> list[Candidate]:
    """Return the best `top` different configurations of a study by rank, the recommended one, and the baseline.

    Raises:
        UserError: No trial has finished.
    """
    ended = [
        Candidate(record=record, rank=rank, recommended=record.number == recommended)
        for rank, record in enumerate(rank_trials(records), 1)
        if record.copy_of is None
    ]
    if not ended:
        raise UserError(f"no trial of this study {NO_VALUE}")
    failed = [Candidate(record=record, rank=None) for record in records if record.state == "FAIL"]
    return [
        each
        for at, each in enumerate([*ended, *failed])
        if (each.rank and at < top) or each.recommended or each.baseline
    ]


def plan_runs(spec: Spec, chosen: Sequence[Candidate], seeds: int, folds: int | None) -> list[ConfirmRun]:
    """Return the plain baseline, each configuration on each seed, then on each fold plain baseline, winner, baseline.

    The runs depend only on the study and the arguments. All folds use the first seed.
    """

    def run(record: TrialRecord, seed: int, split: str, **fold: int) -> ConfirmRun:
        return ConfirmRun(trial=record.number, seed=seed, config={**record.config, "seed": seed}, split=split, **fold)

    def plain(split: str, **fold: int) -> ConfirmRun:
        return ConfirmRun(trial=None, seed=None, config={"metric": spec["metric"]}, split=split, **fold)

    split, fresh = spec["data"]["split"], fresh_seeds(spec["seed"], seeds)
    runs = [plain(split), *(run(each.record, seed, split) for seed in fresh for each in chosen)]
    if folds is not None:
        for at in range(folds):
            place: dict[str, int] = {"fold": at, "folds": folds}
            split = f"folds:{folds} fold {at}"
            over_folds = [each.record for at_rank, each in enumerate(chosen) if at_rank == 0 or each.baseline]
            runs += [plain(split, **place), *(run(each, fresh[0], split, **place) for each in over_folds)]
    return runs
