"""Optuna's samplers in the ordered form: what they suggest depends on seed, number and what they may see.

tpe, random and gp are made anew for each suggestion and shown every trial; what they need to know is in the trials.
cmaes and qmc go on from one suggestion to the next (a covariance, a place in a sequence), so all their suggestions
so far are drawn again in order, each with what it could see then. In a driver that lives on this costs nothing:
only what was added since the last suggestion is drawn.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from core.errors import ConfigError
from tuning.space.expressions import Value
from tuning.space.space import Space

NEEDS = {"tpe": (), "random": (), "gp": ("scipy", "torch"), "cmaes": ("cmaes",), "qmc": ("scipy",)}
"""Sampler -> packages that it needs beside Optuna."""
REPLAYED = ("cmaes", "qmc")
"""Samplers with a memory of their own."""
LEARNING = ("tpe", "gp", "cmaes")
"""Samplers that care what trials came to."""
Params = dict[str, Value]
FRESH = 7_031_501
"""Sets fresh seeds apart from those that the study's sampler derives from the same seed."""


def check_sampler(name: str) -> None:
    """Is it a sampler, and can it be used here?

    Raises:
        ConfigError: it is not known, or one of its packages is not installed.
    """
    if name not in NEEDS:
        raise ConfigError(f"--sampler must be one of {', '.join(NEEDS)}, got {name!r}")
    missing = [package for package in NEEDS[name] if find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"--sampler {name} needs what is not installed: pip install {' '.join(missing)}, or choose another sampler"
        )


def derive_seed(*entropy: int) -> int:
    """A seed in 0..2**32 - 1 from several numbers."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def make_sampler(
    name: str, space: Space, seed: int, startup: int, constant_liar: bool, knowledge: Sequence[FrozenTrial] = ()
) -> BaseSampler:
    """Optuna's sampler `name`.

    Args:
        name: one of NEEDS.
        space: what is searched; cmaes and qmc must know before the first trial is finished.
        seed: 0..2**32 - 1.
        startup: so many outcomes are known before tpe, gp and cmaes draw by them and no longer at random.
        constant_liar: tpe takes running trials for bad ones.
        knowledge: trials of another study; only cmaes takes them here.
    """
    with _quiet():
        if name == "tpe":
            return TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=constant_liar, n_startup_trials=startup
            )
        if name == "gp":
            return GPSampler(seed=seed, n_startup_trials=startup, deterministic_objective=False)
        if name == "cmaes":
            return FixedSpaceCmaEs(space, knowledge, seed=seed, n_startup_trials=startup)
        if name == "qmc":
            return FixedSpaceQmc(space, seed=seed, scramble=True)
        return RandomSampler(seed=seed)


def finished_view(trial: FrozenTrial, number: int, sampler: str) -> FrozenTrial:
    """A finished trial as a sampler is shown it: without what is ours, and without copying what is Optuna's.

    To gp and cmaes, which leave stopped trials aside, one counts as a finished one with its best accuracy: it was
    stopped because others had better ones at that epoch.
    """
    state = trial.state
    if state == TrialState.PRUNED and sampler in ("gp", "cmaes"):
        state = TrialState.COMPLETE
    return _shown(trial, number, state)


def running_view(trial: FrozenTrial, number: int) -> FrozenTrial:
    """A trial whose outcome may not be seen, as a sampler is shown it."""
    return _shown(trial, number, TrialState.RUNNING)


def suggest_once(sampler: BaseSampler, space: Space, shown: Sequence[FrozenTrial]) -> Params:
    """One suggestion of a sampler that was made anew.

    Args:
        sampler: a fresh one.
        space: what is searched.
        shown: from `told` and `running`, in order.
    """
    storage = _FixedTrials(shown)
    with _quiet():
        study = optuna.create_study(direction="maximize", sampler=sampler, storage=storage)
        with _one_thread() if isinstance(sampler, GPSampler) else contextlib.nullcontext():
            return space.suggest(study.ask())


class StatefulSampler:
    """A sampler with a memory: asked and told in the study's order, from its first trial on."""

    def __init__(self, sampler: BaseSampler, name: str, space: Space) -> None:
        self.name = name
        self.space = space
        with _quiet():
            self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked: list[int] = []  # our number -> the number in self.study
        self._told = 0

    @property
    def number(self) -> int:
        """The trial that comes next."""
        return len(self._asked)

    def add(self, trial: FrozenTrial) -> None:
        """The next trial, whose parameters did not come from the sampler."""
        fixed = create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions)
        storage = self.study._storage
        trial_id = storage.create_new_trial(self.study._study_id, template_trial=fixed)
        self._asked.append(storage.get_trial_number_from_id(trial_id))

    def tell(self, trials: Sequence[FrozenTrial]) -> None:
        """Tell the outcome of all of `trials`, which are finished, that were not told before."""
        for trial, number in zip(trials[self._told :], self._asked[self._told :], strict=False):
            shown = finished_view(trial, number, self.name)
            if shown.state == TrialState.FAIL or shown.value is None:
                self.study.tell(number, state=TrialState.FAIL)
            else:
                self.study.tell(number, shown.value)  # qmc does not care
            self._told += 1

    def ask(self, accept: Callable[[Params, int], bool]) -> Params:
        """Parameters for the next trial: drawn again, with the count of draws before, until they are accepted."""
        attempt = 0
        while True:
            with _quiet():
                trial = self.study.ask()
                params = self.space.suggest(trial)
            if accept(params, attempt):
                self._asked.append(trial.number)
                return params
            self.study.tell(trial, state=TrialState.FAIL)
            attempt += 1


