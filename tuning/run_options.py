"""RunOptions, the options of `run` and `plan`, and the paths that they give.

The command line reads this module for every command, so heavy modules are imported where they are used.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from typer import Argument, Option

from core.config import METRIC_NAMES, PRECISIONS
from core.errors import check_rules, in_range
from core.io.atomic import expand_user
from tuning.arguments import path_option
from tuning.console import worker_niceness
from tuning.journal.folder import absolute_data_path, study_folder
from tuning.resources.machine import MAX_WORKERS, TrialResources, parse_gpu_share

if TYPE_CHECKING:
    from tuning.scheduling.asha import Asha
    from tuning.scheduling.budget import Budget
    from tuning.space.space import Space

AUTO = "auto"
DATA = "argument of load_corpus"
"""Marks the fields of RunOptions that load_corpus takes. The study's spec holds them under `data`."""

DataOption, SearchOption, ResourcesOption, BudgetOption, OutputOption = (
    partial(Option, rich_help_panel=group) for group in ("Data", "Search", "Resources", "Budget", "Output")
)
"""One for each group of options under --help."""
OutputPath = partial(OutputOption, parser=path_option, metavar="<path>")

Results = Annotated[Path, OutputPath(help="Folder that contains the studies.", envvar="SENTUNE_RESULTS")]
CacheDir = Annotated[
    Path | None,
    DataOption(
        help="Cache folder. Default: SENTUNE_CACHE, or the user's cache folder.", parser=path_option, metavar="<path>"
    ),
]
Encoding = Annotated[
    str | None, DataOption(help="Character encoding of the file. Default: UTF-8, detected for a table.")
]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of `run` and `plan`: one field per option, with its help text and default.

    Raises:
        ConfigError: An option breaks its rule; the message names the option.
    """

    dataset: Annotated[
        str,
        Argument(
            help="Dataset: snippets, mr, mr:PATH, or a .csv, .tsv, .jsonl or .parquet file.",
            metavar="DATASET",
            rich_help_panel="Data",
        ),
        DATA,
    ] = "snippets"
    vectors: Annotated[
        str,
        DataOption(
            help="Word vectors: glove-50d, glove-100d, glove-200d, glove-300d, fasttext, none, auto, or a .vec, .txt, "
            ".zip or .gz file. auto: glove-50d if half of the letters or more are a to z (as in French), else none."
        ),
        DATA,
    ] = AUTO
    tokenizer: Annotated[
        str,
        DataOption(
            help="Rule that splits texts into words: english, unicode (other languages with spaces), characters "
            "(languages without spaces), or auto (by the letters of the texts)."
        ),
        DATA,
    ] = AUTO
    space: Annotated[
        str,
        SearchOption(
            help="Search space: quick (for 16 trials, in minutes), default (nearly all settings, wide ranges; for 48 "
            "trials or more, in an hour), notebook, or a YAML file."
        ),
    ] = "quick"
    overrides: Annotated[
        list[str] | None,
        SearchOption(
            "--set",
            help="Range or value of one setting, e.g. 'learning_rate=log(1e-4,1e-2)'. Can be repeated. "
            "Default: as in the search space.",
        ),
    ] = None
    trials: Annotated[
        int,
        BudgetOption(help="Total number of trials in the study. A larger number adds trials to an existing study."),
    ] = 16
    epochs: Annotated[
        str,
        SearchOption(
            help="Maximum number of epochs per trial. `auto`: as many as show about 70,000 training sentences, "
            "from 8 to 50."
        ),
    ] = AUTO
    epoch_sentences: Annotated[
        str,
        SearchOption(
            help="Number of training sentences in an epoch; the next epoch continues in the same shuffle. "
            "`auto`: a pass over the training split, at most 100,000."
        ),
    ] = AUTO
    parallelism: Annotated[
        int | None,
        SearchOption(
            help="Number of virtual workers that define the order of the search. "
            "Default: the number of trials that the machine or cluster runs in parallel, whatever --workers is."
        ),
    ] = None
    lag: Annotated[
        float | None,
        SearchOption(
            help="Virtual time by which a result may be late before a worker waits for it, in epochs of the median "
            "configuration. Default: half the square root of --parallelism, at least 2."
        ),
    ] = None
    sampler: Annotated[str, SearchOption(help="Sampler: tpe, random, gp, cmaes or qmc.")] = "tpe"
    no_baseline: Annotated[
        bool, SearchOption("--no-baseline", help="Do not train the baseline as the first trial.")
    ] = False
    first_trials: Annotated[
        str,
        SearchOption(
            help="Trials after the baseline: portfolio, random (none: the sampler draws at random until it has six "
            "results), or a YAML or JSON file with a list of configurations. The portfolio has those that "
            "were good on several datasets."
        ),
    ] = "portfolio"
    warm_start: Annotated[
        str | None,
        SearchOption(
            help="Study with the same space and data whose trials the sampler uses. Default: none.", metavar="STUDY"
        ),
    ] = None
    stopping: Annotated[
        Literal["asha", "none"],
        SearchOption(help="Rule that decides which trials continue: asha, or none (all trials continue)."),
    ] = "asha"
    grace: Annotated[
        int | None,
        SearchOption(help="Minimum number of epochs per trial. Default: an eighth of --epochs, rounded up."),
    ] = None
    reduction: Annotated[
        int, SearchOption(help="Reduction factor N: the best 1/N of the trials continue past each rung.")
    ] = 2
    metric: Annotated[
        str,
        SearchOption(
            help="Metric on the validation split that the study optimises: "
            f"{', '.join(METRIC_NAMES[:-1])} or {METRIC_NAMES[-1]}."
        ),
    ] = METRIC_NAMES[0]
    patience: Annotated[
        int | None, SearchOption(help="End a trial after this number of epochs without improvement. Default: no limit.")
    ] = None
    precision: Annotated[
        str,
        ResourcesOption(
            help="Number format: fp32, bf16 (not on a GPU), or auto (bf16 for trials on a CPU that is faster in it)."
        ),
    ] = AUTO
    cpus_per_trial: Annotated[int, ResourcesOption(help="Number of CPU cores, and of threads, per trial.")] = 1
    gpus_per_trial: Annotated[
        str,
        ResourcesOption(
            help="Fraction of a GPU per trial, e.g. 0.5. Also limits the trial's GPU memory. "
            "`auto` measures and chooses a fraction."
        ),
    ] = "0"
    retry_oom: Annotated[
        bool, ResourcesOption("--retry-oom", help="Run a trial again on a whole GPU if it runs out of GPU memory.")
    ] = False
    time_budget: Annotated[
        str | None,
        BudgetOption(
            help="End the command after this time, e.g. 90s, 30m or 1h30m. Run it again to continue. Default: no limit."
        ),
    ] = None
    target: Annotated[
        float | None,
        BudgetOption(help="End the study at this validation value of the metric, e.g. 0.8. Default: none."),
    ] = None
    patience_trials: Annotated[
        int | None,
        BudgetOption(
            help="End the study after this number of consecutive trials without improvement. Default: no limit."
        ),
    ] = None
    workers: Annotated[
        int | None, ResourcesOption(help="Maximum number of parallel trials. Default: all that fit.")
    ] = None
    tensorboard: Annotated[
        bool, OutputOption("--tensorboard", help="Write TensorBoard event files to the study's folder.")
    ] = False
    name: Annotated[str | None, OutputOption(help="Name of the study. Default: DATASET-SPACE.")] = None
    results: Results = Path("results")
    text_column: Annotated[
        str | None, DataOption(help="Column with the sentences. Default: found by name, else by content."), DATA
    ] = None
    label_column: Annotated[
        str | None, DataOption(help="Column with the labels. Default: found by name, else by content."), DATA
    ] = None
    drop_missing: Annotated[
        bool, DataOption("--drop-missing", help="Leave out the rows that have no text or no label."), DATA
    ] = False
    probability_columns: Annotated[
        str | None,
        DataOption(
            help="Columns with the probability of each class, e.g. p_neg,p_pos. Put a name with a comma in quotes, as "
            "in CSV. Training uses them instead of the labels. A column has its class's name, with or without p_ or "
            "probability_ in front. Default: none."
        ),
        DATA,
    ] = None
    split_column: Annotated[
        str | None, DataOption(help="Column with the values train, val and test. Default: none, see --split."), DATA
    ] = None
    split: Annotated[
        str, DataOption(help="Percentages of train, validation and test, or notebook (90/10, no test split)."), DATA
    ] = "80/10/10"
    validation: Annotated[
        str,
        DataOption(
            help="Sentences that each epoch is evaluated on: split (the validation split), or folds:K (all training "
            "sentences, by cross-validation in K folds; K times the time, for small data)."
        ),
        DATA,
    ] = "split"
    encoding: Annotated[str | None, DataOption(help="Character encoding of the file. Default: detected."), DATA] = None
    embedding_dim: Annotated[
        int | None,
        DataOption(
            help="Number of dimensions of the random word vectors of --vectors none; of several files in a .zip, the "
            "one with this number is read. Default: 300, or 100 with --tokenizer characters."
        ),
        DATA,
    ] = None
    allow_leak: Annotated[
        bool, DataOption("--allow-leak", help="Accept a split column that assigns the same text to two splits."), DATA
    ] = False
    seed: Annotated[
        int, SearchOption(help="Seed of the split, and in a search of every trial and of the sampler."), DATA
    ] = 42
    cache_dir: CacheDir = None
    address: Annotated[str | None, ResourcesOption(help="Ray cluster: HOST:PORT or auto. Default: this machine.")] = (
        None
    )
    storage: Annotated[
        str | None,
        ResourcesOption(
            help="Second place for checkpoints: a shared folder, or a URI (file://, s3:// or gs://). Default: none.",
            metavar="URI",
        ),
    ] = None

    def __post_init__(self) -> None:
        from core.data.tokenizer import check_tokenizer
        from tuning.scheduling.samplers import check_sampler

        worker_niceness()  # before anything imports Ray
        metrics = ", ".join(METRIC_NAMES)
        check_rules({"--metric": (self.metric, f"one of {metrics}", self.metric in METRIC_NAMES)})
        for derived in ("data", "stopping_rule", "resources", "budget", "given_length", "warm_start_folder"):
            getattr(self, derived)  # raises ConfigError if one of its options breaks a rule
        precisions = (AUTO, *PRECISIONS)
        check_rules(
            {
                "--workers": in_range(self.workers, 1, MAX_WORKERS),
                "--parallelism": in_range(self.parallelism, 1, MAX_WORKERS),
                "--stopping": (self.stopping, "one of asha, none", self.stopping in ("asha", "none")),
                "--storage": (self.storage, "a folder or a URI", self.storage != ""),
                "--warm-start": (self.warm_start, "the name or the folder of a study", self.warm_start != ""),
                "--precision": (self.precision, f"one of {', '.join(precisions)}", self.precision in precisions),
                "--name": (
                    self.name,
                    "letters, digits, underscores, dots, plus signs and dashes, and begin with one of the first three",
                    self.name is None or re.fullmatch(r"\w[\w.+-]*", self.name) is not None,
                ),
            }
        )
        if self.storage is not None and "://" not in self.storage:  # workers have another current folder
            object.__setattr__(self, "storage", str(expand_user(self.storage).absolute()))
        check_sampler(self.sampler)
        check_tokenizer(self.tokenizer)

    @cached_property
    def data(self) -> dict[str, Any]:
        """The arguments of load_corpus; the study's spec holds them."""
        return corpus_arguments({name: getattr(self, name) for name in DATA_OPTIONS})

    @cached_property
    def resources(self) -> TrialResources:
        """CPU cores and GPU fraction of one trial."""
        share, auto = parse_gpu_share(self.gpus_per_trial)
        return TrialResources(
            cpus_per_trial=self.cpus_per_trial, gpus_per_trial=share, auto=auto, retry_oom=self.retry_oom
        )

    @cached_property
    def budget(self) -> "Budget":
        """Limits that end the study before all its trials are done."""
        from tuning.scheduling.budget import Budget, parse_duration

        seconds = None if self.time_budget is None else parse_duration(self.time_budget)
        return Budget(seconds=seconds, target=self.target, metric=self.metric, patience_trials=self.patience_trials)

    @cached_property
    def given_length(self) -> tuple[int | None, int | None]:
        """Number of epochs, and of training sentences in an epoch; None for `auto`."""
        from tuning.scheduling.training_length import parse_length

        return parse_length("--epochs", self.epochs), parse_length("--epoch-sentences", self.epoch_sentences)

    @cached_property
    def stopping_rule(self) -> "Asha | None":
        """The rule that `stopping` names; None trains every trial in full."""
        from tuning.scheduling.asha import Asha

        rule = Asha(grace=self.grace, reduction=self.reduction)
        if self.stopping != "none":
            if (epochs := self.given_length[0]) is not None and self.grace is not None:
                check_rules({"--grace": (self.grace, f"at most --epochs, {epochs}", self.grace <= epochs)})
            return rule
        left_out = "left out with --stopping none"
        default = self.reduction == RunOptions.reduction
        check_rules(
            {"--grace": (self.grace, left_out, self.grace is None), "--reduction": (self.reduction, left_out, default)}
        )
        return None

    @cached_property
    def loaded_space(self) -> "Space":
        """The search space, as far as it is known before the data are read."""
        return self.space_for(self.vectors)

    def space_for(self, vectors: str) -> "Space":
        """Return the search space, with the overrides, for word vectors of this name."""
        from tuning.space.load import load_space

        return load_space(self.space, self.overrides or (), random_vectors=vectors == "none")

    @property
    def warm_start_folder(self) -> Path | None:
        """The folder of the study that `warm_start` names."""
        return study_folder(self.warm_start, self.results) if self.warm_start else None

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.results / (self.name or f"{_slug(self.data['dataset'])}-{_slug(self.loaded_space.name)}")


DATA_OPTIONS = [
    name for name, hint in get_type_hints(RunOptions, include_extras=True).items() if DATA in hint.__metadata__
]


def corpus_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of load_corpus, with absolute paths.

    Args:
        options: Values of DATA_OPTIONS by name.
    """
    paths = {name: absolute_data_path(options[name]) for name in ("dataset", "vectors")}
    given = options["split_column"] is not None
    by_column = given and options["split"] == RunOptions.split  # load_corpus refuses another split
    return {**options, **paths, **({"split": "column"} if by_column else {})}


def _slug(text: str) -> str:
    """Return a name for a folder: `mr:/data/rt.tar.gz` -> `mr`; `/data/My tickets.csv` -> `My-tickets`."""
    stem = text.split(":", 1)[0] if text.startswith("mr:") else Path(text).name.split(".")[0]
    return re.sub(r"[^\w+-]+", "-", stem).strip("-") or "study"
