"""A study's spec: all that its trials depend on, as JSON in its journal."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from core.config import PRECISIONS
from core.data.corpus import Corpus
from core.errors import ConfigError
from core.io.checked_folder import canonical_json
from tuning.resources.machine import TrialResources
from tuning.scheduling.budget import Budget
from tuning.scheduling.successive_halving import SuccessiveHalving
from tuning.space.space import Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FORMAT = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig:
    """What a study does; everything that its trials depend on beside the data and the machine's shares."""

    space: Space
    n_trials: int
    epochs: int
    """Of a trial that is not stopped."""
    window: int
    """Suggestion n sees the outcome of trials 0..n-window."""
    seed: int
    """Of every trial's initialisation and shuffling, and of the sampler."""
    stopping: SuccessiveHalving | None
    """None: no trial is stopped early."""
    sampler: str = "tpe"
    """One of tuning.scheduling.samplers.SAMPLERS."""
    startup: int = 6
    """So many outcomes are known before the sampler draws by them and no longer at random."""
    constant_liar: bool = True
    """The sampler takes trials whose outcome it may not see for bad ones, so that it does not crowd them (tpe only)."""
    warm_start: Mapping[str, Any] | None = None
    """Where `knowledge` comes from, as tuning.scheduling.warm_start says it; None when there is none."""
    prior_trials: "tuple[FrozenTrial, ...]" = ()
    """Another study's finished trials, which the sampler sees before this study's own."""
    patience: int | None = None
    """A trial ends itself after so many epochs without a better validation accuracy; None: never."""
    precision: str = "fp32"
    """fp32 or bf16."""
    budget: Budget = field(default_factory=Budget)
    """What ends the study before its trials are done; like their number, a matter of each command."""

    def __post_init__(self) -> None:
        rules = {"--trials": self.n_trials, "--epochs": self.epochs, "--window": self.window}
        problems = [f"{name} must be at least 1, got {value}" for name, value in rules.items() if value < 1]
        if self.startup < 1:
            problems.append(f"startup must be at least 1, got {self.startup}")
        if not 0 <= self.seed < 2**32:
            problems.append(f"--seed must be from 0 to 2**32 - 1, got {self.seed}")
        if self.patience is not None and self.patience < 1:
            problems.append(f"--patience must be at least 1, got {self.patience}")
        together = 1 if self.stopping is None else self.stopping.cohort
        if 1 <= self.n_trials < together:
            problems.append(
                f"--trials must be at least {together}, as many as this study compares with one another first, "
                f"got {self.n_trials}"
            )
        if 1 <= self.window < together:  # they would wait for one another's outcomes
            problems.append(
                f"--window must be at least {together}, as many trials as are compared with one another first, "
                f"got {self.window}"
            )
        if self.precision not in PRECISIONS:
            problems.append(f"--precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if problems:
            raise ConfigError("; ".join(problems))

    @property
    def shared_settings(self) -> dict[str, Any]:
        """The TrialConfig fields that all trials of the study share."""
        return {"epochs": self.epochs, "patience": self.patience, "precision": self.precision, "seed": self.seed}


def study_spec(plan: StudyConfig, corpus: Corpus, data: Mapping[str, Any], resources: TrialResources) -> dict[str, Any]:
    """The spec of a new study, or of a command that wants to go on with one. The number of trials is not in it."""
    return {
        "format": FORMAT,
        "data": dict(data),
        "fingerprint": corpus.fingerprint,
        "embedding_dim": corpus.embedding_dim,
        "space": json.loads(plan.space.to_json()),
        **plan.shared_settings,
        "window": plan.window,
        "stopping": None if plan.stopping is None else plan.stopping.to_dict(),
        "sampler": {"name": plan.sampler, "startup": plan.startup, "constant_liar": plan.constant_liar},
        "warm_start": None if plan.warm_start is None else dict(plan.warm_start),
        "threads": resources.cpus_per_trial,
        "device": resources.device,
        **({"retry_oom": True} if resources.retry_oom else {}),
        "versions": {name: version(name) for name in ("sentune", "torch", "optuna")},
    }


def space_from_spec(spec: Mapping[str, Any]) -> Space:
    """The search space that a spec holds."""
    return Space.from_json(json.dumps(spec["space"]))


def searched_settings(space: Space) -> list[str]:
    """The TrialConfig fields that a space searches, in order, each once."""
    return list(dict.fromkeys(dimension.field for dimension in space.dimensions))


def spec_notes(spec: Mapping[str, Any]) -> list[str]:
    """What a person who reads the table should know about how it came to be."""
    notes = []
    if start := spec["warm_start"]:
        notes.append(f"warm start: the sampler knew {start['trials']} trials of study {start['study']}")
    return notes


def study_id(name: str, spec: Mapping[str, Any]) -> str:
    """A name for what a study keeps outside its folder: two studies with the same one have the same trials."""
    return f"{name}-{hashlib.sha256(canonical_json(dict(spec))).hexdigest()[:12]}"
