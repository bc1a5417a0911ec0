"""The next trial: a pure function of the study's configuration, the visible results and all earlier parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from core.config import TrialConfig
from tuning.scheduling.samplers import (
    SAMPLERS,
    Params,
    SamplerOptions,
    StatefulSampler,
    derive_seed,
    finished_view,
    make_sampler,
    running_view,
    suggest_once,
)
from tuning.scheduling.study import StudyConfig
from tuning.space.initial_trials import initial_trials

MAX_REDRAWS = 4
"""Maximum number of redraws of a duplicate suggestion; after that, the trial copies the result of the earlier one. With
tpe, gp and random, the last half of the redraws are random: gp would repeat its suggestion, and tpe nearly always does
when few settings are left."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """One trial to be."""

    params: Params
    config: TrialConfig
    origin: str
    """baseline, try_first, sampler, or `copy of 3`."""


def visible_trials(trials: Sequence[FrozenTrial], number: int, window: int) -> Sequence[FrozenTrial]:
    """The trials whose outcome suggestion `number` may see: 0..number-window."""
    return trials[: max(0, number - window + 1)]


def is_ready(plan: StudyConfig, trials: Sequence[FrozenTrial]) -> bool:
    """Whether all trials are finished that the next suggestion may see."""
    return all(trial.state.is_finished() for trial in visible_trials(trials, len(trials), plan.window))


class Suggester:
    """Suggests trial after trial of one study. It remembers, but only to be fast: a new one says the same."""

    def __init__(self, plan: StudyConfig) -> None:
        self.plan = plan
        self._sampler = SAMPLERS[plan.sampler]
        self.first = initial_trials(plan.space)
        self._finished = [finished_view(trial, i, plan.sampler) for i, trial in enumerate(plan.prior_trials, 1)]
        self._always = {dimension.name for dimension in plan.space.dimensions if not dimension.when}
        self._replay: StatefulSampler | None = None

    def suggest(self, trials: Sequence[FrozenTrial]) -> Suggestion:
        """The trial that comes after `trials`.

        Args:
            trials: all so far in order, with their `config` and `origin`; `is_ready` holds for them.
        """
        number = len(trials)
        if number < len(self.first):
            config = TrialConfig.from_dict({**self.first[number], **self.plan.shared_settings})
            origin = "baseline" if number == 0 else "try_first"
            return Suggestion(params=self.plan.space.to_params(config), config=config, origin=origin)
        params = self._replayed(trials) if self._sampler.stateful else self._drawn(trials)
        config = self.plan.space.to_config(params, **self.plan.shared_settings)
        twin = _duplicate_of(config, trials)
        origin = "sampler" if twin is None else f"copy of {twin}"
        return Suggestion(params=params, config=config, origin=origin)

    def _drawn(self, trials: Sequence[FrozenTrial]) -> Params:
        """Return the suggestion of a new sampler, redrawn while it repeats an earlier trial."""
        plan, number = self.plan, len(trials)
        known = visible_trials(trials, number, plan.window)
        offset = 1 + len(plan.prior_trials)
        for trial in known[len(self._finished) - len(plan.prior_trials) :]:
            self._finished.append(finished_view(trial, len(self._finished) + 1, plan.sampler))
        others = [running_view(trial, len(known) + offset + i) for i, trial in enumerate(trials[len(known) :])]
        for attempt in range(MAX_REDRAWS + 1):
            seed = derive_seed(plan.seed, number, *([attempt] if attempt else []))
            name = plan.sampler if attempt <= MAX_REDRAWS // 2 else "random"
            sampler = make_sampler(name, self._options(seed))
            shown = [*self._finished[: len(plan.prior_trials) + len(known)], *others]
            if self._sampler.shared_params_only:
                shown = [trial for trial in shown if self._always <= trial.params.keys()]
            params = suggest_once(sampler, plan.space, shown)
            if self._is_new(params, trials):
                break
        return params

    def _replayed(self, trials: Sequence[FrozenTrial]) -> Params:
        """From a sampler that has been asked for all earlier trials in the same way."""
        plan = self.plan
        if self._replay is None:
            seed = derive_seed(plan.seed)
            sampler = make_sampler(plan.sampler, self._options(seed))
            self._replay = StatefulSampler(sampler, plan.sampler, plan.space)
        replay = self._replay
        params: Params = {}
        while replay.number <= len(trials):
            number = replay.number
            if number < len(self.first):
                replay.add(trials[number])
                continue
            before = trials[:number]
            replay.tell(visible_trials(before, number, plan.window))
            params = replay.ask(lambda params, attempt: attempt >= MAX_REDRAWS or self._is_new(params, before))  # noqa: B023 - called at once
        return params

    def _options(self, seed: int) -> SamplerOptions:
        plan = self.plan
        return SamplerOptions(
            space=plan.space,
            seed=seed,
            startup=plan.startup,
            constant_liar=plan.constant_liar,
            prior_trials=plan.prior_trials,
        )

    def _is_new(self, params: Params, trials: Sequence[FrozenTrial]) -> bool:
        return _duplicate_of(self.plan.space.to_config(params, **self.plan.shared_settings), trials) is None


def _duplicate_of(config: TrialConfig, trials: Sequence[FrozenTrial]) -> int | None:
    """The first trial with this very configuration."""
    settings: dict[str, Any] = config.to_dict()
    return next((i for i, trial in enumerate(trials) if trial.user_attrs["config"] == settings), None)
