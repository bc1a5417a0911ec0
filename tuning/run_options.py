"""What the command line of `run` and `plan` says, and the search that it comes to."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from core.config import PRECISIONS
from core.errors import ConfigError
from core.nn.environment import supports_bf16
from tuning.journal.records import study_attributes
from tuning.resources.machine import TrialResources, default_window
from tuning.scheduling.budget import Budget
from tuning.scheduling.samplers import check_sampler
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.successive_halving import SuccessiveHalving
from tuning.space.load import load_space
from tuning.space.space import Space
from tuning.tracking.tensorboard import check_tensorboard

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The command line of `run`."""

    data: Mapping[str, Any]
    """Arguments of load_corpus; they go into the study's spec."""
    cache_dir: Path | None
    space: str
    overrides: tuple[str, ...]
    trials: int
    epochs: int
    window: int | None
    seed: int
    stopping: SuccessiveHalving | None
    sampler: str
    warm_start: Path | None
    """Another study's folder."""
    patience: int | None
    precision: str
    """fp32, bf16 or auto."""
    resources: TrialResources
    budget: Budget
    workers: int | None
    name: str | None
    results: Path
    tensorboard: bool = False
    """Write event files as well."""
    address: str | None = None
    """Of a Ray cluster; None: a Ray of our own on this machine."""
    storage: str | None = None
    """Where checkpoints are kept as well (tuning.backend.storage); None: nowhere."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"--workers must be at least 1, got {self.workers}")
        if self.precision not in (AUTO, *PRECISIONS):
            raise ConfigError(f"--precision must be one of {AUTO}, {', '.join(PRECISIONS)}, got {self.precision!r}")
        check_sampler(self.sampler)
        if self.tensorboard:
            check_tensorboard()
        if self.name is not None and not re.fullmatch(r"\w[\w.+-]*", self.name):
            raise ConfigError(f"--name must be letters, digits, dots, plus signs and dashes, got {self.name!r}")

    @cached_property
    def loaded_space(self) -> Space:
        """The search space."""
        return load_space(self.space, self.overrides)

    @property
    def folder(self) -> Path:
        """The study's."""
        return self.results / (self.name or f"{_slug(self.data['dataset'])}-{_slug(self.loaded_space.name)}")


def study_config(options: RunOptions, fits: int) -> StudyConfig:
    """What the study does, when so many trials fit at once."""
    known = study_attributes(options.folder).get("spec")
    window = options.window
    if window is None:  # fixed when the study was made, on whatever machine
        window = known["window"] if known else default_window(fits)
    stopping = options.stopping
    if stopping is not None:  # fixed too: the study may get more trials later
        together = (known["stopping"] or {}).get("together") if known else min(window, options.trials)
        if isinstance(together, int):  # else the rules differ, which is told
            stopping = dataclasses.replace(stopping, cohort=max(1, together))
    precision = options.precision
    if precision == AUTO:  # fixed as well: another machine goes on with it
        precision = known["precision"] if known else _precision_here(options)
    return StudyConfig(
        space=options.loaded_space,
        n_trials=options.trials,
        epochs=options.epochs,
        window=window,
        seed=options.seed,
        stopping=stopping,
        sampler=options.sampler,
        patience=options.patience,
        precision=precision,
        budget=options.budget,
    )


def _precision_here(options: RunOptions) -> str:
    """What trials are fastest in, as far as this machine can tell."""
    return "bf16" if options.address is None and supports_bf16(options.resources.device) else "fp32"


def _slug(text: str) -> str:
    """`mr:/data/rt.tar.gz` -> `mr`; `/data/My tickets.csv` -> `My-tickets`."""
    stem = text.split(":", 1)[0] if text.startswith("mr:") else Path(text).name.split(".")[0]
    return re.sub(r"[^\w+-]+", "-", stem).strip("-") or "study"
