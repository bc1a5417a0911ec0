"""Optuna's samplers in ordered form: a suggestion depends on the seed, its number and the visible trials.

tpe, random and gp are created for each suggestion from the visible trials, and need no other state. cmaes and qmc have
a state (a covariance, a place in a sequence). All their suggestions are therefore drawn again in order, each from the
trials that were visible to it. A running driver draws only the new ones.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
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
from tuning.scheduling.asha import FAILED
from tuning.scheduling.study_config import StudyConfig
from tuning.scheduling.virtual_clock import VisibleResult
from tuning.space.expressions import Value
from tuning.space.space import Dimension, Space

Params = dict[str, Value]
MIN_SOURCE_TRIALS = 10
"""Minimum number of trials of another study from which cmaes starts: it uses their best tenth."""


def derive_seed(*entropy: int) -> int:
    """Return a seed in 0..2**32 - 1 that depends on several numbers."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def trial_view(
    trial: FrozenTrial,
    number: int,
    state: TrialState,
    value: float | None = None,
    intermediate_values: Mapping[int, float] = MappingProxyType({}),
) -> FrozenTrial:
    """Return a trial for a sampler: without sentune's attributes, and without copying Optuna's objects."""
    return FrozenTrial(
        number=number,
        state=state,
        value=value,
        datetime_start=None,
        datetime_complete=None,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(intermediate_values),
        trial_id=number,
    )


def prior_view(trial: FrozenTrial, number: int, sampler: str) -> FrozenTrial:
    """Return a trial of another study for a sampler."""
    hidden = trial.state == TrialState.PRUNED and SAMPLERS[sampler].ignores_stopped
    state = TrialState.COMPLETE if hidden else trial.state
    return trial_view(trial, number, state, trial.value, trial.intermediate_values)


def result_view(trial: FrozenTrial, number: int, result: VisibleResult, config: StudyConfig) -> FrozenTrial:
    """Return a trial with a visible result for a sampler: with only that result.

    Before the last epoch it counts as stopped (PRUNED), whether or not it will continue. For a sampler that ignores
    stopped trials, it counts as complete.
    """
    if result.score == FAILED:
        return trial_view(trial, number, TrialState.FAIL)
    whole = result.epoch == config.epochs or SAMPLERS[config.sampler].ignores_stopped
    state = TrialState.COMPLETE if whole else TrialState.PRUNED
    return trial_view(trial, number, state, result.score, {result.epoch: result.score})


def suggest_once(sampler: BaseSampler, space: Space, shown: Sequence[FrozenTrial]) -> Params:
    """Return one suggestion of a new sampler.

    Args:
        sampler: A new sampler.
        space: The search space.
        shown: Results of `trial_view`, `prior_view` and `result_view`, in order.
    """
    storage = _FixedTrials(shown)
    with quiet_optuna():
        study = optuna.create_study(direction="maximize", sampler=sampler, storage=storage)
        with contextlib.ExitStack() as stack:
            if isinstance(sampler, GPSampler):
                from core.nn.runtime import default_modes, torch_threads

                stack.enter_context(torch_threads(1))  # bit-identical on any number of cores, and faster
                stack.enter_context(default_modes("cpu"))  # a program may have switched off gradients
            return space.suggest(study.ask())


def random_params(space: Space, seed: int, count: int) -> list[Params]:
    """Return random configurations of a space."""
    with quiet_optuna():
        study = optuna.create_study(sampler=RandomSampler(seed=seed))
        return [space.suggest(study.ask()) for _ in range(count)]


class StatefulSampler:
    """A sampler whose suggestions depend on earlier ones. It is asked in the study's order, from the first trial on."""

    def __init__(self, sampler: BaseSampler, space: Space) -> None:
        self.space = space
        self._storage = InMemoryStorage()  # of one study, so the id of a trial is its number
        with quiet_optuna():
            self.study = optuna.create_study(direction="maximize", sampler=sampler, storage=self._storage)
        self._asked: list[int] = []  # number of a trial -> its number in self.study

    def add(self, trial: FrozenTrial) -> None:
        """Add the next trial, whose parameters did not come from the sampler."""
        self._asked.append(len(self.study.get_trials(deepcopy=False)))
        self.study.add_trial(
            create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions)
        )

    def keep(self, trial: FrozenTrial) -> None:
        """Give the latest suggestion the parameters of the study's trial.

        With another version of cmaes or NumPy, or on another processor, it may have been drawn differently.
        """
        number = self._asked[-1]
        if self._storage.get_trial(number).params != trial.params:
            for name, each in trial.distributions.items():
                self._storage.set_trial_param(number, name, each.to_internal_repr(trial.params[name]), each)

    def tell(self, number: int, view: FrozenTrial) -> None:
        """Report the first visible result of a trial: Optuna's study accepts no second one."""
        if view.state == TrialState.FAIL:
            self.study.tell(self._asked[number], state=TrialState.FAIL)
        else:
            self.study.tell(self._asked[number], view.value)  # qmc does not use it

    def ask(self, accept: Callable[[Params, int], bool]) -> Params:
        """Return parameters for the next trial; draw until `accept(parameters, number of earlier draws)` is true."""
        attempt = 0
        while True:
            with quiet_optuna():
                trial = self.study.ask()
                params = self.space.suggest(trial)
            if accept(params, attempt):
                self._asked.append(trial.number)
                return params
            self.study.tell(trial, state=TrialState.FAIL)
            attempt += 1


