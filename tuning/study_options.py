"""The options of the verbs that train again what a study found: one field per option, with its help text and default.

The command line reads this module for every command, so it imports no heavy modules.
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from typer import Argument, Option

from core.config import MAX_THREADS, PRECISIONS
from core.errors import check_rules, in_range
from core.io.atomic import expand_user
from tuning.journal.folder import absolute_data_path, study_folder
from tuning.resources.machine import MAX_WORKERS
from tuning.run_options import (
    CacheDir,
    DataOption,
    Encoding,
    OutputOption,
    OutputPath,
    ResourcesOption,
    Results,
)

BOTH, RECOMMENDED = "train+val", "recommended"
TrainingOption = partial(Option, rich_help_panel="Training")
_NewPath = partial(DataOption, metavar="PATH")

StudyArgument = Annotated[str, Argument(help="Name or folder of a study.", metavar="STUDY")]
Splits = Literal["train", "train+val"]
TrainedOn = Annotated[
    Splits,
    TrainingOption(
        help="Splits to train on. train+val takes as many steps as the training on train took to its best epoch."
    ),
]
Workers = Annotated[int | None, ResourcesOption(help="Maximum number of parallel trainings. Default: all that fit.")]


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """The options that all these verbs have.

    Raises:
        ConfigError: An option breaks its rule; the message names the option. The same holds for the other classes.
    """

    study: StudyArgument
    dataset: Annotated[str | None, _NewPath(help="New path of the dataset. Default: as in the study.")] = None
    vectors: Annotated[str | None, _NewPath(help="New path of the word vectors. Default: as in the study.")] = None
    results: Results = Path("results")
    cache_dir: CacheDir = None

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return study_folder(self.study, self.results)

    @property
    def places(self) -> dict[str, str]:
        """The new paths that are given, absolute; the names are arguments of load_corpus."""
        paths = {"dataset": self.dataset, "vectors": self.vectors}
        return {name: absolute_data_path(path) for name, path in paths.items() if path is not None}


@dataclass(frozen=True, kw_only=True)
class ModelOptions(StudyOptions):
    """The options of the verbs that write a model folder."""

    USUAL_NAME: ClassVar[str]
    """Name of the model folder in the study's folder."""
    on: TrainedOn = "train"
    out: Path | None = None

    def __post_init__(self) -> None:
        check_rules({"--on": (self.on, f"train or {BOTH}", self.on in ("train", BOTH))})

    @property
    def model_folder(self) -> Path:
        """The model folder to write."""
        return self.out or self.folder / self.USUAL_NAME


@dataclass(frozen=True, kw_only=True)
class ConfirmOptions(StudyOptions):
    """The options of `confirm`."""

    top: Annotated[
        int, TrainingOption(help="Number of configurations, by rank. Recommended trial and baseline are added.")
    ] = 5
    seeds: Annotated[int, TrainingOption(help="Number of new seeds per configuration.")] = 5
    folds: Annotated[
        int | None,
        TrainingOption(
            help="Also cross-validate the best trial and the baseline with this number of folds. Default: none."
        ),
    ] = None
    workers: Workers = None
    format: Annotated[Literal["table", "json"], OutputOption(help="Output format.")] = "table"

    def __post_init__(self) -> None:
        check_rules(
            {
                "--top": in_range(self.top, 1, 100),
                "--seeds": in_range(self.seeds, 2, 100, ", to be compared in pairs"),
                "--folds": in_range(self.folds, 3, 100),
                "--workers": in_range(self.workers, 1, MAX_WORKERS),
            }
        )

    def say(self, line: str) -> None:
        """Print a line of progress: on standard error if standard output is JSON."""
        print(line, file=sys.stderr if self.format == "json" else sys.stdout, flush=True)


@dataclass(frozen=True, kw_only=True)
class RetrainOptions(ModelOptions):
    """The options of `retrain`, except --strict."""

    USUAL_NAME = "model"
    trial: Annotated[str, TrainingOption(help="Trial to train again: a number, recommended, or best.")] = RECOMMENDED
    seeds: Annotated[int, TrainingOption(help="Number of models to train. The median by validation is saved.")] = 1
    threads: Annotated[int | None, ResourcesOption(help="Number of CPU threads. Default: as in the study.")] = None
    precision: Annotated[
        str | None, ResourcesOption(help="Number format: fp32, or bf16 (not on a GPU). Default: as in the study.")
    ] = None
    out: Annotated[Path | None, OutputPath(help="Model folder to write. Default: model in the study's folder.")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        precisions, alone = (None, *PRECISIONS), f"1 with --on {BOTH}, which leaves no validation split for a median"
        check_rules(
            {
                "--seeds": in_range(self.seeds, 1, 100),
                "--threads": in_range(self.threads, 1, MAX_THREADS),
                "--precision": (self.precision, f"one of {', '.join(PRECISIONS)}", self.precision in precisions),
            }
        )
        check_rules({"--seeds": (self.seeds, alone, self.on != BOTH or self.seeds == 1)})


@dataclass(frozen=True, kw_only=True)
class EnsembleOptions(ModelOptions):
    """The options of `ensemble`."""

    USUAL_NAME = "ensemble"
    size: Annotated[int, TrainingOption(help="Number of selections. A trial can be selected more than once.")] = 5
    max_cost: Annotated[
        int | None,
        TrainingOption(help="Maximum number of multiplications per word of all members together. Default: no limit."),
    ] = None
    workers: Workers = None
    out: Annotated[Path | None, OutputPath(help="Model folder to write. Default: ensemble in the study's folder.")] = (
        None
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rules(
            {
                "--size": in_range(self.size, 1, 100),
                "--max-cost": in_range(self.max_cost, 1, 10**15),
                "--workers": in_range(self.workers, 1, MAX_WORKERS),
            }
        )


@dataclass(frozen=True, kw_only=True)
class DistillOptions(ModelOptions):
    """The options of `distill`."""

    USUAL_NAME = "distilled"
    unlabelled: Annotated[
        str | None,
        DataOption(
            help="File with more sentences, one per line, or a table with --text-column; - is standard input. "
            "Default: none."
        ),
    ] = None
    text_column: Annotated[
        str | None,
        DataOption(help="Column with the sentences, if --unlabelled is a table. Default: none, one sentence per line."),
    ] = None
    encoding: Encoding = None
    trial: Annotated[str, TrainingOption(help="Trial whose settings are used: a number, recommended, or best.")] = (
        RECOMMENDED
    )
    out: Annotated[Path | None, OutputPath(help="Model folder to write. Default: distilled in the study's folder.")] = (
        None
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unlabelled is not None and self.unlabelled.startswith("~"):
            object.__setattr__(self, "unlabelled", str(expand_user(self.unlabelled)))
        alone = "given with --unlabelled only"
        check_rules(
            {
                "--text-column": (self.text_column, alone, self.text_column is None or self.unlabelled is not None),
                "--encoding": (self.encoding, alone, self.encoding is None or self.unlabelled is not None),
            }
        )
