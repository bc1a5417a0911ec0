"""The search of `run` and `plan`: the configuration, data and resources of a study, from options and journal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.data.corpus import Corpus
from core.data.load import load_corpus
from core.errors import check_rules
from core.metrics import METRICS
from core.nn.environment import check_precision, gains_from_bf16
from tuning.console import READING_DATA, say_if_slow
from tuning.journal.records import read_study
from tuning.resources.allocation import resolve_resources
from tuning.resources.gpu import GpuShareChoice
from tuning.resources.machine import Machine, TrialResources
from tuning.run_options import AUTO, RunOptions
from tuning.scheduling.study_config import CHOSEN, StudyConfig, default_lag, study_spec
from tuning.scheduling.training_length import TrainingLength, training_length
from tuning.space.portfolio import first_trials
from tuning.space.space import Space
from tuning.warm_start import add_warm_start


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PlannedSearch:
    """What `run` executes and `plan` forecasts."""

    config: StudyConfig
    length: TrainingLength
    corpus: Corpus
    remark: str | None
    """Remark on the metric with these data; None without one."""
    resources: TrialResources
    """Resources of one trial."""
    choice: GpuShareChoice | None
    """The choice of `--gpus-per-trial auto`; None if the command has a fraction."""
    fits: int
    """Number of trials that run in parallel."""
    prior_trials: Mapping[str, Any]
    """User attribute of a new study with the trials of `--warm-start`; empty without one."""
    spec: Mapping[str, Any]
    """Spec of the study."""
    data: Mapping[str, Any]
    """Arguments of load_corpus for this corpus: those of the spec, and an encoding that was guessed earlier."""


def check_search(options: RunOptions, fits: int, existing: Mapping[str, Any]) -> None:
    """Check the options of a search, as far as they can be checked before the data are read.

    The arguments are those of `plan_search`.

    Raises:
        UserError: The options or the study have a problem that the user can fix.
    """
    # For one sentence, `auto` is longest: plan_search checks --grace again.
    length = training_length(*options.given_length, 1, existing.get("spec"))
    study_config(options, fits, existing, length, options.loaded_space)
    if options.warm_start_folder is not None and not existing:
        read_study(options.warm_start_folder)


def plan_search(
    options: RunOptions, machine: Machine | None, fits: int, existing: Mapping[str, Any], say: Callable[[str], None]
) -> PlannedSearch:
    """Read the data, and return the search that starts a study or continues an existing one.

    Args:
        options: Options of `run` or `plan`.
        machine: The machine that trains; None for a cluster.
        fits: Number of trials that run in parallel, with `--gpus-per-trial auto` on a whole GPU each.
        existing: Attributes of the study in `options.folder`; empty for a new one.
        say: Called with a line before each slow step.

    Raises:
        UserError: The options, the data or the study have a problem that the user can fix.
    """
    arguments = data_of_study(options, existing)
    with say_if_slow(READING_DATA, say):
        corpus = load_corpus(**arguments, cache_dir=options.cache_dir, progress=say)
    remark = METRICS[options.metric].remark(corpus.labels[corpus.validation()], corpus.classes)
    length = training_length(*options.given_length, corpus.pass_sentences(), existing.get("spec"))
    space = options.space_for(corpus.source["vectors"])
    config = study_config(options, fits, existing, length, space)
    resources, choice = options.resources, None
    if machine is not None:
        resources, choice = resolve_resources(resources, config, machine, corpus, existing)
        if choice is not None:
            fits = resources.max_parallel(machine)
            config = study_config(options, fits, existing, length, space)
    data = corpus.fingerprint, corpus.embedding_dim
    config, prior_trials = add_warm_start(config, existing, options.warm_start_folder, *data)
    spec = study_spec(config, corpus, options.data, resources)
    return PlannedSearch(
        config=config,
        length=length,
        corpus=corpus,
        remark=remark,
        resources=resources,
        choice=choice,
        fits=fits,
        prior_trials=prior_trials,
        spec=spec,
        data={**spec["data"], "encoding": arguments["encoding"]},
    )


def study_config(
    options: RunOptions, max_parallel: int, existing: Mapping[str, Any], length: TrainingLength, space: Space
) -> StudyConfig:
    """Return the configuration of the study; an existing study keeps its length, parallelism and lag.

    It also keeps its precision on its own device, and the order of its settings, whatever the order of `--set` and of
    the lines of a space file is.

    Args:
        options: Options of `run` or `plan`.
        max_parallel: Number of trials that run in parallel.
        existing: Attributes of the study in `options.folder`; empty for a new one.
        length: Length of the study's trials.
        space: The search space.

    Raises:
        ConfigError: An option breaks its rule, such as a `--grace` that is longer than a trial.
    """
    most = f"at most --epochs, {length.epochs} (auto: {length.reason})"  # options has checked it for a given number
    check_rules({"--grace": (options.grace, most, options.grace is None or options.grace <= length.epochs)})
    known = existing.get("spec")
    if known:
        space = space.ordered_as(Space.from_dict(known["space"]))
    parallelism = options.parallelism or (known["parallelism"] if known else max_parallel)
    lag = options.lag
    if lag is None:
        lag = known["lag"] if known else default_lag(parallelism)
    precision = options.precision
    if precision == AUTO:
        device = options.resources.device
        here = options.address is None and gains_from_bf16(device)
        precision = "bf16" if here else "fp32"
        if known and known["device"] == device:  # otherwise open_study refuses the device
            precision = known["precision"]
    check_precision(precision, options.resources.device)
    return StudyConfig(
        space=space,
        n_trials=options.trials,
        epochs=length.epochs,
        epoch_sentences=length.epoch_sentences,
        parallelism=parallelism,
        lag=lag,
        seed=options.seed,
        stopping=options.stopping_rule,
        sampler=options.sampler,
        baseline=not options.no_baseline,
        first_trials=first_trials(options.first_trials, space, not options.no_baseline),
        patience=options.patience,
        metric=options.metric,
        precision=precision,
        budget=options.budget,
    )


def data_of_study(options: RunOptions, existing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of load_corpus; an existing study keeps its tokenizer and vectors instead of `auto`.

    It also keeps the encoding of its file, given or guessed: another charset-normalizer may guess another one.

    The arguments are those of `plan_search`.
    """
    recorded = existing["spec"]["data"] if existing else {}
    data = options.data
    kept = {name: recorded.get(name, AUTO) for name in CHOSEN if data[name] == AUTO}
    if data["encoding"] is None and data["dataset"] == recorded.get("dataset"):
        guess = existing.get("inputs", {}).get("data", {}).get("encoding") or "utf-8"  # UTF-8 and marks are no guesses
        kept["encoding"] = recorded.get("encoding") or (None if guess.startswith("utf") else guess)
    return {**data, **kept}