class _FixedTrials(InMemoryStorage):
    """Shows trials that were made elsewhere, without copying or checking them, before its own."""

    def __init__(self, shown: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._shown = shown

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Any | None = None
    ) -> list[FrozenTrial]:  # its own trial has number 0
        own = super().get_all_trials(study_id, deepcopy=deepcopy, states=states)
        return [*(trial for trial in self._shown if states is None or trial.state in states), *own]


class FixedSpaceCmaEs(CmaEsSampler):
    """Told what it searches: it would take what all finished trials have in common, which changes with conditions."""

    def __init__(self, space: Space, knowledge: Sequence[FrozenTrial], **options: Any) -> None:
        self._always = {
            d.name: d.distribution
            for d in space.dimensions
            if not (d.when or d.distribution.single() or isinstance(d.distribution, CategoricalDistribution))
        }
        names = self._always.keys()
        known = [
            create_trial(params={n: t.params[n] for n in names}, distributions=self._always, value=t.value)
            for t in knowledge
            if names <= t.params.keys()
        ]
        super().__init__(**options, source_trials=known if known and names else None)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._always


class FixedSpaceQmc(QMCSampler):
    """Told what it searches: it would take what the first trial has, which leaves out other conditions."""

    def __init__(self, space: Space, **options: Any) -> None:
        super().__init__(**options)
        self._all = {d.name: d.distribution for d in space.dimensions if not d.distribution.single()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._all


def _shown(trial: FrozenTrial, number: int, state: TrialState) -> FrozenTrial:
    finished = state != TrialState.RUNNING
    return FrozenTrial(
        number=number,
        state=state,
        value=trial.value if finished else None,
        datetime_start=None,
        datetime_complete=None,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values=trial.intermediate_values if finished else {},
        trial_id=number,
    )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """So that gp's bits do not depend on the machine's cores; it is also faster."""
    from core.nn.runtime import torch_threads

    with torch_threads(1):
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's notes: that `group` is experimental, that cmaes draws choices at random."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def fresh_seeds(seed: int, count: int) -> list[int]:
    """So many seeds, all different and none the study's own; the same ones for the same study each time."""
    seeds: list[int] = []
    at = 0
    while len(seeds) < count:
        fresh = derive_seed(seed, FRESH, at)
        if fresh != seed and fresh not in seeds:
            seeds.append(fresh)
        at += 1
    return seeds
