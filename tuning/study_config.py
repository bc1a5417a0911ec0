"""The configuration of a study, from the options of `run` or `plan` and from the study if it exists."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.nn.environment import supports_bf16
from tuning.run_options import AUTO, RunOptions

if TYPE_CHECKING:
    from tuning.scheduling.study import StudyConfig
    from tuning.scheduling.training_length import TrainingLength


def study_length(options: RunOptions, existing: Mapping[str, Any], a_pass: int) -> "TrainingLength":
    """Return the length of the study's trials; the arguments are those of `study_config`."""
    from tuning.scheduling.training_length import training_length

    return training_length(*options.given_length, a_pass, existing.get("spec"))


def study_config(options: RunOptions, max_parallel: int, existing: Mapping[str, Any], a_pass: int) -> "StudyConfig":
    """Return the configuration of the study; an existing study keeps its length, parallelism, lag and precision.

    Args:
        options: Options of `run` or `plan`.
        max_parallel: Number of trials that run in parallel.
        existing: Attributes of the study in `options.folder`; empty for a new one.
        a_pass: Number of training sentences in a pass.
    """
    from tuning.scheduling.study import StudyConfig, default_lag
    from tuning.space.portfolio import first_trials

    known = existing.get("spec")
    parallelism = options.parallelism or (known["parallelism"] if known else max_parallel)
    lag = options.lag
    if lag is None:
        lag = known["lag"] if known else default_lag(parallelism)
    precision = options.precision
    if precision == AUTO:
        here = options.address is None and supports_bf16(options.resources.device)
        precision = known["precision"] if known else "bf16" if here else "fp32"
    length = study_length(options, existing, a_pass)
    return StudyConfig(
        space=options.loaded_space,
        n_trials=options.trials,
        epochs=length.epochs,
        epoch_sentences=length.epoch_sentences,
        parallelism=parallelism,
        lag=lag,
        seed=options.seed,
        stopping=options.stopping_rule,
        sampler=options.sampler,
        baseline=not options.no_baseline,
        first_trials=first_trials(options.first_trials, options.loaded_space),
        patience=options.patience,
        metric=options.metric,
        precision=precision,
        budget=options.budget,
    )


def data_of_study(options: RunOptions, existing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of load_corpus; an existing study keeps its tokenizer and vectors instead of `auto`.

    Args:
        options: Options of `run` or `plan`.
        existing: Attributes of the study in `options.folder`; empty for a new one.
    """
    recorded = existing["spec"]["data"] if existing else {}
    return {name: recorded.get(name, value) if value == AUTO else value for name, value in options.data.items()}