class _FixedTrials(InMemoryStorage):
    """A storage that shows given trials before its own, without copying or checking them."""

    def __init__(self, shown: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._shown = shown

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Any | None = None
    ) -> list[FrozenTrial]:  # its own trial has number 0
        own = super().get_all_trials(study_id, deepcopy=deepcopy, states=states)
        return [*(trial for trial in self._shown if states is None or trial.state in states), *own]


def _in_each_trial(space: Space) -> list[Dimension]:
    """Return the dimensions that each suggestion has: those whose conditions allow each value that can occur.

    A condition on a setting that is not searched always holds.
    """
    counts = {each.name: len(each.values()) for each in space.dimensions}
    found: dict[str, Dimension] = {}
    for each in space.dimensions:
        if all(name not in counts or (name in found and len(allowed) == counts[name]) for name, allowed in each.when):
            found[each.name] = each
    return list(found.values())


def cmaes_dimensions(space: Space) -> dict[str, BaseDistribution]:
    """Return the settings that cmaes searches: numbers that each trial has. It draws all others at random."""
    return {
        d.name: d.distribution
        for d in _in_each_trial(space)
        if not (d.distribution.single() or isinstance(d.distribution, CategoricalDistribution))
    }


def needed_settings(sampler: str, space: Space) -> set[str]:
    """Return the settings that a trial must have so that a sampler uses it. A trial lacks those outside their range.

    If a trial lacked a setting that each suggestion has, tpe (by `group`) would model this setting separately for the
    whole study, and gp would not model it. cmaes uses a trial of another study if it has the numbers of
    `cmaes_dimensions`.
    """
    if sampler == "cmaes":
        return set(cmaes_dimensions(space))
    return {dimension.name for dimension in _in_each_trial(space)}


class FixedSpaceCmaEs(CmaEsSampler):
    """CMA-ES over a fixed space: Optuna would use the parameters that all finished trials share, which change."""

    def __init__(self, space: Space, prior_trials: Sequence[FrozenTrial], **options: Any) -> None:
        self._always = cmaes_dimensions(space)
        names = self._always.keys()
        known = [
            create_trial(params={n: t.params[n] for n in names}, distributions=self._always, value=t.value)
            for t in prior_trials
            if names <= t.params.keys()
        ]
        super().__init__(**options, source_trials=known if len(known) >= MIN_SOURCE_TRIALS and names else None)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._always


class FixedSpaceQmc(QMCSampler):
    """QMC over a fixed space: Optuna would use the parameters of the first trial, which lacks inactive settings."""

    def __init__(self, space: Space, **options: Any) -> None:
        super().__init__(**options)
        self._all = {d.name: d.distribution for d in space.dimensions if not d.distribution.single()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._all


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerInfo:
    """One of Optuna's samplers, with its properties."""

    make: Callable[[StudyConfig, int], BaseSampler]
    """Function that creates it for a study, with a seed from 0 to 2**32 - 1."""
    packages: tuple[str, ...] = ()
    """Required packages that sentune does not install."""
    learns: bool = False
    """Whether its suggestions depend on results."""
    stateful: bool = False
    """Whether its suggestions depend on its earlier ones, so that it is replayed from the first trial on."""
    ignores_stopped: bool = False
    """Whether it ignores stopped trials."""
    independent_draws: bool = True
    """Whether its suggestions are independent random draws as long as it uses no result: see StudyConfig.startup."""


SAMPLERS = {
    "tpe": SamplerInfo(
        # constant_liar: trials without a visible result count as bad, so that it avoids their neighbourhood.
        make=lambda c, seed: TPESampler(
            seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=c.startup
        ),
        learns=True,
    ),
    "random": SamplerInfo(make=lambda c, seed: RandomSampler(seed=seed)),
    "gp": SamplerInfo(
        make=lambda c, seed: GPSampler(seed=seed, n_startup_trials=c.startup, deterministic_objective=False),
        learns=True,
        ignores_stopped=True,
    ),
    "cmaes": SamplerInfo(
        make=lambda c, seed: FixedSpaceCmaEs(c.space, c.prior_trials, seed=seed, n_startup_trials=c.startup),
        packages=("cmaes",),
        learns=True,
        stateful=True,
        ignores_stopped=True,
    ),
    "qmc": SamplerInfo(
        make=lambda c, seed: FixedSpaceQmc(c.space, seed=seed, scramble=True),
        stateful=True,
        independent_draws=False,
    ),
}
"""The choices of `--sampler`."""


def check_sampler(name: str) -> None:
    """Check that a sampler exists and can be used here.

    Raises:
        ConfigError: The name is unknown, or a package is not installed.
    """
    if name not in SAMPLERS:
        raise ConfigError(f"--sampler must be one of {', '.join(SAMPLERS)}, got {name!r}")
    missing = [package for package in SAMPLERS[name].packages if find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"--sampler {name} needs more packages; run pip install {' '.join(missing)}, or choose another sampler"
        )


def make_sampler(name: str, config: StudyConfig, seed: int) -> BaseSampler:
    """Return the sampler `name`, a key of SAMPLERS, without Optuna's warnings."""
    with quiet_optuna():
        return SAMPLERS[name].make(config, seed)


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Suppress Optuna's warnings, such as that `group` is experimental, and that cmaes draws choices at random."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
