"""The next trial: a pure function of the study's configuration, all earlier parameters and the visible results."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from core.config import TrialConfig, changed_settings
from core.io.checked_folder import canonical_json
from tuning.journal.predictions import copied_from
from tuning.scheduling.samplers import (
    SAMPLERS,
    Params,
    StatefulSampler,
    derive_seed,
    make_sampler,
    needed_settings,
    prior_view,
    result_view,
    suggest_once,
    trial_view,
)
from tuning.scheduling.study_config import StudyConfig
from tuning.scheduling.virtual_clock import VisibleResult
from tuning.space.initial_trials import initial_trials
from tuning.space.portfolio import PORTFOLIO

MAX_REDRAWS = 4
"""Maximum number of redraws of a duplicate suggestion; after that, the trial copies the result of the earlier one. With
tpe, gp and random, the last half of the redraws are random: gp would repeat its suggestion, and tpe nearly always does
when few settings are left."""
MAX_SHOWN = 100
"""Maximum number of the study's trials that the sampler sees, so that the time of a suggestion does not grow. Of the
trials of `--warm-start`, it sees as many besides; cmaes uses all of these, once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """A new trial."""

    params: Params
    config: TrialConfig
    origin: str
    """Source: baseline, try_first, portfolio (`--first-trials`), random (too few results), sampler, or `copy of 3`."""


class Suggester:
    """Suggests the trials of one study in order.

    For each trial: `suggest` it, or `replay` it if it exists already; then `add` it.
    """

    def __init__(self, config: StudyConfig) -> None:
        self.config = config
        own = initial_trials(config.space, config.baseline)
        self.first = (*own, *config.first_trials.settings)
        origins = ["baseline"] * config.baseline + ["try_first"] * (len(own) - config.baseline)
        self._first_origins = (*origins, *[PORTFOLIO] * len(config.first_trials.settings))
        self._sampler = SAMPLERS[config.sampler]
        scores = [trial.values[0] for trial in config.prior_trials]
        ranked = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
        prior = [config.prior_trials[number] for number in _sample(ranked)]
        self._prior = [prior_view(trial, i, config.sampler) for i, trial in enumerate(prior, 1)]
        self._needed = needed_settings(config.sampler, config.space)
        self._views = _Views(config, first_number=len(self._prior) + 1)
        start = config.warm_start
        # The other study has the same seed: without its digest, its random draws would be trained again.
        self._seed = derive_seed(config.seed, int(start["sha256"][:8], 16)) if start else config.seed
        self._stateful: StatefulSampler | None = None
        if self._sampler.stateful:
            sampler = make_sampler(config.sampler, config, derive_seed(self._seed))
            self._stateful = StatefulSampler(sampler, config.space)

    def suggest(self, log: Sequence[VisibleResult]) -> Suggestion:
        """Return the next trial; `log` holds the visible results (tuning.scheduling.virtual_clock)."""
        number = len(self._views.trials)
        shared = self.config.shared_settings
        if number < len(self.first):
            config = TrialConfig.from_dict({**self.first[number], **shared})
            params = self.config.space.to_params(config)
            return Suggestion(params=params, config=config, origin=self._first_origins[number])
        params = self._drawn(log)
        config = self.config.space.to_config(params, **shared)
        source = self._views.numbers.get(_key(config.to_dict()))
        origin = ("random" if self._is_random() else "sampler") if source is None else f"copy of {source}"
        return Suggestion(params=params, config=config, origin=origin)

    def replay(self, log: Sequence[VisibleResult]) -> None:
        """Update the state of the sampler for the next trial, which exists already."""
        if self._stateful and len(self._views.trials) >= len(self.first):
            self._drawn(log)

    def add(self, trial: FrozenTrial) -> None:
        """Add the next trial, with its `config` and `origin`."""
        if self._stateful:
            (self._stateful.add if len(self._views.trials) < len(self.first) else self._stateful.keep)(trial)
        self._views.add(trial)

    def _drawn(self, log: Sequence[VisibleResult]) -> Params:
        """Return the suggestion of the sampler, redrawn while it repeats an earlier trial."""
        if self._stateful:
            for number, view in self._views.update(log):
                self._stateful.tell(number, view)
            return self._stateful.ask(lambda params, attempt: attempt >= MAX_REDRAWS or self._is_new(params))
        self._views.update(log)
        shown = self._shown()
        config, number = self.config, len(self._views.trials)
        params: Params = {}
        for attempt in range(MAX_REDRAWS + 1):
            seed = derive_seed(self._seed, number, *([attempt] if attempt else []))
            name = config.sampler if attempt <= MAX_REDRAWS // 2 else "random"
            params = suggest_once(make_sampler(name, config, seed), config.space, shown)
            if self._is_new(params):
                break
        return params

    def _shown(self) -> list[FrozenTrial]:
        """Return the trials that a sampler without a state sees."""
        return [t for t in (*self._prior, *self._views.shown()) if self._needed <= t.params.keys()]

    def _is_random(self) -> bool:
        """Return whether the sampler draws at random because it does not learn or has too few results.

        cmaes counts all results of the study itself; the others those that they see, also of another study.
        """
        info = self._sampler
        counted = (TrialState.COMPLETE, TrialState.PRUNED)
        seen = self._stateful.study.get_trials(deepcopy=False) if self._stateful else self._shown()
        n_seen = sum(trial.state in counted for trial in seen)
        return info.independent_draws and (n_seen < self.config.startup or not info.learns)

    def _is_new(self, params: Params) -> bool:
        config = self.config.space.to_config(params, **self.config.shared_settings)
        return _key(config.to_dict()) not in self._views.numbers


