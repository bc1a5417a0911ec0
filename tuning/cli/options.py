"""Options that several verbs share: what they are called, what they say in --help, and what they come to."""

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.io.atomic import expand_user

if TYPE_CHECKING:
    from tuning.run_options import RunOptions


class Stopping(StrEnum):
    """When trials are stopped early."""

    halving = "halving"
    none = "none"


Dataset = Annotated[
    str, typer.Argument(help="snippets, mr, mr:PATH, or a .csv .tsv .jsonl .parquet file", metavar="DATASET")
]
Vectors = Annotated[str, typer.Option(help="glove-50d, fasttext, none, or a .vec .txt .zip .gz file")]
TextColumn = Annotated[str | None, typer.Option(help="the column with the sentences")]
LabelColumn = Annotated[str | None, typer.Option(help="the column with the labels")]
SplitColumn = Annotated[str | None, typer.Option(help="a column that says train, val or test")]
Encoding = Annotated[str | None, typer.Option(help="of the file, where it is not recognised")]
EmbeddingDim = Annotated[int, typer.Option(help="width of random word vectors (--vectors none)")]
Split = Annotated[str, typer.Option(help="80/10/10, or notebook (90/10, no test split)")]
AllowLeak = Annotated[bool, typer.Option("--allow-leak", help="go on though texts stand in two splits")]
Seed = Annotated[int, typer.Option(help="of the split, every trial and the sampler")]
CacheDir = Annotated[Path | None, typer.Option(help="default: SENTUNE_CACHE, else the user's cache folder")]
Address = Annotated[
    str | None, typer.Option(help="of a running Ray cluster: HOST:PORT or auto; default: Ray on this machine alone")
]
Storage = Annotated[
    str | None, typer.Option(help="keep checkpoints there too: a shared folder, file://, s3:// or gs://", metavar="URI")
]
Results = Annotated[Path, typer.Option(help="where studies are", envvar="SENTUNE_RESULTS")]
Study = Annotated[str, typer.Argument(help="a study's name, or its folder", metavar="STUDY")]
MovedData = Annotated[str | None, typer.Option("--dataset", help="where the study's data are now, if they were moved")]
MovedVectors = Annotated[
    str | None, typer.Option("--vectors", help="where its word vectors are now, if they were moved")
]


