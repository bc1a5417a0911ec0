"""Plans and finished trials that several tests share."""

from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from core.config import TrialConfig
from tuning.journal.records import study_attributes
from tuning.run_options import RunOptions, study_config
from tuning.scheduling.study import StudyConfig
from tuning.scheduling.successive_halving import SuccessiveHalving
from tuning.scheduling.suggester import Suggester, Suggestion
from tuning.space.load import load_space


def plan(**changes: Any) -> StudyConfig:
    settings: dict[str, Any] = {
        "space": load_space("quick"),
        "n_trials": 12,
        "epochs": 4,
        "window": 3,
        "seed": 7,
        "stopping": SuccessiveHalving(grace=2, reduction=3, cohort=min(3, changes.get("window", 3))),
    }
    return StudyConfig(**(settings | changes))


def finished(
    the_plan: StudyConfig, suggestion: Suggestion, value: float, state: TrialState = TrialState.COMPLETE
) -> FrozenTrial:
    """The suggested trial, as the journal holds it when it is over."""
    return create_trial(
        state=state,
        params=suggestion.params,
        distributions=the_plan.space.distributions(suggestion.params),
        value=None if state == TrialState.FAIL else value,
        intermediate_values={1: value - 0.1, 2: value},
        user_attrs={"config": suggestion.config.to_dict(), "origin": suggestion.origin},
    )


def again(trial: FrozenTrial, value: float) -> FrozenTrial:
    """The same trial with another outcome."""
    return create_trial(
        params=trial.params, distributions=trial.distributions, user_attrs=trial.user_attrs, value=value
    )


def outcomes(the_plan: StudyConfig, count: int) -> list[FrozenTrial]:
    """The first trials of the plan, every third stopped and each eighth failed, each with a score of its own."""
    suggester = Suggester(the_plan)
    trials: list[FrozenTrial] = []
    for number in range(count):
        state = TrialState.FAIL if number % 8 == 7 else TrialState.PRUNED if number % 3 == 2 else TrialState.COMPLETE
        trials.append(finished(the_plan, suggester.suggest(trials), 0.5 + 0.01 * (number * 7 % count), state))
    return trials


def config_of(trial: FrozenTrial) -> TrialConfig:
    return TrialConfig.from_dict(trial.user_attrs["config"])


def options(results: Path, **changes: Any) -> RunOptions:
    """The options of a run on the tiny corpus."""
    settings: dict[str, Any] = {"dataset": "tiny", "epochs": 4, "seed": 1, "name": "s", "results": results}
    return RunOptions(**(settings | changes))


def configured(the_options: RunOptions) -> StudyConfig:
    """What the study does where two trials fit at once."""
    return study_config(the_options, 2, study_attributes(the_options.folder))
