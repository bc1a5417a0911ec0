"""Which runs `confirm` wants: the best settings of a search and the notebook's, on seeds that had no part in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import UserError
from tuning.journal.records import Spec, TrialRecord, rank_trials
from tuning.scheduling.samplers import fresh_seeds

PREFIX = "confirm"
"""Of the study's user attributes that hold outcomes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmRun:
    """One training to be."""

    trial: int
    seed: int
    config: Mapping[str, Any] = field(compare=False)
    """Of the trial, with this seed."""
    split: str
    """The split rule; of a fold, `folds:10 fold 3`."""
    fold: int | None = None
    """From 0; None for the study's own split."""
    folds: int | None = None

    @property
    def key(self) -> str:
        """The study's user attribute that holds its outcome."""
        where = "" if self.fold is None else f":{self.fold}/{self.folds}"
        return f"{PREFIX}:{self.trial}:{self.seed}{where}"

    def __str__(self) -> str:
        where = "" if self.fold is None else f", fold {self.fold + 1} of {self.folds}"
        return f"trial {self.trial}, seed {self.seed}{where}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A setting to be confirmed."""

    record: TrialRecord
    rank: int | None
    """In the search; None where its trial failed."""

    @property
    def notebook(self) -> bool:
        """The notebook's own setting."""
        return self.record.origin == "notebook"


def candidates(records: Sequence[TrialRecord], top: int) -> list[Candidate]:
    """The best `top` different settings of a study by rank, and the notebook's.

    Raises:
        UserError: no trial has finished.
    """
    ended = [
        Candidate(record=record, rank=rank)
        for rank, record in enumerate(rank_trials(records), 1)
        if record.copy_of is None
    ]
    if not ended:
        raise UserError("no trial of this study has finished yet: run the study first")
    failed = [Candidate(record=record, rank=None) for record in records if record.state == "FAIL"]
    return [each for at, each in enumerate([*ended, *failed]) if (each.rank and at < top) or each.notebook]


def plan_runs(spec: Spec, chosen: Sequence[Candidate], seeds: int, folds: int | None) -> list[ConfirmRun]:
    """Each setting on each seed, then the winner on each fold; the same for the same study each time.

    The folds all have the first of the seeds.
    """
    fresh = fresh_seeds(spec["seed"], seeds)
    runs = [
        ConfirmRun(
            trial=c.record.number, seed=seed, config={**c.record.config, "seed": seed}, split=spec["data"]["split"]
        )
        for seed in fresh
        for c in chosen
    ]
    winner = chosen[0].record
    for fold in range(folds or 0):
        config = {**winner.config, "seed": fresh[0]}
        split = f"folds:{folds} fold {fold}"
        runs.append(ConfirmRun(trial=winner.number, seed=fresh[0], config=config, split=split, fold=fold, folds=folds))
    return runs