def search_options(
    ctx: typer.Context,
    dataset: Dataset = "snippets",
    vectors: Vectors = "glove-50d",
    space: Annotated[
        str, typer.Option(help="quick, default (all settings, wide ranges), notebook, or a YAML file")
    ] = "quick",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="one dimension, such as 'learning_rate=log(1e-4,1e-2)'")
    ] = None,
    trials: Annotated[int, typer.Option(help="in all; more than a study has adds the missing ones")] = 16,
    epochs: Annotated[int, typer.Option(help="of a trial that is not stopped")] = 8,
    window: Annotated[int | None, typer.Option(help="suggestion n sees the outcome of trials 0..n-window")] = None,
    sampler: Annotated[str, typer.Option(help="tpe, random, gp, cmaes or qmc")] = "tpe",
    warm_start: Annotated[
        str | None, typer.Option(help="another study on the same space and data: its trials are known", metavar="STUDY")
    ] = None,
    stopping: Annotated[Stopping, typer.Option(help="of bad trials")] = Stopping.halving,
    grace: Annotated[int, typer.Option(help="epochs that every trial gets")] = 1,
    reduction: Annotated[int, typer.Option(help="one in so many goes on at each rung")] = 4,
    patience: Annotated[int | None, typer.Option(help="end a trial after so many epochs without a better one")] = None,
    precision: Annotated[
        str, typer.Option(help="fp32, bf16, or auto: bf16 where the processor or the GPU computes in it")
    ] = "auto",
    cpus_per_trial: Annotated[int, typer.Option(help="cores, and threads, of a trial")] = 1,
    gpus_per_trial: Annotated[
        str, typer.Option(help="share of a GPU, such as 0.5, held to in memory; auto lets a probe choose it")
    ] = "0",
    retry_oom: Annotated[
        bool, typer.Option("--retry-oom", help="a trial whose share of a GPU is too small runs again on a whole one")
    ] = False,
    time_budget: Annotated[
        str | None, typer.Option(help="end the command after 90s, 30m or 1h30m; the same command goes on")
    ] = None,
    target: Annotated[float | None, typer.Option(help="end once a trial has this validation accuracy")] = None,
    patience_trials: Annotated[
        int | None, typer.Option(help="end after so many trials in a row without a better one")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="trials at once, at most")] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="write event files for TensorBoard into the study's folder")
    ] = False,
    seed: Seed = 42,
    name: Annotated[str | None, typer.Option(help="of the study; default: DATASET-SPACE")] = None,
    results: Results = Path("results"),
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    split: Split = "80/10/10",
    encoding: Encoding = None,
    embedding_dim: EmbeddingDim = 300,
    allow_leak: AllowLeak = False,
    cache_dir: CacheDir = None,
    address: Address = None,
    storage: Storage = None,
) -> "RunOptions":
    """What the options of a search come to.

    Raises:
        ConfigError: naming the options that break their rules.
    """
    from tuning.backend.storage import absolute as absolute_uri
    from tuning.resources.machine import TrialResources, parse_gpu_share
    from tuning.run_options import RunOptions
    from tuning.scheduling.budget import Budget, parse_duration
    from tuning.scheduling.successive_halving import stopping_rule

    share, auto = parse_gpu_share(gpus_per_trial)
    return RunOptions(
        data=data_options(ctx.params),
        cache_dir=cache_dir,
        space=space,
        overrides=tuple(overrides or ()),
        trials=trials,
        epochs=epochs,
        window=window,
        seed=seed,
        stopping=stopping_rule(stopping, grace, reduction),
        sampler=sampler,
        warm_start=study_folder(warm_start, results) if warm_start else None,
        patience=patience,
        precision=precision,
        resources=TrialResources(cpus_per_trial=cpus_per_trial, gpus_per_trial=share, auto=auto, retry_oom=retry_oom),
        budget=Budget(
            seconds=None if time_budget is None else parse_duration(time_budget),
            target=target,
            patience_trials=patience_trials,
        ),
        workers=workers,
        name=name,
        results=results,
        tensorboard=tensorboard,
        address=address,
        storage=None if storage is None else absolute_uri(storage),
    )


def takes_search_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of a search beside its own; it gets what they come to as its first argument."""

    @functools.wraps(verb)
    def call(**given: Any) -> None:
        mine = {name: given.pop(name) for name in own}
        verb(search_options(**given), **mine)

    _, *parameters = inspect.signature(verb).parameters.values()
    own = [parameter.name for parameter in parameters]
    shared = inspect.signature(search_options).parameters
    call.__signature__ = inspect.Signature([*shared.values(), *parameters])  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in (*shared.values(), *parameters)}
    del call.__wrapped__  # Typer would look through it
    return call


DATA_OPTIONS = (
    "dataset", "vectors", "text_column", "label_column", "split_column", "split",
    "encoding", "embedding_dim", "allow_leak", "seed",
)  # fmt: skip


def data_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of load_corpus among a verb's options, with paths made absolute, as a study's spec keeps them."""
    chosen: dict[str, Any] = {name: params.get(name) for name in DATA_OPTIONS}
    for name in ("dataset", "vectors"):
        chosen[name] = absolute(chosen[name])
    if chosen["split_column"]:
        chosen["split"] = "column"
    return chosen


NAMES = ("snippets", "mr", "glove-50d", "fasttext", "none")
"""Of data and vectors that are no files, whatever lies in the folder."""


def absolute(name: str) -> str:
    """A dataset's or vectors' path made absolute; a name that is no path stays."""
    if name in NAMES:
        return name
    prefix = "mr:" if name.startswith("mr:") else ""
    path = expand_user(name.removeprefix(prefix))
    return f"{prefix}{path.absolute()}" if prefix or path.exists() or len(path.parts) > 1 else name


def study_folder(study: str, results: Path) -> Path:
    """A study by its name under `results`, or by its folder."""
    return Path(study) if os.sep in study or Path(study, "study.journal").is_file() else results / study


class TextFormat(StrEnum):
    """How `data` and `plan` print."""

    text = "text"
    json = "json"