class _Views:
    """The trials that are visible to the sampler at a virtual time."""

    def __init__(self, config: StudyConfig, first_number: int) -> None:
        self.config = config
        self.trials: list[FrozenTrial] = []
        self.numbers: dict[bytes, int] = {}
        """Configuration -> the first trial with it."""
        self._first_number = first_number  # in the sampler's study
        self._views: list[FrozenTrial] = []
        self._n_read = 0  # results of the log that the views contain
        self._latest: dict[int, VisibleResult] = {}
        self._ranked: list[tuple[float, int]] = []  # (-score, trial) of the trials with a result, best first
        self._copies: dict[int, list[int]] = {}
        self._late_copies: list[int] = []  # copies that had a result when they were added

    def add(self, trial: FrozenTrial) -> None:
        """Add the next trial, without a result unless it repeats a trial that has one."""
        number = len(self.trials)
        self.trials.append(trial)
        self._views.append(trial_view(trial, self._first_number + number, TrialState.RUNNING))
        source = copied_from(trial.user_attrs["origin"])
        if source is None:
            self.numbers.setdefault(_key(trial.user_attrs["config"]), number)
        else:
            self._copies.setdefault(source, []).append(number)
            if source in self._latest:
                self._see(number, self._latest[source])
                self._late_copies.append(number)

    def update(self, log: Sequence[VisibleResult]) -> list[tuple[int, FrozenTrial]]:
        """Add the new results of the log; return the trials that had none before, with their views."""
        first, self._late_copies = self._late_copies, []
        for result in log[self._n_read :]:
            for number in (result.trial, *self._copies.get(result.trial, ())):
                if number not in self._latest:
                    first.append(number)
                self._see(number, result)
        self._n_read = len(log)
        return [(number, self._views[number]) for number in first]

    def _see(self, number: int, result: VisibleResult) -> None:
        if (before := self._latest.get(number)) is not None:
            del self._ranked[bisect_left(self._ranked, (-before.score, number))]
        self._latest[number] = result
        insort(self._ranked, (-result.score, number))
        view_number = self._first_number + number
        self._views[number] = result_view(self.trials[number], view_number, result, self.config)

    def shown(self) -> Iterable[FrozenTrial]:
        """Return the trials for the sampler: all, or MAX_SHOWN of them, at most a quarter without a result."""
        if len(self._views) <= MAX_SHOWN:
            return self._views
        running = [n for n in range(len(self._views) - 1, -1, -1) if n not in self._latest][: MAX_SHOWN // 4]
        return [self._views[number] for number in _sample([number for _, number in self._ranked], running)]


def _sample(ranked: Sequence[int], running: Sequence[int] = ()) -> list[int]:
    """Return the numbers of at most MAX_SHOWN trials, in order.

    Args:
        ranked: Trials with a result, best first. The best quarter of MAX_SHOWN are in the sample. The others are in it
            at equal distances by number.
        running: Trials without a result; all of them are in the sample.
    """
    best, others = ranked[: MAX_SHOWN // 4], sorted(ranked[MAX_SHOWN // 4 :])
    room = MAX_SHOWN - len(best) - len(running)
    if len(others) > room:
        others = [others[at * len(others) // room] for at in range(room)]
    return sorted([*best, *running, *others])


def _key(settings: Mapping[str, Any]) -> bytes:
    """Return what equal settings share: 0 and 0.0 are equal, and differ in JSON. An absent one has its default."""
    changed = changed_settings(settings).items()
    return canonical_json({name: float(value) if type(value) is int else value for name, value in changed})
