"""A study's spec: all that its trials depend on, as JSON in its journal."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from core.config import PRECISIONS
from core.corpus import Corpus
from core.errors import ConfigError
from tuning.resources import Shares
from tuning.space import Space
from tuning.stopping import Halving

FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchPlan:
    """What a study does; everything that its trials depend on beside the data and the machine's shares."""

    space: Space
    n_trials: int
    epochs: int
    """Of a trial that is not stopped."""
    window: int
    """Suggestion n sees the outcome of trials 0..n-window."""
    seed: int
    """Of every trial's initialisation and shuffling, and of the sampler."""
    halving: Halving | None
    """None: no trial is stopped early."""
    patience: int | None = None
    """A trial ends itself after so many epochs without a better validation accuracy; None: never."""
    precision: str = "fp32"
    """fp32 or bf16."""

    def __post_init__(self) -> None:
        rules = {"--trials": self.n_trials, "--epochs": self.epochs, "--window": self.window}
        problems = [f"{name} must be at least 1, got {value}" for name, value in rules.items() if value < 1]
        if not 0 <= self.seed < 2**32:
            problems.append(f"--seed must be from 0 to 2**32 - 1, got {self.seed}")
        if self.patience is not None and self.patience < 1:
            problems.append(f"--patience must be at least 1, got {self.patience}")
        if self.precision not in PRECISIONS:
            problems.append(f"--precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if problems:
            raise ConfigError("; ".join(problems))

    @property
    def settings(self) -> dict[str, Any]:
        """The TrialConfig fields that all trials of the study share."""
        return {"epochs": self.epochs, "patience": self.patience, "precision": self.precision, "seed": self.seed}


def make_spec(plan: SearchPlan, corpus: Corpus, data: Mapping[str, Any], shares: Shares) -> dict[str, Any]:
    """The spec of a new study, or of a command that wants to go on with one. The number of trials is not in it."""
    return {
        "format": FORMAT,
        "data": dict(data),
        "fingerprint": corpus.fingerprint,
        "space": json.loads(plan.space.to_json()),
        **plan.settings,
        "window": plan.window,
        "stopping": (
            None if plan.halving is None else {"grace": plan.halving.grace, "reduction": plan.halving.reduction}
        ),
        "threads": shares.cpus_per_trial,
        "device": shares.device,
        "versions": {name: version(name) for name in ("sentune", "torch", "optuna")},
    }


def space_of(spec: Mapping[str, Any]) -> Space:
    """The search space that a spec holds."""
    return Space.from_json(json.dumps(spec["space"]))


def searched_fields(space: Space) -> list[str]:
    """The TrialConfig fields that a space searches, in order, each once."""
    return list(dict.fromkeys(dimension.field for dimension in space.dimensions))
