"""A study's configuration, and its spec: all inputs that its trials depend on, as JSON in its journal."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from optuna.trial import FrozenTrial

from core.config import MAX_EPOCHS
from core.data.corpus import Corpus
from core.data.tokenizer import AUTO, tokenizer_name
from core.errors import check_rules, in_range
from core.io.checked_folder import canonical_json
from tuning.journal.folder import STUDY_FORMAT
from tuning.resources.machine import MAX_WORKERS, TrialResources
from tuning.scheduling.asha import Asha
from tuning.scheduling.budget import MAX_TRIALS, Budget
from tuning.scheduling.virtual_clock import VirtualClock
from tuning.space.portfolio import PORTFOLIO, FirstTrials
from tuning.space.space import STUDY_FIELDS, Space

CHOSEN = "tokenizer", "vectors"
"""Arguments of load_corpus that it chooses for `auto`. A column may have this name, too."""
MAX_LAG = 1_000_000
MIN_LAG = 2.0
"""Default of --lag for up to 16 virtual workers."""


def default_lag(parallelism: int) -> float:
    """Return the default of --lag: half the square root of the parallelism, at least MIN_LAG.

    With more workers, the latest of them is later. The rule was chosen by benchmarks.simulation.order_price
    (results/reference/order.md).
    """
    return max(MIN_LAG, round(math.sqrt(parallelism) / 2, 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig:
    """All inputs that a study's trials depend on, besides the data and the resources of a trial."""

    space: Space
    n_trials: int
    epochs: int
    """Maximum number of epochs per trial."""
    epoch_sentences: int | None = None
    """Number of training sentences in an epoch; None: a pass over the training split."""
    parallelism: int
    """Number of virtual workers, see tuning.scheduling.virtual_clock."""
    seed: int
    """Seed of every trial's initialisation and shuffling, and of the sampler."""
    stopping: Asha | None
    """Rule that decides when trials pause and continue; None: every trial is trained in full."""
    lag: float = MIN_LAG
    """Virtual time, in epochs of the median configuration, after which a decision may use a result."""
    sampler: str = "tpe"
    """Name of a sampler in tuning.scheduling.samplers.SAMPLERS."""
    startup: int = 6
    """Number of results below which the sampler draws at random."""
    baseline: bool = True
    """Whether trial 0 has the baseline."""
    first_trials: FirstTrials = FirstTrials()  # noqa: RUF009 (it is frozen)
    """Trials after the baseline and the space's `try_first`."""
    warm_start: Mapping[str, Any] | None = None
    """Source of `prior_trials`, as in tuning.warm_start; None if there are none."""
    prior_trials: tuple[FrozenTrial, ...] = ()
    """Another study's finished trials, which the sampler sees before this study's own."""
    patience: int | None = None
    """Number of epochs without a better value of the metric after which a trial ends; None: no limit."""
    metric: str = "accuracy"
    """Metric that the study optimises: a name in core.metrics.METRICS."""
    precision: str = "fp32"
    """fp32 or bf16."""
    budget: Budget = field(default_factory=Budget)
    """Limits that end the study early. Like the number of trials, each command has its own."""

    def __post_init__(self) -> None:
        check_rules(
            {
                "--trials": in_range(self.n_trials, 1, MAX_TRIALS),
                "--parallelism": in_range(self.parallelism, 1, MAX_WORKERS),
                "--lag": in_range(self.lag, 0, MAX_LAG),
                "--seed": (self.seed, "from 0 to 2**32 - 1", 0 <= self.seed < 2**32),
                "--patience": in_range(self.patience, 1, MAX_EPOCHS),
            }
        )

    def clock(self, **arguments: Any) -> VirtualClock:
        """Return the study's clock at virtual time 0; `arguments` are further arguments of VirtualClock."""
        fixed = {"epochs": self.epochs, "parallelism": self.parallelism, "lag": self.lag, "rule": self.stopping}
        return VirtualClock(**{"n_trials": self.n_trials, "baseline": self.baseline, **fixed, **arguments})

    @property
    def shared_settings(self) -> dict[str, Any]:
        """The TrialConfig fields that all trials of the study share."""
        return {name: getattr(self, name) for name in STUDY_FIELDS}

    @property
    def goal(self) -> dict[str, Any]:
        """The limits that end the study for good; the journal has those of the latest command."""
        budget = self.budget
        return {"trials": self.n_trials, "target": budget.target, "patience_trials": budget.patience_trials}


def study_spec(plan: StudyConfig, corpus: Corpus, data: Mapping[str, Any], resources: TrialResources) -> dict[str, Any]:
    """Return the spec of a new study, or of a command that continues one. It lacks the number of trials.

    Args:
        plan: The study's configuration.
        corpus: The study's data.
        data: Arguments of load_corpus; instead of `auto`, the choice of load_corpus is recorded.
        resources: Resources of each trial.
    """
    return {
        "format": STUDY_FORMAT,
        "data": {**data, **{name: _choice(name, corpus) for name in CHOSEN if data.get(name) == AUTO}},
        "fingerprint": corpus.fingerprint,
        "embedding_dim": corpus.embedding_dim,
        "space": plan.space.to_dict(),
        **plan.shared_settings,
        "parallelism": plan.parallelism,
        "lag": plan.lag,
        "stopping": None if plan.stopping is None else plan.stopping.to_dict(),
        "sampler": {"name": plan.sampler, "startup": plan.startup},
        "baseline": plan.baseline,
        "first_trials": plan.first_trials.to_dict(),
        "warm_start": None if plan.warm_start is None else dict(plan.warm_start),
        "threads": resources.cpus_per_trial,
        "device": resources.device,
        **({"retry_oom": True} if resources.retry_oom else {}),
        "versions": {name: version(name) for name in ("sentune", "torch", "optuna")},
    }


def _choice(option: str, corpus: Corpus) -> str:
    """Return the tokenizer or the vectors that load_corpus chose."""
    found: str = corpus.source[option]
    return tokenizer_name(found) if option == "tokenizer" else found


def spec_notes(spec: Mapping[str, Any]) -> list[str]:
    """Return the notes on a study's origin, for below its table."""
    notes = []
    if (first := spec["first_trials"]) and first["source"] != PORTFOLIO:  # that is the default
        notes.append(f"first trials: {first['trials']} from {first['source']}")
    if start := spec["warm_start"]:
        n = start["trials"]
        notes.append(f"warm start: the sampler used {n} trial{'s' * (n != 1)} of study {start['study']}")
    if spec["epoch_sentences"] is not None:
        notes.append(f"each epoch trains on {spec['epoch_sentences']:,} sentences, which is not a pass over the data")
    return notes


def study_id(name: str, attributes: Mapping[str, Any]) -> str:
    """Return a name for the study's files outside of its folder, which no other study has.

    Args:
        name: Name of the study.
        attributes: User attributes of the study.
    """
    content = canonical_json(dict(attributes["spec"])) + attributes["id"].encode()
    return f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
