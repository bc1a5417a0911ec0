"""Plans and finished trials that several tests share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from core.config import TrialConfig
from tuning.journal.predictions import copied_from
from tuning.journal.records import study_attributes
from tuning.planned_search import study_config
from tuning.run_options import RunOptions
from tuning.scheduling.asha import FAILED, Asha
from tuning.scheduling.study_config import StudyConfig
from tuning.scheduling.suggester import Suggester, Suggestion
from tuning.scheduling.training_length import training_length
from tuning.scheduling.virtual_clock import VisibleResult
from tuning.space.load import load_space

QUICK = load_space("quick")
ONE_OR_TWO_LAYERS = load_space("notebook", ["n_layers=int(1,2)", "hidden_dim=16", "lstm_dropout=0", "fc_dropout=0.5",
                                            "learning_rate=0.5", "freeze_embedding=false"])  # fmt: skip
"""A space of two configurations."""
STOPPED_AFTER = 2
"""Number of epochs of a stopped trial from `outcomes`."""


def plan(**changes: Any) -> StudyConfig:
    settings: dict[str, Any] = {
        "space": QUICK,
        "n_trials": 12,
        "epochs": 4,
        "parallelism": 3,
        "lag": 1.0,
        "seed": 7,
        "stopping": Asha(grace=2, reduction=3),
    }
    return StudyConfig(**(settings | changes))


def cost(config: TrialConfig) -> float:
    """Return a virtual cost of an epoch."""
    return config.n_layers * config.hidden_dim / 100


def finished(
    the_plan: StudyConfig, suggestion: Suggestion, value: float, state: TrialState = TrialState.COMPLETE
) -> FrozenTrial:
    """The suggested trial, as the journal holds it when it is over."""
    return create_trial(
        state=state,
        params=suggestion.params,
        distributions=the_plan.space.distributions(suggestion.params),
        value=None if state == TrialState.FAIL else value,
        intermediate_values={1: value - 0.1, STOPPED_AFTER: value},
        user_attrs={"config": suggestion.config.to_dict(), "origin": suggestion.origin},
    )


def again(trial: FrozenTrial, value: float) -> FrozenTrial:
    """The same trial with another outcome."""
    return create_trial(
        params=trial.params, distributions=trial.distributions, user_attrs=trial.user_attrs, value=value
    )


def log_of(the_plan: StudyConfig, trials: Sequence[FrozenTrial]) -> list[VisibleResult]:
    """Return the visible results of finished trials, by number; a trial that repeats another one has none."""
    log = []
    for number, trial in enumerate(trials):
        if copied_from(trial.user_attrs["origin"]) is None:
            epoch = STOPPED_AFTER if trial.state == TrialState.PRUNED else the_plan.epochs
            score = FAILED if trial.state == TrialState.FAIL else trial.value
            assert score is not None
            log.append(VisibleResult(number, epoch, score))
    return log


def visible_log(the_plan: StudyConfig, trials: Sequence[FrozenTrial], number: int) -> list[VisibleResult]:
    """Return what suggestion `number` uses in `outcomes`: the results of all trials but the latest ones.

    As many as the study has virtual workers, less one, are still running.
    """
    return log_of(the_plan, trials[: max(0, number - the_plan.parallelism + 1)])


def suggester_after(the_plan: StudyConfig, trials: Sequence[FrozenTrial]) -> Suggester:
    """Return a new suggester to which these trials were added, as after a restart."""
    suggester = Suggester(the_plan)
    for number, trial in enumerate(trials):
        suggester.replay(visible_log(the_plan, trials, number))
        suggester.add(trial)
    return suggester


def outcomes(the_plan: StudyConfig, count: int) -> list[FrozenTrial]:
    """The first trials of the plan, every third stopped and each eighth failed, each with a score of its own."""
    suggester = Suggester(the_plan)
    trials: list[FrozenTrial] = []
    for number in range(count):
        state = TrialState.FAIL if number % 8 == 7 else TrialState.PRUNED if number % 3 == 2 else TrialState.COMPLETE
        suggestion = suggester.suggest(visible_log(the_plan, trials, number))
        trials.append(finished(the_plan, suggestion, 0.5 + 0.01 * (number * 7 % count), state))
        suggester.add(trials[-1])
    return trials


def config_of(trial: FrozenTrial) -> TrialConfig:
    return TrialConfig.from_dict(trial.user_attrs["config"])


def options(results: Path, **changes: Any) -> RunOptions:
    """The options of a run on the tiny corpus."""
    settings: dict[str, Any] = {"dataset": "tiny", "epochs": 4, "seed": 1, "name": "s", "results": results}
    return RunOptions(**(settings | changes))


def configured(the_options: RunOptions, fits: int = 2, sentences: int = 1000) -> StudyConfig:
    """What the study does where two trials fit at once, with this number of training sentences."""
    existing = study_attributes(the_options.folder)
    length = training_length(*the_options.given_length, sentences, existing.get("spec"))
    return study_config(the_options, fits, existing, length, the_options.loaded_space)
